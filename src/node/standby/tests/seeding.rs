//! How the other end gets all of a snapshot, or ends.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;

use super::{SHARD, content, said};
use crate::ids::{ClusterId, NodeId};
use crate::link::Config;
use crate::log::Identity;
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::replica::{PIECE_BYTES_MAX, ReplicaAnswer, ReplicaAsk};
use crate::node::owners::testing::{Fake, Pair, eventually};
use crate::node::standby::seed::{Ended, FreeBytes, Seeding};
use crate::shard::command::ShardError;

/// An owner that gives this, and whose answer to each read may be another.
fn giver(
    bytes: Vec<u8>,
    meddle: impl Fn(u64) -> Option<Result<Outcome, ShardError>> + Send + Sync + 'static,
) -> Arc<Fake> {
    let reads = AtomicU64::new(0);
    Fake::new(move |body| match body {
        Body::Replica {
            shard: SHARD,
            ask: ReplicaAsk::SnapshotBegin,
        } => Ok(Outcome::Replica(ReplicaAnswer::Ready {
            id: 9,
            said: said(&bytes),
        })),
        Body::Replica {
            shard: SHARD,
            ask: ReplicaAsk::SnapshotRead { id: 9, from },
        } => {
            if let Some(other) = meddle(reads.fetch_add(1, Ordering::SeqCst)) {
                return other;
            }
            let from = usize::try_from(*from).expect("small");
            let piece = bytes[from..]
                .iter()
                .copied()
                .take(PIECE_BYTES_MAX)
                .collect();
            Ok(Outcome::Replica(ReplicaAnswer::Piece(piece)))
        }
        _ => Err(ShardError::NotOwner),
    })
}

fn seeding(pair: &Pair, rate: u32) -> Seeding {
    let identity = Identity {
        cluster: ClusterId(uuid::Uuid::nil()),
        shards: 16,
    };
    Seeding::new(
        pair.owners.clone(),
        identity,
        NonZeroU32::new(rate).expect("a rate"),
    )
}

fn reads(fake: &Fake) -> Vec<u64> {
    let from = |body: &Body| match body {
        Body::Replica {
            ask: ReplicaAsk::SnapshotRead { from, .. },
            ..
        } => Some(*from),
        _ => None,
    };
    fake.bodies().iter().filter_map(from).collect()
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_was_when_nobody_answered_and_tells_when_it_has_all() {
    let bytes = content(PIECE_BYTES_MAX * 2 + 5);
    let fake = giver(bytes.clone(), |read| {
        (read == 1).then_some(Err(ShardError::NotOwner))
    });
    let pair = Pair::new(&fake, Config::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part");
    let done = seeding(&pair, u32::MAX)
        .transfer((SHARD, &NodeId::from("b")), (9, &said(&bytes)), &part)
        .await;
    assert!(done.is_ok());
    assert!(std::fs::read(&part).expect("a file") == bytes);
    let piece = u64::try_from(PIECE_BYTES_MAX).expect("small");
    assert_eq!(reads(&fake), [0, piece, piece, piece * 2, piece * 2 + 5]);
}

#[tokio::test]
async fn a_transfer_ends_when_the_owner_has_it_no_more_or_another_node_owns_the_shard() {
    let bytes = content(PIECE_BYTES_MAX * 2);
    let gone = giver(bytes.clone(), |read| {
        (read == 1).then_some(Ok(Outcome::Replica(ReplicaAnswer::Gone)))
    });
    let silent = giver(bytes.clone(), |read| {
        (read >= 1).then_some(Err(ShardError::NotOwner))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part");

    for (fake, moves) in [(gone, false), (silent, true)] {
        let pair = Pair::new(&fake, Config::default()).await;
        let (seeding, owner, said) = (seeding(&pair, u32::MAX), NodeId::from("b"), said(&bytes));
        let transfer = seeding.transfer((SHARD, &owner), (9, &said), &part);
        let moving = async {
            if moves {
                eventually(|| fake.bodies().len() > 2).await;
                let mut table = crate::cluster::table::Table::clone(&pair.owners.table());
                table.version += 1;
                table.rows = vec![vec![NodeId::from("c")]; 16];
                pair.table.send_replace(Arc::new(table));
            }
        };
        let (ended, ()) = tokio::join!(transfer, moving);
        assert!(matches!(ended, Err(Ended::Gone)));
    }
}

#[tokio::test]
async fn what_came_is_used_only_when_it_is_as_it_was_said() {
    let bytes = content(1_000);
    let fake = giver(bytes, |_| None);
    let pair = Pair::new(&fake, Config::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("0003.sqlite");
    seeding(&pair, u32::MAX)
        .seed(SHARD, &to)
        .await
        .expect_err("its hash is not as said");
    assert!(!to.exists());
}

#[tokio::test]
async fn a_transfer_is_no_faster_than_it_may_be() {
    let bytes = content(PIECE_BYTES_MAX * 3);
    let times = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&times);
    let fake = giver(bytes.clone(), move |_| {
        noting
            .lock()
            .expect("whole")
            .push(std::time::Instant::now());
        None
    });

    let pair = Pair::new(&fake, Config::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part");
    let rate = u32::try_from(PIECE_BYTES_MAX * 5).expect("small");
    let begun = std::time::Instant::now();
    let done = seeding(&pair, rate)
        .transfer((SHARD, &NodeId::from("b")), (9, &said(&bytes)), &part)
        .await;
    assert!(done.is_ok());
    let times = times.lock().expect("whole");
    assert_eq!(times.len(), 4);

    // A piece takes 200 ms at that rate, but the first, which is a burst.
    assert!(
        times[3] - begun >= Duration::from_millis(590),
        "{:?}",
        times[3] - begun
    );
}

#[tokio::test]
async fn a_disk_without_room_is_not_filled_and_seeded_as_soon_as_it_has_room() {
    let bytes = content(1_000);
    let fake = giver(bytes, |_| None);
    let pair = Pair::new(&fake, Config::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("0003.sqlite");
    std::fs::write(
        folder.path().join("0003.sqlite.part"),
        "of a former attempt",
    )
    .expect("written");

    let (left, looks) = (Arc::new(AtomicU64::new(1_000)), Arc::new(AtomicU64::new(0)));
    let (tells, looked) = (Arc::clone(&left), Arc::clone(&looks));
    let room: FreeBytes = Arc::new(move |_| {
        looked.fetch_add(1, Ordering::SeqCst);
        let told = tells.load(Ordering::SeqCst);
        async move { Some(told) }.boxed()
    });

    let seeding = seeding(&pair, u32::MAX).with_room(room);
    let watching = async {
        eventually(|| looks.load(Ordering::SeqCst) >= 2).await;
        assert_eq!(
            (
                reads(&fake),
                std::fs::read_dir(folder.path()).expect("reads").count()
            ),
            (Vec::new(), 0)
        );
        left.store(1 << 30, Ordering::SeqCst);
    };

    let (seeded, ()) = tokio::join!(seeding.seed(SHARD, &to), watching);
    seeded.expect_err("its hash is not as said");
    assert_eq!(reads(&fake), [0, 1_000]);
}
