//! The gauges of a node: what its shards stand at, and how much room its folder's disk has left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;

use crate::ids::{NodeId, Offset};
use crate::node::Shards;
use crate::node::table::Table;
use crate::shard::ShardStatus;
use crate::shard::log::Stream;
use crate::telemetry;

/// How often the gauges of a node's shards are set.
const SHARDS_EVERY: Duration = Duration::from_secs(1);

/// How often the disk is asked for its room.
const DISK_EVERY: Duration = Duration::from_secs(10);

/// Sets the gauges of a node's shards, for ever.
pub(super) async fn of_shards(node: NodeId, shards: Shards, table: watch::Receiver<Arc<Table>>) {
    let mut every = tokio::time::interval(SHARDS_EVERY);
    loop {
        every.tick().await;
        let (version, all) = {
            let table = table.borrow();
            (table.version, table.identity.shards)
        };
        telemetry::TABLE_VERSION.set(as_gauge(version), &[("node", &node.0)]);
        telemetry::TABLE_SHARDS.set(f64::from(all), &[("node", &node.0)]);
        let handles = shards.handles();
        let open = u64::try_from(handles.len()).unwrap_or(u64::MAX);
        telemetry::NODE_SHARDS.set(as_gauge(open), &[("node", &node.0)]);
        for handle in handles {
            of_shard(&handle.status());
        }
    }
}

fn of_shard(status: &ShardStatus) {
    let shard = status.shard.0.to_string();
    let shard = shard.as_str();
    telemetry::SHARD_EPOCH.set(as_gauge(status.epoch.0), &[("shard", shard)]);
    telemetry::SHARD_LAG_RECORDS.set(as_gauge(status.lag), &[("shard", shard)]);
    for stream in Stream::BOTH {
        let labels = [("shard", shard), ("stream", stream.as_str())];
        let at = |offsets: [Offset; 2]| offsets.get(stream.index()).map_or(0.0, |offset| as_gauge(offset.0));
        telemetry::SHARD_COMMITTED_OFFSET.set(at(status.committed), &labels);
        telemetry::SHARD_APPLIED_OFFSET.set(at(status.applied), &labels);
        telemetry::SHARD_DURABLE_OFFSET.set(at(status.durable), &labels);
    }
}

/// Sets the gauges of the disk that holds a node's folder, for ever.
pub(super) async fn of_disk(node: NodeId, folder: PathBuf) {
    let mut every = tokio::time::interval(DISK_EVERY);
    loop {
        every.tick().await;
        let folder = folder.clone();
        // On a thread of its own: a disk that hangs holds up nothing else.
        let asked = tokio::task::spawn_blocking(move || room(&folder)).await;
        match asked {
            Ok(Ok((available, size))) => {
                telemetry::NODE_DISK_AVAILABLE.set(as_gauge(available), &[("node", &node.0)]);
                telemetry::NODE_DISK_SIZE.set(as_gauge(size), &[("node", &node.0)]);
            }
            Ok(Err(error)) => tracing::debug!(%node, %error, "the disk does not tell its room"),
            Err(_ended) => return,
        }
    }
}

/// Bytes that are left on the disk of a folder to whoever is not root, and bytes in all.
fn room(folder: &std::path::Path) -> nix::Result<(u64, u64)> {
    let disk = statvfs(folder)?;
    let unit = disk.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    Ok((bytes(disk.blocks_available()), bytes(disk.blocks())))
}

/// Exact up to 2^53; beyond that a gauge is off by less than one part in 10^15.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "gauges are floats; see the comment")]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_disk_is_no_more_than_its_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let (available, size) = room(folder.path()).expect("a disk");
        assert!(size > 0 && available <= size, "{available} of {size}");
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_room_to_tell() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(room(&folder.path().join("absent")).is_err());
    }
}
