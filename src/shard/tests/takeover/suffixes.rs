//! What other replicas have beyond the log is appended where it links.

use std::collections::HashMap;

use async_trait::async_trait;

use super::*;
use crate::ids::Epoch;
use crate::log::record::Header;
use crate::log::{PerStream, RawEntry};
use crate::shard::replicas::{Following, ReplicaStatus, Replicas};
use crate::shard::tests::standby::{stranger, talkative};
use crate::shard::{OpenError, Standby};

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
    let had = bench.raws().await;
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
    let had = bench.raws().await;
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
    let had = bench.raws().await;
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
