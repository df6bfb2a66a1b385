//! The order of a check: replicas first, then the audit of each shard.

use crate::config::check::CheckSettings;
use crate::config::secrets::Secrets;
use crate::operations::control;
use crate::output;
use crate::process::check::audit::{Auditor, Repairing};
use crate::process::check::replicas;
use crate::process::cluster::call::Place;
use crate::process::cluster::{key_of, who, whole};
use crate::process::on_this_thread;

/// Compares. True when everything could be compared, and is as it should be, be it since now.
///
/// # Errors
/// One clear line: nobody answers, or there is no key for a repair.
pub fn run(settings: &CheckSettings, secrets: &Secrets) -> Result<bool, String> {
    on_this_thread(check(settings, secrets))?
}

async fn check(settings: &CheckSettings, secrets: &Secrets) -> Result<bool, String> {
    let places = Place::all(settings.cluster.as_deref(), &settings.operations)?;
    let repairing = if settings.repair {
        let by = settings.by.clone().unwrap_or_else(who);
        Some(Repairing {
            key: key_of(settings.cluster.as_deref(), &settings.data, secrets)?,
            by: control::as_name(&by),
        })
    } else {
        None
    };

    let shards = whole(&places).await?.shards;
    let same = replicas::compare(&places, &shards, settings.pause).await;
    if settings.replicas_only {
        return Ok(same);
    }

    let mut auditor = Auditor::new(&places, repairing, settings.pause);
    for shard in &shards {
        auditor.audit(shard.shard).await;
    }
    output::print(&auditor.summary());
    Ok(same && auditor.is_well())
}
