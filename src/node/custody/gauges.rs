//! The gauges of a node: what its shards stand at, and how much room its folder's disk has left.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;

use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{NodeId, ShardId};
use crate::log::Stream;
use crate::node::custody::observe::Observer;
use crate::node::custody::shards::Shards;
use crate::shard::{ShardHandle, ShardStatus};
use crate::telemetry;

/// How often the gauges of a node's shards are set.
const SHARDS_EVERY: Duration = Duration::from_secs(1);

/// How often the disk is asked for its room.
const DISK_EVERY: Duration = Duration::from_secs(10);

/// What is told of a shard only as long as it is owned here.
const OF_OWNED: [telemetry::Gauge; 6] = [
    telemetry::SHARD_EPOCH,
    telemetry::SHARD_LAG_RECORDS,
    telemetry::STREAM_FILL,
    telemetry::SHARD_LOG_FULL,
    telemetry::SHARD_LEASE_SECONDS,
    telemetry::SHARD_STANDBYS_IN_SYNC,
];

/// Sets the gauges of a node's shards, for ever. `replicas` of each there should be, if there are
/// as many nodes.
pub(in crate::node) async fn of_shards(
    (node, replicas): (NodeId, usize),
    shards: Shards,
    observer: Observer,
    table: watch::Receiver<Arc<Table>>,
    reach: Arc<Reach>,
) {
    let mut every = tokio::time::interval(SHARDS_EVERY);
    let mut told = BTreeSet::new();

    loop {
        every.tick().await;
        let (version, all, nodes, drains) = {
            let table = table.borrow();
            (
                table.version,
                table.identity.shards,
                table.nodes.len(),
                table.is_draining(&node),
            )
        };
        telemetry::TABLE_VERSION.set(as_gauge(version), &[("node", &node.0)]);
        telemetry::TABLE_SHARDS.set(f64::from(all), &[("node", &node.0)]);
        let handles = shards.open();
        let unproven = handles.iter().filter(|handle| !handle.is_proven()).count();
        let unproven = as_gauge(u64::try_from(unproven).unwrap_or(u64::MAX));
        telemetry::NODE_UNPROVEN_SHARDS.set(unproven, &[("node", &node.0)]);
        telemetry::NODE_DRAINING.set(f64::from(u8::from(drains)), &[("node", &node.0)]);
        telemetry::NODE_CUT_OFF.set(
            f64::from(u8::from(reach.is_cut_off())),
            &[("node", &node.0)],
        );
        let open: Vec<ShardStatus> = handles.iter().map(ShardHandle::status).collect();
        telemetry::NODE_SHARDS.set(
            as_gauge(u64::try_from(open.len()).unwrap_or(u64::MAX)),
            &[("node", &node.0)],
        );
        let missing = underreplicated(&open, replicas.min(nodes).saturating_sub(1));
        telemetry::SHARDS_UNDERREPLICATED.set(as_gauge(missing), &[("node", &node.0)]);
        let standing = u64::try_from(observer.count()).unwrap_or(u64::MAX);
        telemetry::STANDBYS.set(as_gauge(standing), &[("node", &node.0)]);
        told = tell(&told, &open);
    }
}

/// Sets the gauge of the shards that a node refuses to open, for ever.
pub(in crate::node) async fn of_refused(node: NodeId, count: impl Fn() -> usize) {
    let mut every = tokio::time::interval(SHARDS_EVERY);
    loop {
        every.tick().await;
        let refused = as_gauge(u64::try_from(count()).unwrap_or(u64::MAX));
        telemetry::NODE_REFUSED_SHARDS.set(refused, &[("node", &node.0)]);
    }
}

/// How many of the shards have fewer standbys in sync than this.
fn underreplicated(open: &[ShardStatus], standbys: usize) -> u64 {
    let in_sync = |status: &ShardStatus| {
        status
            .standbys
            .iter()
            .filter(|(_, in_sync)| *in_sync)
            .count()
    };
    u64::try_from(
        open.iter()
            .filter(|status| in_sync(status) < standbys)
            .count(),
    )
    .unwrap_or(u64::MAX)
}

/// Sets the gauges of the shards that are open, and of those that were open when this was told
/// last. Answers which are open.
fn tell(told: &BTreeSet<ShardId>, open: &[ShardStatus]) -> BTreeSet<ShardId> {
    open.iter().for_each(of_shard);
    let now: BTreeSet<ShardId> = open.iter().map(|status| status.shard).collect();
    // A gauge stays for as long as the process: without this, a shard that left would stand there
    // as it was.
    for left in told.difference(&now) {
        let shard = left.0.to_string();
        for gauge in OF_OWNED {
            gauge.set(0.0, &[("shard", &shard)]);
        }
    }
    now
}

fn of_shard(status: &ShardStatus) {
    let shard = status.shard.0.to_string();
    let shard = shard.as_str();
    telemetry::SHARD_EPOCH.set(as_gauge(status.epoch.0), &[("shard", shard)]);
    telemetry::SHARD_LAG_RECORDS.set(as_gauge(status.lag), &[("shard", shard)]);
    for stream in Stream::BOTH {
        let labels = [("shard", shard), ("stream", stream.as_str())];
        telemetry::SHARD_COMMITTED_OFFSET.set(as_gauge(status.committed[stream].0), &labels);
        telemetry::SHARD_APPLIED_OFFSET.set(as_gauge(status.applied[stream].0), &labels);
        telemetry::SHARD_DURABLE_OFFSET.set(as_gauge(status.durable[stream].0), &labels);
    }
}

/// Sets the gauges of the disk that holds a node's folder, for ever.
pub(in crate::node) async fn of_disk(node: NodeId, folder: PathBuf) {
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
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "gauges are floats; see the comment"
)]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::ids::{Epoch, Offset};
    use crate::log::PerStream;

    fn status(shard: u16) -> ShardStatus {
        let at = |offset| PerStream::both(Offset(offset));
        let owner = NodeId::from("node-1");
        ShardStatus {
            shard: ShardId(shard),
            owner,
            epoch: Epoch(7),
            committed: at(9),
            applied: at(8),
            durable: at(8),
            lag: 2,
            standbys: Vec::new(),
        }
    }

    #[test]
    fn a_shard_that_left_has_no_epoch_and_no_lag_any_more() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let told = tell(&BTreeSet::new(), &[status(3), status(4)]);
            assert_eq!(told.len(), 2);
            assert_eq!(tell(&told, &[status(4)]), BTreeSet::from([ShardId(4)]));
        });

        let text = handle.render();
        for line in [
            "rookery_shard_epoch{shard=\"3\"} 0",
            "rookery_shard_lag_records{shard=\"3\"} 0",
            "rookery_shard_stream_fill_ratio{shard=\"3\"} 0",
            "rookery_shard_log_full{shard=\"3\"} 0",
            "rookery_shard_lease_seconds{shard=\"3\"} 0",
            "rookery_shard_standbys_in_sync{shard=\"3\"} 0",
            "rookery_shard_epoch{shard=\"4\"} 7",
            "rookery_shard_lag_records{shard=\"4\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_shard_is_underreplicated_while_a_standby_is_missing_or_behind() {
        let with = |standbys: &[bool]| {
            let standbys = standbys
                .iter()
                .map(|in_sync| (NodeId::from("node-2"), *in_sync))
                .collect();
            ShardStatus {
                standbys,
                ..status(3)
            }
        };

        let open = [
            with(&[]),
            with(&[false]),
            with(&[true]),
            with(&[true, false]),
            with(&[true, true]),
        ];

        assert_eq!(
            [0, 1, 2].map(|standbys| underreplicated(&open, standbys)),
            [0, 2, 4]
        );
    }

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
