//! What is asked, of whom, and what becomes of the answer.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::clock::Clock;
use crate::config::ask::{Ask, AskSettings};
use crate::config::secrets::Secrets;
use crate::ids::NodeId;
use crate::operations::{Cluster, control, health};
use crate::output;
use crate::process::cluster::call::{self, Place, call};
use crate::process::cluster::show;
use crate::process::cluster_key;

/// Pause between two looks of `watch`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Clears the screen, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks. True when all is well, or what was asked for is done.
///
/// # Errors
/// One clear line: nobody answers, or the answer is a refusal.
pub fn run(settings: &AskSettings, secrets: &Secrets) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot begin: {error}"))?;
    runtime.block_on(ask(settings, secrets))
}

async fn ask(settings: &AskSettings, secrets: &Secrets) -> Result<bool, String> {
    let places = Place::all(settings)?;
    match &settings.ask {
        Ask::Move { shard, node } => {
            let key = match &settings.cluster {
                Some(folder) => call::key_in(folder)?,
                None => cluster_key(secrets)?,
            };
            let path = format!("/shards/{shard}/owner?node={}", node.0);
            let proof = control::proof_of(&key, &Method::POST, &path, Clock::system().now_ms());
            let said = first(&places, (Method::POST, &path), Some(&proof)).await?;
            output::print(&String::from_utf8_lossy(&said));
            Ok(true)
        }
        Ask::Watch => loop {
            let shown = match whole(&places).await {
                Ok(cluster) => show::status(&cluster),
                Err(why) => format!("{why}\n"),
            };
            output::print(&format!("{CLEAR}{shown}"));
            tokio::time::sleep(LOOK_EVERY).await;
        },
        asked @ (Ask::Status | Ask::Nodes | Ask::Shards { .. }) => {
            let cluster = whole(&places).await?;
            tell(&cluster, asked, settings.json)?;
            Ok(health::troubles(&cluster).is_empty())
        }
    }
}

/// Prints the answer.
fn tell(cluster: &Cluster, asked: &Ask, json: bool) -> Result<(), String> {
    let text = match asked {
        Ask::Shards { node, not_in_sync } => {
            let chosen = chosen(cluster, node.as_ref(), *not_in_sync);
            if json { in_json(&chosen.shards)? } else { show::shards(&chosen) }
        }
        Ask::Nodes if json => in_json(&cluster.nodes)?,
        Ask::Nodes => show::nodes(cluster),
        _ if json => in_json(&show::Status::of(cluster))?,
        _ => show::status(cluster),
    };
    output::print(&text);
    Ok(())
}

fn in_json(told: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(told).map(|text| format!("{text}\n")).map_err(|error| error.to_string())
}

/// The cluster with those of its shards alone that were asked for.
fn chosen(cluster: &Cluster, node: Option<&NodeId>, not_in_sync: bool) -> Cluster {
    let mut chosen = cluster.clone();
    chosen.shards.retain(|shard| {
        let is_of = |wanted: &NodeId| shard.owner.as_ref() == Some(wanted) || shard.standby.contains(wanted);
        let is_whole = shard.epoch.is_some() && shard.standbys.iter().flatten().all(|standby| standby.in_sync);
        node.is_none_or(is_of) && !(not_in_sync && is_whole)
    });
    chosen
}

/// The whole cluster, as the first that answers tells it.
async fn whole(places: &[Place]) -> Result<Cluster, String> {
    let said = first(places, (Method::GET, "/cluster?whole"), None).await?;
    serde_json::from_slice(&said).map_err(|error| format!("the answer is none of an operations port: {error}"))
}

/// What the first place says that can be reached.
async fn first(places: &[Place], (method, path): (Method, &str), proof: Option<&str>) -> Result<Vec<u8>, String> {
    let mut unreached = Vec::new();
    for place in places {
        match call(place, &method, path, proof).await {
            Ok((StatusCode::OK, said)) => return Ok(said),
            Ok((status, said)) => {
                let said = String::from_utf8_lossy(&said);
                return Err(format!("{place} answers {status}: {}", said.trim_end()));
            }
            Err(why) => unreached.push(format!("{place}: {why}")),
        }
    }
    Err(format!("no operations port answers; {}", unreached.join("; ")))
}
