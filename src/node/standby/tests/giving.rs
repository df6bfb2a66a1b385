//! What the owner keeps of a snapshot, for whom, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use tempfile::TempDir;

use super::{SHARD, content, said};
use crate::ids::{NodeId, ShardId};
use crate::node::link::replica::{PIECE_BYTES_MAX, ReplicaAnswer};
use crate::node::owners::offers::Offers;
use crate::shard::file::store::StoreError;

/// An owner's end, with a folder that holds what a former process left.
struct Giving {
    folder: TempDir,
    offers: Offers,
    /// The log has what follows a snapshot that was written before.
    fresh: bool,
}

impl Giving {
    pub(super) fn new() -> Self {
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

    pub(super) async fn read(&self, id: u64, by: &str, from: usize) -> ReplicaAnswer {
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
