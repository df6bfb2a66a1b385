//! What is asked, of whom, and what becomes of the answer.

use std::time::Duration;

use http::Method;

use crate::clock::Clock;
use crate::config::ask::{Ask, AskSettings};
use crate::config::secrets::Secrets;
use crate::ids::NodeId;
use crate::node::link::handing::BalancePlan;
use crate::operations::{Cluster, health};
use crate::output;
use crate::process::cluster::asker::{Asker, understood};
use crate::process::cluster::{drain, show};
use crate::process::on_this_thread;

/// Pause between two looks of `watch`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Clears the screen, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks. True when all is well, or what was asked for is done.
///
/// # Errors
/// One clear line: nobody answers, or the answer is a refusal.
pub fn run(settings: &AskSettings, secrets: &Secrets) -> Result<bool, String> {
    on_this_thread(ask(settings, secrets))?
}

async fn ask(settings: &AskSettings, secrets: &Secrets) -> Result<bool, String> {
    let asker = Asker::new(settings, secrets)?;
    match &settings.ask {
        Ask::Move { shard, node } => {
            let path = format!("/shards/{shard}/owner?node={}", node.0);
            asker.changed(&Method::POST, &path).await.map(said)
        }
        Ask::Undrain { node } => asker
            .changed(&Method::DELETE, &format!("/nodes/{}/drain", node.0))
            .await
            .map(said),
        Ask::Drain { node, no_wait } => drain::drain(&asker, node, (!no_wait, settings.json)).await,
        Ask::Rebalance { dry_run } => {
            let told = if *dry_run {
                asker.told("/balance").await
            } else {
                asker.changed(&Method::POST, "/balance").await
            };
            let plan: BalancePlan = understood(&told?)?;
            output::print(&if settings.json {
                in_json(&plan)?
            } else {
                show::plan(&plan, *dry_run)
            });
            Ok(true)
        }
        Ask::Watch => loop {
            let shown = match asker.whole().await {
                Ok(cluster) => show::status(&cluster, Clock::system().now_ms()),
                Err(why) => format!("{why}\n"),
            };
            output::print(&format!("{CLEAR}{shown}"));
            tokio::time::sleep(LOOK_EVERY).await;
        },
        asked @ (Ask::Status | Ask::Nodes | Ask::Shards { .. }) => {
            let cluster = asker.whole().await?;
            tell(&cluster, asked, settings.json)?;
            Ok(health::troubles(&cluster).is_empty())
        }
    }
}

/// Prints what was said of something that is done.
fn said(said: Vec<u8>) -> bool {
    output::print(&String::from_utf8_lossy(&said));
    true
}

/// Prints the answer.
fn tell(cluster: &Cluster, asked: &Ask, json: bool) -> Result<(), String> {
    let text = match asked {
        Ask::Shards { node, not_in_sync } => {
            let chosen = chosen(cluster, node.as_ref(), *not_in_sync);
            if json {
                in_json(&chosen.shards)?
            } else {
                show::shards(&chosen)
            }
        }
        Ask::Nodes if json => in_json(&cluster.nodes)?,
        Ask::Nodes => show::nodes(cluster),
        _ if json => in_json(&show::Status::of(cluster))?,
        _ => show::status(cluster, Clock::system().now_ms()),
    };

    output::print(&text);
    Ok(())
}

fn in_json(told: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(told)
        .map(|text| format!("{text}\n"))
        .map_err(|error| error.to_string())
}

/// The cluster with those of its shards alone that were asked for.
fn chosen(cluster: &Cluster, node: Option<&NodeId>, not_in_sync: bool) -> Cluster {
    let mut chosen = cluster.clone();
    chosen.shards.retain(|shard| {
        let is_of = |wanted: &NodeId| {
            shard.owner.as_ref() == Some(wanted) || shard.standby.contains(wanted)
        };
        let is_whole = shard.epoch.is_some()
            && shard
                .standbys
                .iter()
                .flatten()
                .all(|standby| standby.in_sync);
        node.is_none_or(is_of) && !(not_in_sync && is_whole)
    });
    chosen
}
