//! A standby takes the shard over, and the log gets back what it lost.

use std::collections::HashMap;

use async_trait::async_trait;

use super::standby::{stranger, talkative};
use super::*;
use crate::ids::Epoch;
use crate::log::record::{Entry, Header};
use crate::log::{PerStream, RawEntry};
use crate::shard::replicas::{Following, ReplicaStatus, Replicas};
use crate::shard::{OpenError, Standby, Taking};

impl Bench {
    /// What a watch would go by.
    async fn watched(&self) -> Taking {
        let control = self
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        Taking {
            expected: (control.token, control.beat),
        }
    }
}

/// What the log has is one history: every entry links, and nothing stands there twice.
async fn assert_whole(bench: &Bench) {
    for stream in Stream::BOTH {
        let mut tail = Tail::EMPTY;
        for raw in bench.raw(stream).await {
            tail = Entry::decode_after(&tail, &raw.bytes).expect("links").tail;
        }
        let control = bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        assert_eq!(tail, control.tails[stream]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_and_the_old_owner_is_fenced() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let taking = bench.watched().await;
    // What was committed after its last look is in the log.
    follower.stop_looking();
    let taken = in_time(follower.standby.clone().take_over(taking))
        .await
        .expect("takes over");
    assert_eq!(
        (taken.epoch(), taken.status().owner),
        (Epoch(2), NodeId::from("node-b"))
    );
    let late = in_time(bench.execute(send("c", "alice", "late"))).await;
    assert!(late.is_err(), "{late:?}");
    in_time(bench.handle().closed()).await;
    assert_eq!(bench.handle().fault(), None, "taken, not unfit");
    let Ok(Done::Sent { message, .. }) =
        in_time(taken.execute(send("c", "alice", "m5"), soon())).await
    else {
        panic!("not sent")
    };
    assert_eq!(message.core.seq, Seq(7));
    assert_whole(&bench).await;
    assert!(
        !follower
            .standby
            .holds(M, bench.tails().messages, shortly())
            .await,
        "it is no standby any more"
    );
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_moved_refuses_the_takeover() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let taking = bench.watched().await;
    assert_eq!(
        bench.log.inner.renew(&[bench.handle().hold()]).await,
        [Ok(true)]
    );
    let before = bench.log.inner.control(SHARD).await.expect("reads");
    let refused = in_time(follower.standby.clone().take_over(taking))
        .await
        .expect_err("its owner lives");
    assert!(matches!(refused, OpenError::Elsewhere(_)), "{refused:?}");
    assert_eq!(bench.log.inner.control(SHARD).await.expect("reads"), before);
    assert_eq!(
        bench.send("c", "alice", "m5").await.core.seq,
        Seq(7),
        "which is not disturbed"
    );
    // The file is closed, so it may follow again.
    drop(follower);
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_a_suffix_gets_it_back_from_the_standbys_file_byte_for_byte() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..had.messages.len() - 4],
                receipts: &had.receipts[..1],
            },
        )
        .await;
    let follower = bench.follower("node-b").await;
    let taken = in_time(follower.standby.clone().take_over(bench.watched().await))
        .await
        .expect("takes over");
    for (stream, had) in had.iter() {
        let has = bench.raw(stream).await;
        assert_eq!(
            (has.len(), &has[..had.len()]),
            (had.len() + 1, had.as_slice()),
            "the epoch's start beside"
        );
        assert_eq!(
            Header::read(&has[had.len()].bytes).expect("an entry").epoch,
            Epoch(2)
        );
    }
    assert_whole(&bench).await;
    assert_eq!(taken.epoch(), Epoch(2));
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_starts_again_gives_the_log_back_what_it_lost() {
    let mut bench = talkative().await;
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    bench.handle().close(soon()).await;
    bench.pump.abort();
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..1],
                receipts: &[],
            },
        )
        .await;
    bench.reopen().await;
    assert_eq!(bench.raw(M).await[..had.messages.len()], had.messages);
    assert_eq!(
        bench.texts("c", "bob").await,
        ["m0", "m1", "m2", "m3", "m4"]
    );
    bench.fill(5, 1).await;
    assert_whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_another_history_is_not_opened_and_nothing_is_served() {
    let mut bench = talkative().await;
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.handle().close(soon()).await;
    let mut other = had.messages[..had.messages.len() - 2].to_vec();
    let end = Header::read(&other.last().expect("some").bytes)
        .expect("an entry")
        .tail();
    other.push(stranger(end, 40));
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
    let error = in_time(crate::shard::open(bench.opening()))
        .await
        .expect_err("not opened");
    assert!(matches!(error, OpenError::Diverged(_)), "{error:?}");
    assert_eq!(
        (bench.raw(M).await, bench.raw(R).await),
        (other.clone(), had.receipts.clone()),
        "nothing was written"
    );
    // A standby that has not looked yet finds it when it takes over.
    let standby = Standby::open(bench.opening_of("node-b"))
        .await
        .expect("opens");
    let error = in_time(standby.take_over(bench.watched().await))
        .await
        .expect_err("not opened");
    assert!(matches!(error, OpenError::Diverged(_)), "{error:?}");
    assert_eq!(
        (bench.raw(M).await, bench.raw(R).await),
        (other, had.receipts.clone())
    );
}

/// Other replicas as a test says.
#[derive(Debug, Default)]
struct Said {
    standing: Vec<ReplicaStatus>,
    entries: HashMap<(NodeId, Stream), Vec<RawEntry>>,
}

#[async_trait]
impl Replicas for Said {
    fn others(&self, _: ShardId) -> Vec<NodeId> {
        self.standing
            .iter()
            .map(|status| status.node.clone())
            .collect()
    }

    async fn standing(&self, _: ShardId, _: Instant) -> Vec<ReplicaStatus> {
        self.standing.clone()
    }

    async fn entries_after(
        &self,
        _: ShardId,
        node: &NodeId,
        stream: Stream,
        after: Tail,
        _: Instant,
    ) -> Vec<RawEntry> {
        let entries = self
            .entries
            .get(&(node.clone(), stream))
            .into_iter()
            .flatten();
        entries
            .filter(|raw| raw.last > after.offset)
            .take(2)
            .cloned()
            .collect()
    }

    async fn hold(&self, _: ShardId, _: &[NodeId], _: Stream, _: Tail, _: Instant) -> bool {
        false
    }
}

fn standing(
    node: &str,
    epoch: u64,
    had: &PerStream<Vec<RawEntry>>,
    following: Following,
) -> ReplicaStatus {
    let tail = |entries: &Vec<RawEntry>| {
        Header::read(&entries.last().expect("some").bytes)
            .expect("an entry")
            .tail()
    };
    let applied = had.each_ref().map(tail);
    let (shard, node, max_epoch) = (SHARD, NodeId::from(node), Epoch(epoch));
    ReplicaStatus {
        shard,
        node,
        applied,
        durable: applied,
        max_epoch,
        following,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn longer_suffixes_of_other_replicas_are_appended_where_they_link() {
    let mut bench = talkative().await;
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    bench.handle().close(soon()).await;
    let kept = PerStream {
        messages: &had.messages[..had.messages.len() - 5],
        receipts: &had.receipts[..1],
    };
    bench.put_log("fallen.db", 1, kept).await;
    let follower = bench.follower("node-b").await;
    let tails = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed")
        .tails;
    follower.reaches(tails).await;
    let standby = follower.standby.clone();
    standby.close(soon()).await;
    drop((standby, follower));
    let mut said = Said::default();
    // One that lies about its history, one that does not follow, and one that has it all.
    let foreign = PerStream {
        messages: vec![stranger(Tail::EMPTY, 90)],
        receipts: had.receipts.clone(),
    };
    let mut forked = kept.map(<[RawEntry]>::to_vec);
    forked.messages.push(stranger(tails.messages, 90));
    for (node, epoch, entries, following) in [
        ("node-x", 3, &foreign, Following::Live),
        ("node-y", 4, &forked, Following::Diverged("so".to_owned())),
        ("node-c", 9, &had, Following::Live),
    ] {
        said.standing
            .push(standing(node, epoch, entries, following));
        for (stream, entries) in entries.iter() {
            said.entries
                .insert((NodeId::from(node), stream), entries.clone());
        }
    }
    let opening = Opening {
        replicas: Arc::new(said),
        ..bench.opening_of("node-b")
    };
    let standby = Standby::open(opening).await.expect("opens");
    let taken = in_time(standby.take_over(bench.watched().await))
        .await
        .expect("takes over");
    assert_eq!(taken.epoch(), Epoch(10), "above all that anyone knows");
    for (stream, had) in had.iter() {
        assert_eq!(bench.raw(stream).await[..had.len()], *had);
    }
    assert_whole(&bench).await;
    taken.close(soon()).await;
}

// I1: found by the simulation
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_higher_epoch_than_the_claims_are_not_appended_under_it() {
    let mut bench = talkative().await;
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    bench.handle().close(soon()).await;
    bench.pump.abort();
    bench
        .put_log(
            "same.db",
            1,
            PerStream {
                messages: &had.messages,
                receipts: &had.receipts,
            },
        )
        .await;
    // Epoch 99 stands in its entries, and it has not said so.
    let mut more = had.clone();
    let end = Header::read(&had.messages.last().expect("some").bytes)
        .expect("an entry")
        .tail();
    more.messages.push(stranger(end, 1));
    let said = |max_epoch| {
        let mut said = Said {
            standing: vec![standing("node-c", max_epoch, &more, Following::Live)],
            ..Said::default()
        };
        said.entries
            .insert((NodeId::from("node-c"), M), more.messages.clone());
        Arc::new(said)
    };
    let opening = Opening {
        replicas: said(1),
        ..bench.opening()
    };
    let error = in_time(crate::shard::open(opening))
        .await
        .expect_err("not opened");
    assert!(matches!(error, OpenError::Failed(_)), "{error:?}");
    assert_eq!(bench.raw(M).await, had.messages, "nothing was appended");
    let opening = Opening {
        replicas: said(99),
        ..bench.opening()
    };
    let handle = in_time(crate::shard::open(opening)).await.expect("opens");
    assert_eq!(
        (handle.epoch(), &bench.raw(M).await[..more.messages.len()]),
        (Epoch(100), more.messages.as_slice())
    );
    handle.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_empty_history_is_served_while_another_replica_has_one() {
    let mut bench = talkative().await;
    let had = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    bench.handle().close(soon()).await;
    let empty = EmbeddedLog::open(&bench.folder.path().join("empty.db"))
        .await
        .expect("opens");
    bench.log = FaultyLog::over(empty);
    let said = Said {
        standing: vec![standing("node-c", 1, &had, Following::Live)],
        ..Said::default()
    };
    let opening = Opening {
        replicas: Arc::new(said),
        ..bench.opening_of("node-b")
    };
    let error = in_time(crate::shard::open(opening))
        .await
        .expect_err("not opened");
    assert!(
        matches!(error, OpenError::Refused(_)) && error.to_string().contains("node-c"),
        "{error:?}"
    );
    assert_eq!(bench.log.inner.control(SHARD).await.expect("reads"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_the_log_forgot_is_made_again_and_its_suffix_comes_back() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    let before = PerStream {
        messages: bench.raw(M).await,
        receipts: bench.raw(R).await,
    };
    let taken = in_time(follower.standby.clone().take_over(bench.watched().await))
        .await
        .expect("takes over");
    drop(follower);
    let Ok(Done::Sent { .. }) = in_time(taken.execute(send("c", "alice", "m5"), soon())).await
    else {
        panic!("not sent")
    };
    let had = bench.raw(M).await;
    taken.close(soon()).await;
    // Every copy that knew of epoch 2 is gone; the log says node-a, epoch 1.
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &before.messages,
                receipts: &before.receipts,
            },
        )
        .await;
    let standby = Standby::open(bench.opening_of("node-b"))
        .await
        .expect("opens");
    assert_eq!(
        standby.status().max_epoch,
        Epoch(2),
        "a rollback is proven by this"
    );
    let again = in_time(standby.take_over(bench.watched().await))
        .await
        .expect("claims at once");
    assert_eq!(again.epoch(), Epoch(3));
    assert_eq!(bench.raw(M).await[..had.len()], had);
    assert_whole(&bench).await;
    again.close(soon()).await;
}
