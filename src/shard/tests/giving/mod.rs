//! Hand-over: an owner gives its shard to a standby (ADR 19). Claims carry the numbers of its
//! interleavings.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::log::{AppendError, AppendOutcome, Batch, Control, LogError, RawEntry};
use crate::shard::giving::Still;
use crate::shard::tests::standby::Follower;
use crate::shard::{Gift, Given, OpenError};

mod gifts;
mod presence;
mod stand;
mod unheard;

const T: Duration = Duration::from_secs(3);

/// The way of a claim to the log: what crosses it, what becomes of it, and whether its answer comes
/// back.
#[derive(Debug)]
struct Way {
    log: Arc<dyn ShardLog>,
    /// So many claims are crossed by a renewal.
    crossed: AtomicU32,
    hold: (ShardId, Token),
    /// Claims wait here while this is true.
    held: watch::Sender<bool>,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    CarriedOutUnheard,
    LostOnItsWay,
}

impl Way {
    fn of(bench: &Bench, fate: Fate) -> Self {
        let log = Arc::clone(&bench.log) as Arc<dyn ShardLog>;
        let hold = bench.handle().hold();
        Self {
            log,
            crossed: AtomicU32::new(0),
            hold,
            held: watch::Sender::new(false),
            fate,
        }
    }
}

#[async_trait]
impl ShardLog for Way {
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError> {
        self.log.control(shard).await
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError> {
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the way lives");

        let crosses = self
            .crossed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if crosses.is_ok() {
            assert_eq!(self.log.renew(&[self.hold]).await, [Ok(true)]);
        }

        if self.fate == Fate::Answered {
            return self.log.claim(claim).await;
        }

        if self.fate == Fate::CarriedOutUnheard {
            assert!(matches!(
                self.log.claim(claim).await,
                Ok(ClaimOutcome::Claimed(_))
            ));
        }

        Err(LogError::Unanswered("no answer".to_owned()))
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        self.log.append(cycle).await
    }

    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>> {
        self.log.renew(holds).await
    }

    async fn read(
        &self,
        shard: ShardId,
        of: Stream,
        after: Offset,
        max: usize,
    ) -> Result<Vec<RawEntry>, LogError> {
        self.log.read(shard, of, after, max).await
    }

    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError> {
        self.log.trim(shard, token, stream, upto).await
    }
}

/// A shard that another node could take, with some of everything, and a standby of it.
async fn pair() -> (Bench, Follower) {
    let bench = Bench::with(Config {
        takeover_watch: Some(T),
        ..config()
    })
    .await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    (bench, follower)
}

async fn still(bench: &Bench) -> Still {
    in_time(bench.handle().stand_still(soon()))
        .await
        .expect("stands still")
}

fn node_b() -> NodeId {
    NodeId::from("node-b")
}

/// The token, and the marks that were gathered.
async fn given(still: Still, way: &Way) -> (Token, Vec<Delivered>) {
    match in_time(still.give(way, &node_b())).await {
        Given::Away { token, marks } => (token, marks),
        other => panic!("not given: {other:?}"),
    }
}

/// Of a shard at which nothing happens meanwhile: the token, and where its streams end.
async fn given_at_rest(bench: &Bench, way: &Way) -> (Token, PerStream<Tail>) {
    let still = still(bench).await;
    let tails = still.tails();
    (given(still, way).await.0, tails)
}

async fn received(
    follower: &Follower,
    token: Token,
    tails: PerStream<Tail>,
) -> Result<ShardHandle, OpenError> {
    follower.stop_looking();
    let gift = Gift {
        from: NodeId::from("node-a"),
        token,
        tails,
    };
    in_time(follower.standby.clone().receive(gift)).await
}

fn last() -> Query {
    Query::History(HistoryQuery {
        conversation: conversation("c"),
        reader: user("bob"),
        around: Around::Newest,
        ascending: true,
        limit: 1,
        source: None,
        reply_to: None,
    })
}

/// Surely: whoever owns the shard now is asked instead.
fn assert_unwritten(done: Result<Done, ShardError>) {
    assert!(matches!(done, Err(ShardError::NotOwner)), "{done:?}");
}

fn seq_of(done: Result<Done, ShardError>) -> (Seq, bool) {
    match done {
        Ok(Done::Sent { message, replayed }) => (message.core.seq, replayed),
        other => panic!("not sent: {other:?}"),
    }
}
