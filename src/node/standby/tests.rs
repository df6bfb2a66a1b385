//! Both ends of a snapshot: what the owner keeps and for how long, and how the other end gets all
//! of it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tempfile::TempDir;

use crate::ids::{ClusterId, NodeId, ShardId};
use crate::link::Config;
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::replica::{PIECE_BYTES_MAX, ReplicaAnswer, ReplicaAsk};
use crate::node::owners::offers::Offers;
use crate::node::owners::testing::{Fake, Pair, eventually};
use crate::node::standby::seed::{Ended, FreeBytes, Seeding};
use crate::shard::command::ShardError;
use crate::shard::file::snapshot::Snapshot;
use crate::shard::file::store::StoreError;

const SHARD: ShardId = ShardId(3);

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at * 31 % 251).expect("a byte"))
        .collect()
}

fn said(bytes: &[u8]) -> Snapshot {
    Snapshot {
        length: bytes.len().try_into().expect("small"),
        sha256: [7; 32],
        applied: PerStream::both(Tail::EMPTY),
    }
}

/// An owner's end, with a folder that holds what a former process left.
struct Giving {
    folder: TempDir,
    offers: Offers,
    /// The log has what follows a snapshot that was written before.
    fresh: bool,
}

impl Giving {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = folder.path().join("snapshots");
        std::fs::create_dir(&snapshots).expect("made");
        std::fs::write(snapshots.join("old.given"), "x").expect("written");
        Self {
            offers: Offers::new(snapshots),
            folder,
            fresh: true,
        }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("snapshots")).map_or(0, Iterator::count)
    }

    fn begin(&self, shard: u16, to: &str, bytes: &[u8]) -> ReplicaAnswer {
        let bytes = bytes.to_vec();
        self.offers.begin_with(
            (ShardId(shard), &NodeId::from(to)),
            |_| self.fresh,
            move |path: PathBuf| {
                std::fs::write(path, &bytes).expect("written");
                async move { Ok(said(&bytes)) }.boxed()
            },
        )
    }

    async fn ready(&self, shard: u16, to: &str, bytes: &[u8]) -> u64 {
        loop {
            match self.begin(shard, to, bytes) {
                ReplicaAnswer::Ready { id, said: told } => {
                    assert_eq!(told, said(bytes));
                    return id;
                }
                ReplicaAnswer::Preparing => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn read(&self, id: u64, by: &str, from: usize) -> ReplicaAnswer {
        self.offers
            .read(
                id,
                SHARD,
                &NodeId::from(by),
                from.try_into().expect("small"),
            )
            .await
    }
}

#[tokio::test]
async fn a_snapshot_is_read_in_pieces_by_who_asked_for_it_and_spare_when_read_to_its_end() {
    let giving = Giving::new();
    assert_eq!(giving.files(), 0, "what a former process left is gone");
    let bytes = content(PIECE_BYTES_MAX * 2 + 5);
    assert_eq!(giving.begin(3, "b", &bytes), ReplicaAnswer::Preparing);
    let id = giving.ready(3, "b", &bytes).await;
    assert_eq!(
        giving.ready(3, "b", &bytes).await,
        id,
        "asked for again it is the same"
    );
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let ReplicaAnswer::Piece(piece) = giving.read(id, "b", got.len()).await else {
            panic!("no piece")
        };
        assert!((1..=PIECE_BYTES_MAX).contains(&piece.len()));
        got.extend(piece);
    }
    assert!(got == bytes);
    assert!(
        matches!(giving.read(id, "b", 7).await, ReplicaAnswer::Piece(piece) if piece[..] == bytes[7..7 + piece.len()])
    );
    assert_eq!(
        giving.read(id, "c", 0).await,
        ReplicaAnswer::Gone,
        "another node's"
    );
    assert_eq!(
        giving.read(id.wrapping_add(1), "b", 0).await,
        ReplicaAnswer::Gone,
        "another one"
    );
    assert_eq!(giving.files(), 1);
    assert_eq!(
        giving.read(id, "b", bytes.len()).await,
        ReplicaAnswer::Piece(Vec::new())
    );
    assert_eq!(giving.read(id, "b", 0).await, ReplicaAnswer::Gone);
    assert_eq!(giving.files(), 1, "kept for a further attempt");
    tokio::time::pause();
    let tidying = giving.offers.clone();
    tokio::spawn(async move { tidying.tidy().await });
    tokio::time::sleep(Duration::from_secs(306)).await;
    assert_eq!(giving.files(), 0);
}

#[tokio::test]
async fn a_further_attempt_gets_the_snapshot_that_was_written_while_it_can_be_followed_on_from() {
    let mut giving = Giving::new();
    let read_all = async |from: &Giving, to: &str, bytes: &[u8]| {
        let id = from.ready(3, to, bytes).await;
        assert_eq!(
            from.read(id, to, bytes.len()).await,
            ReplicaAnswer::Piece(Vec::new())
        );
        id
    };
    let first = read_all(&giving, "b", b"first").await;
    // At once, for whoever asks: were it written again, it would be another.
    let ReplicaAnswer::Ready { id, said: told } = giving.begin(3, "c", b"second") else {
        panic!("not at hand")
    };
    assert_eq!((told, giving.files()), (said(b"first"), 1));
    assert_ne!(id, first);
    assert_eq!(
        giving.read(id, "c", 5).await,
        ReplicaAnswer::Piece(Vec::new())
    );
    giving.fresh = false;
    assert_eq!(
        giving.begin(3, "b", b"third"),
        ReplicaAnswer::Preparing,
        "the log went on without it"
    );
    giving.fresh = true;
    read_all(&giving, "b", b"third").await;
    assert_eq!(giving.files(), 1);
}

#[tokio::test]
async fn no_more_than_two_spare_snapshots_are_kept() {
    let giving = Giving::new();
    for shard in 3..8 {
        let id = giving.ready(shard, "b", b"whole").await;
        let read = giving
            .offers
            .read(id, ShardId(shard), &NodeId::from("b"), 5)
            .await;
        assert_eq!(read, ReplicaAnswer::Piece(Vec::new()));
        assert!(giving.files() <= 2);
    }
    assert_eq!(giving.files(), 2);
}

#[tokio::test]
async fn two_snapshots_are_given_at_once_and_a_third_when_one_is_done() {
    let giving = Giving::new();
    let first = giving.ready(3, "b", b"one").await;
    giving.ready(4, "b", b"two").await;
    assert!(matches!(
        giving.begin(5, "b", b"three"),
        ReplicaAnswer::Failed(_)
    ));
    assert_eq!(
        giving.read(first, "b", 3).await,
        ReplicaAnswer::Piece(Vec::new())
    );
    giving.ready(5, "b", b"three").await;
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_written_is_told_and_after_a_while_begun_anew() {
    let giving = Giving::new();
    let failing = |_| async { Err(StoreError::Full("the disk is full".to_owned())) }.boxed();
    let to = NodeId::from("b");
    assert_eq!(
        giving.offers.begin_with((SHARD, &to), |_| true, failing),
        ReplicaAnswer::Preparing
    );
    tokio::task::yield_now().await;
    for _ in 0..14 {
        let told = giving.begin(3, "b", b"whole");
        assert!(
            matches!(&told, ReplicaAnswer::Failed(why) if why.contains("the disk is full")),
            "{told:?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    giving.ready(3, "b", b"whole").await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_on_is_dropped_after_a_minute() {
    let giving = Giving::new();
    let tidying = giving.offers.clone();
    tokio::spawn(async move { tidying.tidy().await });
    let id = giving.ready(3, "b", b"whole").await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        // Told, not read: that is a sign of life, too.
        giving.ready(3, "b", b"whole").await;
    }
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(giving.files(), 0);
    assert_eq!(giving.read(id, "b", 0).await, ReplicaAnswer::Gone);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_on_makes_room_for_another_one_soon() {
    let giving = Giving::new();
    let first = giving.ready(3, "b", b"one").await;
    giving.ready(4, "b", b"two").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        // Both are asked for; neither is given up.
        giving.ready(4, "b", b"two").await;
        assert!(matches!(
            giving.read(first, "b", 0).await,
            ReplicaAnswer::Piece(_)
        ));
        assert!(matches!(
            giving.begin(5, "c", b"three"),
            ReplicaAnswer::Failed(_)
        ));
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    giving.ready(4, "b", b"two").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    giving.ready(5, "c", b"three").await;
    assert_eq!(
        (giving.read(first, "b", 0).await, giving.files()),
        (ReplicaAnswer::Gone, 2)
    );
    assert!(
        matches!(giving.begin(6, "c", b"four"), ReplicaAnswer::Failed(_)),
        "those are read"
    );
}

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
