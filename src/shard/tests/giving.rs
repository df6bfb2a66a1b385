//! Hand-over: an owner gives its shard to a standby (ADR 19). Claims carry the numbers of its
//! interleavings.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::standby::{Follower, stranger};
use super::*;
use crate::ids::Epoch;
use crate::log::record::Entry;
use crate::log::{AppendError, AppendOutcome, Batch, Control, LogError, RawEntry};
use crate::shard::{Gift, Given, OpenError, Still};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_given_away_and_what_was_parked_is_written_once_at_the_other_node() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    let tails = still.tails();
    assert_eq!(tails, bench.tails());
    let parked = tokio::spawn(bench.execute(send_key("c", "alice", "parked", "k1")));
    bench.parked(1).await;
    assert!(
        in_time(follower.standby.holds(M, tails.messages, soon())).await,
        "it is warm"
    );

    let (token, _) = given(still, &way).await;
    assert_eq!(token.epoch, Epoch(2));
    assert!(bench.handle().is_closed());
    assert_unwritten(in_time(parked).await.expect("answered"));
    let control = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed");
    assert_eq!(
        (control.token, &control.owner, control.tails),
        (token, &node_b(), tails)
    );

    let taken = received(&follower, token, tails).await.expect("opens");
    assert_eq!((taken.epoch(), taken.status().owner), (Epoch(2), node_b()));
    let again = send_key("c", "alice", "parked", "k1");
    assert_eq!(
        seq_of(in_time(taken.execute(again.clone(), soon())).await),
        (Seq(7), false)
    );
    assert_eq!(
        seq_of(in_time(taken.execute(again, soon())).await),
        (Seq(7), true)
    );
    // The log is one history.
    for stream in Stream::BOTH {
        let mut tail = Tail::EMPTY;
        for raw in bench.raw(stream).await {
            tail = Entry::decode_after(&tail, &raw.bytes).expect("links").tail;
        }
        assert_eq!(tail, taken.tails()[stream]);
    }
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_stands_still_reads_on_decides_nothing_and_goes_on_when_let_go() {
    let (bench, _follower) = pair().await;
    let still = still(&bench).await;
    let parked = tokio::spawn(bench.execute(send("c", "alice", "parked")));
    bench.parked(1).await;
    let (_, freshness) = bench.read(last()).await.expect("reads");
    assert_eq!(freshness, Freshness::Strict);
    drop(still);
    assert_eq!(
        seq_of(in_time(parked).await.expect("answered")),
        (Seq(7), false)
    );
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_committed_and_answered_before_the_shard_stands_still() {
    let (bench, _follower) = pair().await;
    bench.log.hold();
    let on_its_way = tokio::spawn(bench.execute(send("c", "alice", "on its way")));
    bench.waiting(1).await;
    let handle = bench.handle().clone();
    let mut standing = Box::pin(async move { handle.stand_still(soon()).await });
    assert!(futures_util::poll!(standing.as_mut()).is_pending());
    let standing = tokio::spawn(standing);
    let parked = tokio::spawn(bench.execute(send("c", "alice", "later")));
    bench.parked(1).await;
    assert!(!standing.is_finished());
    bench.log.release();
    assert_eq!(
        seq_of(in_time(on_its_way).await.expect("answered")).0,
        Seq(7)
    );
    let still = in_time(standing)
        .await
        .expect("ends")
        .expect("stands still");
    assert_eq!(still.tails(), bench.tails());
    drop(still);
    assert_eq!(seq_of(in_time(parked).await.expect("answered")).0, Seq(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_does_not_come_to_a_stand_in_time_goes_on() {
    let (bench, _follower) = pair().await;
    bench.log.hold();
    let on_its_way = tokio::spawn(bench.execute(send("c", "alice", "on its way")));
    bench.waiting(1).await;
    assert!(bench.handle().stand_still(shortly()).await.is_err());
    let later = tokio::spawn(bench.execute(send("c", "alice", "later")));
    bench.log.release();
    assert_eq!(
        seq_of(in_time(on_its_way).await.expect("answered")).0,
        Seq(7)
    );
    assert_eq!(seq_of(in_time(later).await.expect("answered")).0, Seq(8));
}

// Interleaving 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_hears_no_answer_is_silent_until_a_renewal_tells_whose_the_shard_is() {
    for fate in [Fate::CarriedOutUnheard, Fate::LostOnItsWay] {
        let (bench, _follower) = pair().await;
        let way = Way::of(&bench, fate);
        let seen = bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        let still = still(&bench).await;
        let tails = still.tails();
        let outcome = in_time(still.give(&way, &node_b())).await;
        assert!(matches!(outcome, Given::InDoubt(_)), "{outcome:?}");

        // It answers no strict read, and decides nothing.
        let (_, freshness) = bench.read(last()).await.expect("reads");
        assert!(
            matches!(freshness, Freshness::Stale { .. }),
            "{freshness:?}"
        );
        let parked = tokio::spawn(bench.execute(send("c", "alice", "parked")));
        bench.parked(1).await;
        // A renewal that was sent before says nothing of now.
        bench.handle().renewed(bench.clock.since_boot(), true);
        assert!(!bench.handle().is_proven());

        bench.clock.pass(Duration::from_millis(5));
        bench.renew().await;
        if fate == Fate::CarriedOutUnheard {
            assert_unwritten(in_time(parked).await.expect("answered"));
            in_time(bench.handle().closed()).await;
            continue;
        }
        assert_eq!(seq_of(in_time(parked).await.expect("answered")).0, Seq(7));
        assert_eq!(
            bench.read(last()).await.expect("reads").1,
            Freshness::Strict
        );
        // The claim comes after all.
        let late = Claim {
            shard: SHARD,
            expected: Some((seen.token, seen.beat)),
            token: Token::new(Epoch(2)),
            owner: node_b(),
            identity: identity(),
            begin_at: tails,
            ends_at: Some(tails),
        };
        assert!(matches!(
            bench.log.inner.claim(late).await,
            Ok(ClaimOutcome::Refused(_))
        ));
    }
}

// Interleaving 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_crosses_the_claim_has_it_made_again() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    way.crossed.store(3, Ordering::SeqCst);
    let (token, tails) = given_at_rest(&bench, &way).await;
    received(&follower, token, tails)
        .await
        .expect("opens")
        .close(soon())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_never_rests_keeps_the_shard_where_it_is() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    way.crossed.store(u32::MAX, Ordering::SeqCst);
    let outcome = in_time(still(&bench).await.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Kept(_)), "{outcome:?}");
    assert_eq!(
        bench.read(last()).await.expect("reads").1,
        Freshness::Strict
    );
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(7));
}

// Interleaving 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_the_end_of_the_attempt_and_is_never_strict_without_it() {
    for settles in [true, false] {
        let (bench, _follower) = pair().await;
        let way = Arc::new(Way::of(&bench, Fate::Answered));
        let still = still(&bench).await;
        way.held.send_replace(true);
        let over = Arc::clone(&way);
        let giving = tokio::spawn(async move { still.give(over.as_ref(), &node_b()).await });
        in_time(async {
            while bench.handle().is_proven() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let handle = bench.handle().clone();
        let reading = tokio::spawn(async move {
            handle
                .query(last(), soon())
                .await
                .map(|(_, freshness)| freshness)
        });
        if settles {
            way.held.send_replace(false);
            assert!(matches!(
                in_time(giving).await.expect("ends"),
                Given::Away { .. }
            ));
            let read = in_time(reading).await.expect("answered");
            assert!(matches!(read, Err(ShardError::NotOwner)), "{read:?}");
        } else {
            let read = in_time(reading).await.expect("answered");
            assert!(matches!(read, Ok(Freshness::Stale { .. })), "{read:?}");
            way.held.send_replace(false);
            assert!(matches!(
                in_time(giving).await.expect("ends"),
                Given::Away { .. }
            ));
        }
    }
}

// Interleaving 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_taken_meanwhile_is_not_given_and_ends() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    bench.taken_by("node-c").await;
    let outcome = in_time(still.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Taken), "{outcome:?}");
    in_time(bench.handle().closed()).await;
}

// Interleaving 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_log_ends_elsewhere_is_not_given() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    // The log has something that its owner knows nothing of.
    let written = stranger(still.tails().messages, 1);
    let tail = crate::log::record::Header::read(&written.bytes)
        .expect("an entry")
        .tail();
    let token = bench.handle().hold().1;
    let expected = still.tails().messages;
    let batch = Batch {
        shard: SHARD,
        stream: M,
        token,
        expected,
        tail,
        bytes: written.bytes,
    };
    assert_eq!(
        bench.log.inner.append(&[batch]).await,
        [Ok(AppendOutcome::Appended)]
    );
    let outcome = in_time(still.give(&way, &node_b())).await;
    assert!(matches!(outcome, Given::Kept(_)), "{outcome:?}");
    assert!(bench.handle().is_proven());
}

// Interleaving 9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gift_that_is_not_current_any_more_is_not_opened() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let (token, tails) = given_at_rest(&bench, &way).await;
    bench.taken_by("node-c").await;
    let refused = received(&follower, token, tails)
        .await
        .expect_err("another has it");
    assert!(matches!(refused, OpenError::Elsewhere(_)), "{refused:?}");
}

// Interleaving 10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_given_a_shard_moves_its_beat_before_it_reads_strictly() {
    let (bench, follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let (token, tails) = given_at_rest(&bench, &way).await;
    let before = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed")
        .beat;
    // Long after it was given: a third node may have watched that beat for as long.
    bench.clock.pass(T);
    let taken = received(&follower, token, tails).await.expect("opens");
    let after = bench
        .log
        .inner
        .control(SHARD)
        .await
        .expect("reads")
        .expect("claimed")
        .beat;
    assert!(
        after > before + 2,
        "a renewal, and the first entry of each stream: {before} to {after}"
    );
    assert_eq!(
        in_time(taken.query(last(), soon())).await.expect("reads").1,
        Freshness::Strict
    );
    taken.close(soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_marks_that_nobody_has_decided_go_with_the_shard() {
    let (bench, _follower) = pair().await;
    let way = Way::of(&bench, Fate::Answered);
    let still = still(&bench).await;
    let mark = Delivered {
        conversation: conversation("c"),
        user: user("bob"),
        up_to: Seq(6),
    };
    assert!(matches!(
        in_time(bench.execute(Command::Delivered(vec![mark.clone()]))).await,
        Ok(Done::Marked)
    ));
    bench.turn().await;
    let (_, marks) = given(still, &way).await;
    assert_eq!(
        marks
            .iter()
            .map(|mark| (mark.user.clone(), mark.up_to))
            .collect::<Vec<_>>(),
        [(mark.user, mark.up_to)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_ownership_is_not_proven_is_not_given() {
    let (bench, _follower) = pair().await;
    bench.clock.pass(T);
    assert!(in_time(bench.handle().stand_still(soon())).await.is_err());
    bench.renew().await;
    drop(still(&bench).await);
    assert_eq!(bench.send("c", "alice", "next").await.core.seq, Seq(7));
}
