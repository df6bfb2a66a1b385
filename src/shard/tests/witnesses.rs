//! A log that makes no second copy: the standbys in sync stand in for it, and nothing else does.

use async_trait::async_trait;
use tokio::sync::watch;

use super::standby::talkative;
use super::*;
use crate::log::{PerStream, RawEntry};
use crate::problem::Code;
use crate::shard::Standby;
use crate::shard::replicas::{Following, ReplicaStatus, Replicas};

/// Asks the standby itself, unless the way to it is cut.
#[derive(Debug)]
struct Beside {
    standby: Standby,
    cut: watch::Sender<bool>,
}

#[async_trait]
impl Replicas for Beside {
    fn others(&self, _: ShardId) -> Vec<NodeId> {
        vec![NodeId::from("node-b")]
    }

    async fn standing(&self, _: ShardId, _: Instant) -> Vec<ReplicaStatus> {
        Vec::new()
    }

    async fn entries_after(
        &self,
        _: ShardId,
        _: &NodeId,
        _: Stream,
        _: Tail,
        _: Instant,
    ) -> Vec<RawEntry> {
        Vec::new()
    }

    async fn hold(
        &self,
        _: ShardId,
        standbys: &[NodeId],
        stream: Stream,
        tail: Tail,
        deadline: Instant,
    ) -> bool {
        assert_eq!(standbys, [NodeId::from("node-b")]);
        !*self.cut.borrow() && self.standby.holds(stream, tail, deadline).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_makes_no_second_copy_writes_go_on_by_a_standby_in_sync_and_by_nothing_else()
{
    let mut bench = talkative().await;
    bench.handle().close(soon()).await;

    let follower = bench.follower("node-b").await;
    let beside = Arc::new(Beside {
        standby: follower.standby.clone(),
        cut: watch::Sender::new(false),
    });
    let opening = Opening {
        replicas: Arc::clone(&beside) as Arc<dyn Replicas>,
        ..bench.opening()
    };

    bench.open = Some(crate::shard::open(opening).await.expect("opens"));
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    follower.reaches(bench.tails()).await;
    bench.handle().reported(follower.standby.status());
    bench.log.always(Some(Fault::NotReplicated));
    for text in ["one", "two", "three"] {
        bench.send("c", "alice", text).await;
    }

    assert_eq!(
        bench.lane.standing(SHARD),
        crate::log::lane::Standing::Clear,
        "nothing is parked"
    );
    assert!(
        follower
            .standby
            .holds(Stream::Messages, bench.tails().messages, soon())
            .await,
        "acknowledged is held"
    );

    // Cut off, but counted as in sync still: it is waited for, and nothing is committed without it.
    beside.cut.send_replace(true);

    let budget = || Instant::now() + Duration::from_secs(5);
    let waiting = bench
        .handle()
        .execute(send_key("c", "alice", "four", "four"), budget());
    assert_eq!(code(in_time(waiting).await), Code::NotReplicated);

    // Out of sync: there is nobody.
    let behind = ReplicaStatus {
        following: Following::Behind,
        ..follower.standby.status()
    };
    bench.handle().reported(behind);

    let alone = bench
        .handle()
        .execute(send_key("c", "alice", "five", "five"), budget());
    assert_eq!(code(in_time(alone).await), Code::NotReplicated);
    bench.log.always(None);

    // The first was decided, and is there once the log makes copies again.
    let again = sent(in_time(bench.execute(send_key("c", "alice", "four", "four"))).await);
    let texts = bench.texts("c", "alice").await;

    assert_eq!(
        texts.iter().filter(|text| *text == "four").count(),
        1,
        "{texts:?}"
    );
    assert!(
        !again.core.text.is_empty() && !texts.contains(&"five".to_owned()),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_shard_without_a_second_copy_opens_for_reads_and_takes_writes_when_a_standby_comes_back()
{
    let mut bench = talkative().await;
    let before = bench.texts("c", "alice").await;
    bench.handle().close(soon()).await;
    bench.pump.abort();
    let follower = bench.follower("node-b").await;
    let beside = Arc::new(Beside {
        standby: follower.standby.clone(),
        cut: watch::Sender::new(true),
    });
    let opening = Opening {
        replicas: Arc::clone(&beside) as Arc<dyn Replicas>,
        ..bench.opening()
    };
    bench.log.always(Some(Fault::NotReplicated));
    // Nothing of it is confirmed by anybody: it is open nevertheless.
    let handle = in_time(crate::shard::open(opening)).await.expect("opens");
    assert_eq!(handle.epoch().0, 2);
    bench.open = Some(handle);
    assert_eq!(bench.texts("c", "alice").await, before, "it is read");
    let (third, path) = (
        NodeId::from("node-c"),
        bench.folder.path().join("copy.sqlite"),
    );
    bench
        .handle()
        .snapshot(&third, &path)
        .await
        .expect("it gives a snapshot");

    let budget = Instant::now() + Duration::from_secs(3);
    let refused = bench
        .handle()
        .execute(send_key("c", "alice", "one", "one"), budget);
    assert_eq!(code(in_time(refused).await), Code::NotReplicated);
    let committed = bench
        .handle()
        .0
        .committed
        .each_ref()
        .map(|tail| tail.borrow().offset);
    assert_eq!(
        committed,
        bench.handle().0.begun,
        "nothing is committed without a copy"
    );

    // By the row, for it has not reported to this owner.
    beside.cut.send_replace(false);
    let PerStream {
        mut messages,
        mut receipts,
    } = bench
        .handle()
        .0
        .committed
        .each_ref()
        .map(|tail| tail.subscribe());
    let begun = bench.handle().0.begun;
    in_time(messages.wait_for(|tail| tail.offset > begun.messages))
        .await
        .expect("the epoch is confirmed");
    in_time(receipts.wait_for(|tail| tail.offset > begun.receipts))
        .await
        .expect("the epoch is confirmed");
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench.handle().reported(follower.standby.status());
    bench.send("c", "alice", "two").await;
    let texts = bench.texts("c", "alice").await;
    assert!(
        texts.len() == before.len() + 1 && texts.contains(&"two".to_owned()),
        "{texts:?}"
    );
    bench.log.always(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_what_may_have_one_copy_only_is_not_answered_before_the_epoch_is_committed() {
    let mut bench = talkative().await;
    let first = sent(in_time(bench.execute(send_key("c", "alice", "once", "once"))).await);
    bench.handle().close(soon()).await;
    bench.pump.abort();
    bench.log.always(Some(Fault::NotReplicated));
    bench.open = Some(
        in_time(crate::shard::open(bench.opening()))
            .await
            .expect("opens"),
    );

    let budget = Instant::now() + Duration::from_secs(3);
    let again = bench
        .handle()
        .execute(send_key("c", "alice", "once", "once"), budget);
    assert_eq!(
        code(in_time(again).await),
        Code::NotReplicated,
        "it would be acknowledged by that"
    );

    bench.log.always(None);
    let same = sent(in_time(bench.execute(send_key("c", "alice", "once", "once"))).await);
    assert_eq!(same.core.id, first.core.id);
}
