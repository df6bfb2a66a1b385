//! A restore from its begin to its end.

use std::path::{Path, PathBuf};

use crate::cluster::folder::Folder;
use crate::cluster::map::ShardMap;
use crate::cluster::table::embedded::EmbeddedTable;
use crate::cluster::table::{Table, TableStore};
use crate::config::backup::RestoreSettings;
use crate::files::{folder_of, sync_folder};
use crate::ids::{NodeId, ShardId};
use crate::log::embedded::EmbeddedLog;
use crate::log::{Claim, ClaimOutcome, ShardLog, Token};
use crate::output;
use crate::process::backup::manifest::Manifest;
use crate::process::backup::verify;
use crate::process::restore::begun::Begun;
use crate::process::restore::target::Target;
use crate::process::{self, files};
use crate::shard::file::backup::build::{Built, build};
use crate::shard::file::backup::gathered::Gathered;
use crate::shard::file::snapshot::drop_file;

/// Writes a folder of a backup.
///
/// # Errors
/// One clear line: what is wrong, and what to do.
pub fn run(settings: &RestoreSettings) -> Result<(), String> {
    process::on_this_thread(restore(settings))?
}

async fn restore(settings: &RestoreSettings) -> Result<(), String> {
    let manifest = verify::read(&settings.from)?;
    // What does not fit together is told before anything is written.
    Target::of(settings, manifest.shards, manifest.cluster)?;
    if settings.cluster_id == Some(manifest.cluster) {
        return Err(
            "a restored cluster is another one: give another --cluster-id than that of the backup"
                .to_owned(),
        );
    }
    let begun = Begun::begin(&settings.data, settings.cluster_id)?;
    let target = Target::of(settings, manifest.shards, begun.cluster)?;
    let gathered = gather(&settings.from, &manifest, &target).await?;
    let mut built = Vec::new();
    for (shard, owner) in target.shards() {
        built.push((
            shard,
            owner.clone(),
            make(
                &settings.from,
                &manifest,
                (&target, &gathered),
                (shard, &owner),
            )
            .await?,
        ));
        output::print(&format!("shard {} is restored\n", shard.0));
    }
    drop_file(&gathered).map_err(|error| format!("{}: {error}", gathered.display()))?;

    match &target.node {
        Some(node) => mark(&target, node)?,
        None => write_log(&target, &built).await?,
    }
    begun.finish()?;
    tell(settings, &target, built.len());
    Ok(())
}

/// Verifies every file of the backup, and takes in what has to be known of all.
async fn gather(from: &Path, manifest: &Manifest, target: &Target) -> Result<PathBuf, String> {
    let before = ShardMap::new(manifest.shards).ok_or("the backup has no number of shards")?;
    let mut gathered =
        Gathered::begin(&target.gathered(), (before, target.map), manifest.begun_ms).await?;
    for copy in &manifest.files {
        let wrong = |why: String| {
            format!(
                "{}: {why}; nothing was restored",
                from.join(&copy.file).display()
            )
        };
        verify::file(from, manifest, copy).await.map_err(wrong)?;
        gathered
            .take(ShardId(copy.shard), &from.join(&copy.file))
            .await
            .map_err(wrong)?;
    }
    gathered.finish().await
}

/// Makes the file of one shard.
async fn make(
    from: &Path,
    manifest: &Manifest,
    (target, gathered): (&Target, &Path),
    (shard, owner): (ShardId, &NodeId),
) -> Result<Built, String> {
    let path = target.file_of(shard, owner);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }

    let mut sources = Vec::new();
    for (source, is_first) in target.sources(manifest.shards, shard) {
        let copy = manifest
            .copy_of(source)
            .ok_or_else(|| format!("the backup lacks shard {}", source.0))?;
        sources.push((from.join(&copy.file), is_first));
    }

    let built = build((target.identity, shard), &sources, gathered, &path).await?;
    // The folder of the shards too has a name that must be there.
    let shards = target.shards_of(owner);
    let synced = sync_folder(&shards).and_then(|()| sync_folder(folder_of(&shards)));
    synced.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(built)
}

/// What a node's folder says of itself: which cluster, and who is to own what. The nodes tell where
/// they are by themselves.
fn mark(target: &Target, node: &NodeId) -> Result<(), String> {
    let mut folder = Folder::open(&target.folder, node)?;
    folder.mark(target.identity)?;
    folder.remember(&Table {
        version: 0,
        nodes: std::collections::BTreeMap::new(),
        ..target.table.clone()
    })
}

/// The log of one process, which begins where the files end.
async fn write_log(target: &Target, built: &[(ShardId, NodeId, Built)]) -> Result<(), String> {
    let log = EmbeddedLog::open(&target.folder.join(files::LOG)).await?;
    let table = EmbeddedTable::new(std::sync::Arc::clone(&log));
    let failed = |error: &dyn std::fmt::Display| format!("the log cannot be written: {error}");
    table
        .create(target.identity)
        .await
        .map_err(|error| failed(&error))?;
    table
        .swap(0, target.table.clone())
        .await
        .map_err(|error| failed(&error))?;
    for (shard, owner, made) in built {
        let claim = Claim {
            shard: *shard,
            expected: None,
            token: Token::new(made.max_epoch.next()),
            owner: owner.clone(),
            identity: target.identity,
            begin_at: made.tails,
            ends_at: None,
        };
        match log.claim(claim).await.map_err(|error| failed(&error))? {
            ClaimOutcome::Claimed(_) => {}
            ClaimOutcome::Refused(found) => {
                return Err(failed(&format!(
                    "shard {shard} is claimed already: {found:?}"
                )));
            }
        }
    }

    log.close().await;
    Ok(())
}

fn tell(settings: &RestoreSettings, target: &Target, count: usize) {
    let (data, cluster, shards) = (
        target.folder.display(),
        target.identity.cluster,
        target.identity.shards,
    );
    let next = match &target.node {
        None => format!("Start `rookery dev --data {data} --shards {shards}`."),
        Some(node) => format!(
            "Restore the folder of each other node with --cluster-id {cluster}, then start all once with --adopt-local, over a \
             Redis that has no cluster: `rookery node --node-id {node} --data {data} --shards {shards} --adopt-local …`."
        ),
    };

    output::print(&format!(
        "{count} shards of {} are in {data}, as cluster {cluster}.\n{next}\n",
        settings.from.display()
    ));
}
