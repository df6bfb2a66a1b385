//! A node loses its disk, and what it is given in its place is spoiled on the way: some letters of
//! a message are others, in a file that SQLite finds nothing wrong with.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::planted::stages::begins;
use crate::chaos::trial::Trial;

/// The node.
const NODE: &str = "node-2";
/// It reads its copies slowly enough for each to lie there for a second before it is looked at.
const SLOWLY: &str = "--snapshot-rate 512KiB";
/// Before it loses its disk: there have to be messages.
const TALK: Duration = Duration::from_secs(10);
/// For all its copies to be there.
const SEEDED_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks at what has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Words of every message, and what they are made.
const BEFORE: &[u8] = b"lorem ipsum";
const AFTER: &[u8] = b"LOREM IPSUM";

/// Plays it.
pub(super) async fn play(trial: &Trial) -> Result<(), String> {
    let site = &trial.field.site;
    trial.pause(TALK).await;
    let node = [NODE.to_owned()];
    site.kill(&node).await;
    site.empty(NODE)?;
    site.write(NODE, "flags", SLOWLY)?;
    site.start_again(&node).await?;

    let (end, mut spoiled) = (Instant::now() + SEEDED_WITHIN, BTreeSet::new());
    while Instant::now() < end && !trial.world().log.is_wrong() {
        for path in parts(&site.home(NODE).join("data/shards")) {
            // Each shard once: what is refused comes again.
            if !spoiled.contains(&path) && spoil(&path) {
                spoiled.insert(path);
            }
        }
        let seeded = site.in_sync(&site.nodes(), Duration::ZERO).await;
        if seeded.is_ok() {
            break;
        }
        trial.pause(LOOK_EVERY).await;
    }
    if spoiled.is_empty() {
        return Err(format!("nothing came to {NODE} that could be spoiled"));
    }

    begins(
        trial,
        "spoiled",
        &format!("{} copies on their way to {NODE}", spoiled.len()),
    );
    trial.recover("spoiled", true).await;
    Ok(())
}

/// Copies that are on their way.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "part"))
        .collect()
}

/// Changes the words of the last message in a file; false when none is there yet. The first ones
/// are of raw entries, which are no part of what replicas have in common.
fn spoil(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else {
        return false;
    };
    let Some(at) = bytes
        .windows(BEFORE.len())
        .rposition(|words| words == BEFORE)
    else {
        return false;
    };
    let file = File::options().write(true).open(path);
    file.is_ok_and(|file| u64::try_from(at).is_ok_and(|at| file.write_all_at(AFTER, at).is_ok()))
}
