//! A backup from its begin to its end.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::config::backup::{BackupAsk, BackupSettings};
use crate::config::secrets::Secrets;
use crate::ids::ShardId;
use crate::log::Identity;
use crate::node::folder::FolderLock;
use crate::output;
use crate::process::backup::asked::{Missed, Ports};
use crate::process::backup::copy::{Copied, Copying, PAUSE, limiter};
use crate::process::backup::folder::seal;
use crate::process::backup::manifest::{Manifest, ShardCopy};
use crate::process::backup::verify;
use crate::process::cluster::call::Place;
use crate::process::cluster::{key_of, whole};
use crate::process::on_this_thread;

/// Copies of one shard that are begun at most, when each comes to nothing though some of it was
/// read.
const BEGUN_MAX: u32 = 20;

/// Copies, or looks at a copy.
///
/// # Errors
/// One clear line: what is missing or wrong, and what to do.
pub fn run(settings: &BackupSettings, secrets: &Secrets) -> Result<(), String> {
    if let Some(BackupAsk::Verify { folder }) = &settings.ask {
        return on_this_thread(verify::run(folder))?;
    }
    let Some(to) = &settings.to else {
        return Err("give the folder of the backup with --to".to_owned());
    };
    on_this_thread(take(settings, secrets, to))?
}

/// What is told of a shard, in JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    shard: u16,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl Line<'_> {
    fn print(&self, json: bool) {
        let text = match (json, self.bytes, self.of) {
            (true, ..) => serde_json::to_string(self).unwrap_or_default(),
            (false, Some(bytes), Some(of)) => {
                format!("shard {}: {bytes} of {of} bytes", self.shard)
            }
            (false, Some(bytes), None) => {
                format!("shard {}: {}, {bytes} bytes", self.shard, self.state)
            }
            (false, ..) => format!(
                "shard {}: {}: {}",
                self.shard,
                self.state,
                self.why.unwrap_or_default()
            ),
        };
        output::print(&format!("{text}\n"));
    }
}

async fn take(settings: &BackupSettings, secrets: &Secrets, to: &Path) -> Result<(), String> {
    let places = Place::all(settings.cluster.as_deref(), &settings.operations)?;
    let key = key_of(settings.cluster.as_deref(), &settings.data, secrets)?;
    let lock =
        FolderLock::take(to).map_err(|why| why.replacen("data folder", "backup folder", 1))?;
    let former = Manifest::read(to).map_err(|why| format!("{why}; give another --to"))?;
    let begun_ms = Clock::system().now_ms();
    let shards = u32::try_from(whole(&places).await?.shards.len()).unwrap_or_default();
    let map = ShardMap::new(shards)
        .ok_or("there is no table yet: nothing is served, and nothing to be copied")?;
    if let Some(former) = former.as_ref().filter(|former| former.shards != shards) {
        return Err(format!(
            "{} has a backup of {} shards, not {shards}: give another --to",
            to.display(),
            former.shards
        ));
    }

    let json = settings.json;
    let tell = move |ShardId(shard): ShardId, bytes: u64, of: u64| {
        Line {
            shard,
            state: "copying",
            bytes: Some(bytes),
            of: Some(of),
            why: None,
        }
        .print(json);
    };
    let ports = Ports::new(places, key);
    let mut copying = Copying {
        ports: &ports,
        folder: to,
        run: rand::random(),
        identity: former.as_ref().map(Manifest::identity),
        rate: settings.rate_limit.map(limiter),
        progress: &tell,
    };
    let (copies, missing) = all(&mut copying, map, former.as_ref(), settings).await?;
    if !missing.is_empty() {
        let named: Vec<String> = missing
            .iter()
            .map(|(shard, why)| format!("shard {} ({why})", shard.0))
            .collect();
        return Err(format!(
            "the backup lacks {}; what {} had before stands",
            named.join(", "),
            to.display()
        ));
    }

    let cluster = copying.identity.ok_or("no shard was copied")?.cluster;
    let identity = Identity { cluster, shards };
    let files: Vec<ShardCopy> = copies.iter().map(|(copy, _)| copy.clone()).collect();
    seal(
        to,
        &Manifest::new(identity, (begun_ms, Clock::system().now_ms()), files),
    )?;
    lock.release();
    tell_end(identity, &copies, json);
    Ok(())
}

/// The shards that are in the backup, with whether each was copied now, and those that are not,
/// with the reason.
type Taken = (Vec<(ShardCopy, bool)>, BTreeMap<ShardId, String>);

/// A shard that is still to be copied.
#[derive(Debug)]
struct Turn {
    shard: ShardId,
    /// When something came of it last, or it was first asked for.
    heard: Instant,
    /// Attempts in which something came, and the first one.
    begun: u32,
}

/// Copies each shard. One that cannot be copied now has its next turn after all others, until
/// nothing has come of it for long: a node that is dead costs its own shards, and no time for each
/// of them.
async fn all(
    copying: &mut Copying<'_>,
    map: ShardMap,
    former: Option<&Manifest>,
    settings: &BackupSettings,
) -> Result<Taken, String> {
    let json = settings.json;
    let (mut copies, mut missing) = (Vec::new(), BTreeMap::new());
    let now = Instant::now();
    let mut turns: VecDeque<_> = map
        .all()
        .map(|shard| Turn {
            shard,
            heard: now,
            begun: 0,
        })
        .collect();
    while let Some(mut turn) = turns.pop_front() {
        let shard = turn.shard;
        if turn.begun == 0 {
            turn.heard = Instant::now();
        }
        let known = former
            .and_then(|former| former.copy_of(shard))
            .filter(|copy| is_there(copying.folder, copy));
        let before = turn.heard;
        let (copy, anew) = match copying.attempt(shard, known, &mut turn.heard).await {
            Ok(Copied::Anew(copy)) => (copy, true),
            Ok(Copied::Unchanged(copy)) => (copy, false),
            Err(Missed::Never(why)) => return Err(why),
            Err(Missed::Again(why) | Missed::Gone(why))
                if turn.heard.elapsed() > settings.give_up || turn.begun >= BEGUN_MAX =>
            {
                tell_missing(shard, &why, json);
                missing.insert(shard, why);
                continue;
            }
            Err(Missed::Again(_) | Missed::Gone(_)) => {
                // One that comes to nothing again and again though it is read is counted.
                turn.begun += if turn.begun == 0 || turn.heard > before {
                    1
                } else {
                    0
                };
                turns.push_back(turn);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        tell_copied(shard, &copy, anew, json);
        copies.push((copy, anew));
    }

    copies.sort_by_key(|(copy, _)| copy.shard);
    Ok((copies, missing))
}

/// Whether a copy of an earlier backup is still in its folder. Damage of it is for `verify` to
/// find; that it is there at all costs nothing to see.
fn is_there(folder: &Path, copy: &ShardCopy) -> bool {
    std::fs::metadata(folder.join(&copy.file)).is_ok_and(|file| file.len() == copy.bytes)
}

fn tell_missing(shard: ShardId, why: &str, json: bool) {
    Line {
        shard: shard.0,
        state: "missing",
        bytes: None,
        of: None,
        why: Some(why),
    }
    .print(json);
}

fn tell_copied(shard: ShardId, copy: &ShardCopy, anew: bool, json: bool) {
    let state = if anew { "copied" } else { "unchanged" };
    Line {
        shard: shard.0,
        state,
        bytes: Some(copy.bytes),
        of: None,
        why: None,
    }
    .print(json);
}

fn tell_end(identity: Identity, copies: &[(ShardCopy, bool)], json: bool) {
    let bytes = |anew: bool| {
        copies
            .iter()
            .filter(|(_, is)| *is == anew)
            .map(|(copy, _)| copy.bytes)
            .sum::<u64>()
    };

    let copied = copies.iter().filter(|(_, anew)| *anew).count();
    let unchanged = copies.len() - copied;
    let (new, old, cluster) = (bytes(true), bytes(false), identity.cluster);
    if json {
        let told = serde_json::json!({
            "state": "done", "cluster": cluster, "copied": copied, "unchanged": unchanged, "bytes": new, "bytes_unchanged": old,
        });
        output::print(&format!("{told}\n"));
    } else {
        output::print(&format!(
            "The backup of cluster {cluster} is whole: {copied} shards were copied ({new} bytes), {unchanged} are unchanged \
             ({old} bytes).\n"
        ));
    }
}
