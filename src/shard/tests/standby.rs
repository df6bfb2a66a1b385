//! A standby follows the log with a file of its own, and says when it cannot.

use super::*;
use crate::ids::Epoch;
use crate::log::record::{Header, Record, seal};
use crate::log::{Batch, PerStream, RawEntry};
use crate::shard::replicas::{Following, ReplicaStatus};
use crate::shard::{OpenError, Standby, Taking};

/// A standby that is told of the log's tails every few milliseconds.
pub(super) struct Follower {
    pub(super) standby: Standby,
    looks: JoinHandle<()>,
}

impl Follower {
    pub(super) fn over(standby: Standby, log: &Arc<FaultyLog>) -> Self {
        let (looking, log) = (standby.clone(), Arc::clone(log));
        let looks = tokio::spawn(async move {
            loop {
                if let Ok(Some(control)) = log.control(SHARD).await {
                    looking.saw(control.tails);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { standby, looks }
    }

    pub(super) fn stop_looking(&self) {
        self.looks.abort();
    }

    pub(super) async fn reaches(&self, tails: PerStream<Tail>) {
        in_time(async {
            while self.standby.status().applied != tails {
                assert_eq!(self.standby.status().following, Following::Live);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

impl Bench {
    pub(super) fn opening_of(&self, node: &str) -> Opening {
        let path = self.folder.path().join(format!("s3-{node}.db"));
        let lane = Lane::spawn(Arc::clone(&self.log) as Arc<dyn ShardLog>);
        Opening {
            node: NodeId::from(node),
            path,
            lane,
            ..self.opening()
        }
    }

    pub(super) async fn follower(&self, node: &str) -> Follower {
        Follower::over(
            Standby::open(self.opening_of(node)).await.expect("opens"),
            &self.log,
        )
    }

    pub(super) fn tails(&self) -> PerStream<Tail> {
        self.handle()
            .0
            .committed
            .each_ref()
            .map(|tail| *tail.borrow())
    }

    /// Some of everything, applied.
    pub(super) async fn fill(&self, from: u64, count: u64) {
        for number in from..from + count {
            let message = self.send("c", "alice", &format!("m{number}")).await;
            in_time(self.execute(mark_read(&message, "bob")))
                .await
                .expect("marks");
        }
        self.at_rest().await;
    }

    /// The log is one that has only these entries of the messages stream and of the receipts
    /// stream; owned by node-a under that epoch.
    pub(super) async fn put_log(
        &mut self,
        name: &str,
        epoch: u64,
        entries: PerStream<&[RawEntry]>,
    ) {
        let fallen = EmbeddedLog::open(&self.folder.path().join(name))
            .await
            .expect("opens");
        let token = Token::new(Epoch(epoch));
        let claim = Claim {
            shard: SHARD,
            expected: None,
            token,
            owner: NodeId::from("node-a"),
            identity: identity(),
            begin_at: PerStream::both(Tail::EMPTY),
            ends_at: None,
        };
        assert!(matches!(
            fallen.claim(claim).await,
            Ok(ClaimOutcome::Claimed(_))
        ));
        for (stream, entries) in entries {
            let mut expected = Tail::EMPTY;
            for RawEntry { bytes, .. } in entries {
                let tail = Header::read(bytes).expect("an entry").tail();
                let batch = Batch {
                    shard: SHARD,
                    stream,
                    token,
                    expected,
                    tail,
                    bytes: bytes.clone(),
                };
                assert!(fallen.append(&[batch]).await[0].is_ok());
                expected = tail;
            }
        }
        self.log = FaultyLog::over(fallen);
        self.lane = Lane::spawn(Arc::clone(&self.log) as Arc<dyn ShardLog>);
    }

    pub(super) async fn raw(&self, stream: Stream) -> Vec<RawEntry> {
        self.log
            .inner
            .read(SHARD, stream, Offset(0), usize::MAX)
            .await
            .expect("reads")
    }
}

pub(super) async fn talkative() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench
}

/// An entry that nobody but a diverged owner wrote.
pub(super) fn stranger(after: Tail, records: usize) -> RawEntry {
    let record = |ts| {
        Record::EpochStart {
            epoch: Epoch(99),
            node: NodeId::from("stranger"),
            ts,
        }
        .encode()
    };
    let (bytes, tail) = seal(
        &after,
        Epoch(99),
        &(0..records as u64).map(record).collect::<Vec<_>>(),
    );
    RawEntry {
        last: tail.offset,
        bytes,
    }
}

async fn ended(follower: &Follower) -> Following {
    in_time(follower.standby.ended()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_follows_and_has_the_owners_digest_at_equal_tails() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    bench.fill(5, 20).await;
    // A restart of either changes nothing.
    bench.restart().await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.fill(25, 3).await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    // The owner's file may be a few milliseconds behind the standby's.
    bench.applied().await;
    let (ours, theirs) = (
        bench.handle().digest().await.expect("reads"),
        follower.standby.digest().await.expect("reads"),
    );
    assert_eq!((ours.applied, &ours), (bench.tails(), &theirs));
    let status = follower.standby.status();
    let of_owner = ReplicaStatus {
        node: NodeId::from("node-b"),
        durable: status.durable,
        ..bench.handle().replica_status()
    };
    assert_eq!(status, of_owner);
    assert_eq!(status.max_epoch, Epoch(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_claims_and_trims_nothing() {
    let mut config = config();
    config.worker.trim_floor = Duration::ZERO;
    config.worker.trim_floor_bytes = 0;
    let mut bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 3).await;
    let before = (
        bench.log.inner.control(SHARD).await.expect("reads"),
        bench.raw(M).await.len(),
    );
    bench.config = config;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    in_time(async {
        while follower.standby.status().durable != bench.tails() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(
        (
            bench.log.inner.control(SHARD).await.expect("reads"),
            bench.raw(M).await.len()
        ),
        before
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_holds_what_its_file_has_and_nothing_of_another_history() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.stop_looking();
    let PerStream { messages, receipts } = bench.tails();
    // Nobody told it of the tail but who asks.
    assert!(follower.standby.holds(M, messages, soon()).await);
    assert!(follower.standby.holds(R, receipts, soon()).await);
    bench.fill(5, 2).await;
    let later = bench.tails().messages;
    assert!(follower.standby.holds(M, later, soon()).await);
    assert!(
        follower.standby.holds(M, messages, shortly()).await,
        "its past"
    );
    let other = Tail {
        offset: messages.offset,
        ..later
    };
    assert!(!follower.standby.holds(M, other, shortly()).await);
    let beyond = Tail {
        offset: Offset(later.offset.0 + 1),
        ..later
    };
    assert!(!follower.standby.holds(M, beyond, shortly()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_standby_link_to_what_was_asked_for() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let had = bench.raw(M).await;
    let after = |after| follower.standby.entries_after(M, after, usize::MAX);
    assert_eq!(after(Tail::EMPTY).await.expect("reads"), had);
    let third = Header::read(&had[2].bytes).expect("an entry").tail();
    assert_eq!(after(third).await.expect("reads"), had[3..]);
    assert_eq!(
        bench
            .handle()
            .entries_after(M, third, usize::MAX)
            .await
            .expect("reads"),
        had[3..]
    );
    assert_eq!(
        follower
            .standby
            .entries_after(M, third, 1)
            .await
            .expect("reads")
            .len(),
        1
    );
    assert!(
        after(Tail {
            offset: third.offset,
            ..Tail::EMPTY
        })
        .await
        .expect("reads")
        .is_empty(),
        "another chain"
    );
    assert!(
        after(bench.tails().messages)
            .await
            .expect("reads")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_falls_back_leaves_a_standby_ahead_and_following() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    let (tails, had) = (
        bench.tails(),
        PerStream {
            messages: bench.raw(M).await,
            receipts: bench.raw(R).await,
        },
    );
    follower.reaches(tails).await;
    let store = in_time(follower.standby.digest()).await.expect("reads");
    drop(follower);
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..had.messages.len() - 3],
                receipts: &had.receipts[..1],
            },
        )
        .await;
    let follower = bench.follower("node-b").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(follower.standby.status().following, Following::Live);
    assert_eq!(follower.standby.status().applied, tails);
    assert_eq!(follower.standby.digest().await.expect("reads"), store);
    // The log gets its entries back, and goes on.
    bench.pump.abort();
    bench.reopen().await;
    bench.fill(5, 2).await;
    follower.reaches(bench.tails()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_on_otherwise_makes_a_standby_diverged() {
    for (shorter, records) in [(1, 1), (3, 1), (3, 50)] {
        let mut bench = talkative().await;
        let follower = bench.follower("node-b").await;
        let had = PerStream {
            messages: bench.raw(M).await,
            receipts: bench.raw(R).await,
        };
        follower.reaches(bench.tails()).await;
        drop(follower);
        bench.handle().close(soon()).await;
        let mut other = had.messages[..had.messages.len() - shorter].to_vec();
        let end = Header::read(&other.last().expect("some").bytes)
            .expect("an entry")
            .tail();
        // To where the file has an entry's end, to where it has none, or beyond it.
        other.push(stranger(end, records));
        bench
            .put_log(
                "other.db",
                1,
                PerStream {
                    messages: &other,
                    receipts: &had.receipts,
                },
            )
            .await;
        let follower = bench.follower("node-b").await;
        let why = ended(&follower).await;
        assert!(matches!(why, Following::Diverged(_)), "{why:?}");
        assert_eq!(follower.standby.status().following, why);
        assert!(
            !follower.standby.holds(M, end, shortly()).await,
            "it confirms nothing"
        );
        assert!(
            follower
                .standby
                .entries_after(M, Tail::EMPTY, 1)
                .await
                .expect("reads")
                .is_empty(),
            "and gives nothing"
        );
        let taking = Taking {
            expected: (Token::new(Epoch(1)), 1),
        };
        let refused = in_time(follower.standby.clone().take_over(taking))
            .await
            .expect_err("not fit");
        assert!(matches!(refused, OpenError::Diverged(_)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_trimmed_beyond_a_standby_leaves_it_behind() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.fill(5, 3).await;
    let (_, token) = bench.handle().hold();
    // All of it, or all but the last: either way there is a hole.
    let last = bench.tails().messages.offset;
    bench
        .log
        .inner
        .trim(SHARD, token, M, Offset(last.0 - 1))
        .await
        .expect("trims");
    let follower = bench.follower("node-b").await;
    assert_eq!(ended(&follower).await, Following::Behind);
    drop(follower);
    bench
        .log
        .inner
        .trim(SHARD, token, M, last)
        .await
        .expect("trims");
    let follower = bench.follower("node-b").await;
    assert_eq!(ended(&follower).await, Following::Behind);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_told_and_not_an_error() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let path = follower.standby.path();
    follower.standby.close(soon()).await;
    drop(follower);
    let clean = std::fs::read(&path).expect("reads");
    std::fs::write(&path, vec![0x5a; clean.len()]).expect("writes");
    let damaged = bench.follower("node-b").await;
    assert!(matches!(ended(&damaged).await, Following::Damaged(_)));
    assert!(matches!(
        damaged.standby.status().following,
        Following::Damaged(_)
    ));
    assert!(damaged.standby.digest().await.is_err());
    let taking = Taking {
        expected: (bench.handle().hold().1, 0),
    };
    let refused = in_time(damaged.standby.clone().take_over(taking))
        .await
        .expect_err("not fit");
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused:?}");
}
