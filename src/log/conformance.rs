//! What every implementation of the log promises, as claims: `log_conformance!(factory)` makes one
//! test of each. The factory is an async function that returns a [`Setup`] over an empty log.

#![expect(missing_docs, reason = "the name of a claim is the claim")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Entry, Record, Tail, seal};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, Identity, PerStream, RawEntry,
    ShardLog, Stream, Token,
};

/// A log under test.
#[async_trait]
pub trait Setup: Send {
    /// The log.
    fn log(&self) -> Arc<dyn ShardLog>;

    /// Ends everything that uses the log in this process and opens it again.
    async fn reopen(&mut self);
}

/// One test for each claim, with these attributes.
macro_rules! log_conformance {
    ($(#[$attribute:meta])* $factory:path) => {
        $crate::log::conformance::log_conformance!(@each [$(#[$attribute])*] $factory,
            a_shard_that_was_never_claimed_has_no_control_and_takes_nothing,
            the_first_claim_creates_two_empty_streams,
            a_first_claim_must_expect_no_one_and_have_an_epoch_above_0,
            a_claim_is_refused_unless_token_and_beat_are_as_expected,
            a_claim_is_refused_when_the_beat_moved,
            a_claim_is_refused_unless_the_epoch_rises,
            a_claim_is_refused_when_the_identity_differs,
            a_claim_keeps_the_tails,
            an_owner_gives_its_shard_to_another_where_the_streams_end_as_it_says,
            of_claims_that_expect_the_same_one_wins,
            appends_follow_the_tail,
            an_append_that_leaves_a_hole_is_refused,
            an_append_after_another_chain_is_refused,
            a_stale_token_is_fenced_and_has_no_effect,
            a_token_of_the_same_epoch_with_another_nonce_is_fenced,
            a_batch_sent_again_is_already_done,
            already_done_is_answered_only_for_exactly_the_same_tail,
            a_batch_that_is_not_the_last_is_a_mismatch_when_sent_again,
            batches_of_one_cycle_are_independent,
            the_two_streams_of_a_shard_do_not_touch_each_other,
            reads_are_in_order_after_the_offset_and_at_least_one,
            entries_come_back_as_they_were_sent,
            the_beat_grows_at_appends_and_renewals_only,
            a_renewal_answers_for_each_token,
            a_trim_drops_whole_entries_up_to_the_offset_and_readers_see_the_hole,
            a_trim_never_touches_control_or_tails_and_appends_go_on,
            a_trim_beyond_the_tail_or_of_many_entries_ends,
            a_trim_under_a_stale_token_has_no_effect,
            what_is_observed_is_the_control_record_and_who_answered,
            everything_outlives_the_process,
            two_appenders_with_two_tokens_make_one_sequence,
        );
    };
    (@each $attributes:tt $factory:path, $($claim:ident,)*) => {
        $($crate::log::conformance::log_conformance!(@one $attributes $factory, $claim);)*
    };
    (@one [$($attributes:tt)*] $factory:path, $claim:ident) => {
        $($attributes)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            $crate::log::conformance::$claim($factory().await).await;
        }
    };
}
pub(crate) use log_conformance;

/// For an append in doubt.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const SHARD: ShardId = ShardId(3);
const M: Stream = Stream::Messages;
const R: Stream = Stream::Receipts;

/// The identity that all claims use.
pub fn identity() -> Identity {
    Identity {
        cluster: ClusterId(uuid::Uuid::from_u128(7)),
        shards: 16,
    }
}

fn wish(shard: ShardId, expected: Option<(Token, u64)>, token: Token) -> Claim {
    Claim {
        shard,
        expected,
        token,
        owner: NodeId::from("node-a"),
        identity: identity(),
        begin_at: PerStream::both(Tail::EMPTY),
        ends_at: None,
    }
}

/// Claims a shard from whoever has it, with the next epoch.
pub async fn claimed(log: &dyn ShardLog, shard: ShardId) -> Token {
    let found = log.control(shard).await.unwrap();
    let token = Token::new(
        found
            .as_ref()
            .map_or(Epoch(1), |control| control.token.epoch.next()),
    );
    let claim = wish(
        shard,
        found.map(|control| (control.token, control.beat)),
        token,
    );
    match log.claim(claim).await.unwrap() {
        ClaimOutcome::Claimed(control) => assert_eq!(control.token, token),
        refused @ ClaimOutcome::Refused(_) => panic!("{refused:?}"),
    }
    token
}

async fn control(log: &dyn ShardLog, shard: ShardId) -> Control {
    log.control(shard).await.unwrap().expect("a control record")
}

/// A batch of `count` records that say `text`.
pub fn batch(
    shard: ShardId,
    stream: Stream,
    token: Token,
    before: &Tail,
    (count, text): (usize, &str),
) -> Batch {
    let record = Record::EpochStart {
        epoch: token.epoch,
        node: NodeId::from(text),
        ts: 1,
    };
    let (bytes, tail) = seal(before, token.epoch, &vec![record.encode(); count]);
    Batch {
        shard,
        stream,
        token,
        expected: *before,
        tail,
        bytes,
    }
}

async fn send(log: &dyn ShardLog, batch: &Batch) -> AppendOutcome {
    settled(log, batch).await.0
}

/// Sends it until it has an outcome, as a lane does: a slow machine may leave it in doubt. With
/// that, whether it did.
async fn settled(log: &dyn ShardLog, batch: &Batch) -> (AppendOutcome, bool) {
    let (end, mut doubted) = (Instant::now() + SETTLED_WITHIN, false);
    loop {
        let mut answers = log.append(std::slice::from_ref(batch)).await;
        assert_eq!(answers.len(), 1);
        match answers.remove(0) {
            Ok(outcome) => return (outcome, doubted),
            Err(
                AppendError::InDoubt(_)
                | AppendError::Unanswered(_)
                | AppendError::NotReplicated(_),
            ) if Instant::now() < end => doubted = true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Appends it; what was in doubt before may be there already.
async fn append(log: &dyn ShardLog, batch: &Batch) {
    match settled(log, batch).await {
        (AppendOutcome::Appended, _) | (AppendOutcome::AlreadyDone, true) => {}
        other => panic!("{other:?}"),
    }
}

/// Appends `count` entries of two records each; the tails from the first on.
async fn filled(log: &dyn ShardLog, stream: Stream, token: Token, count: usize) -> Vec<Batch> {
    let (mut tail, mut sent) = (control(log, SHARD).await.tails[stream], Vec::new());
    for number in 0..count {
        let batch = batch(SHARD, stream, token, &tail, (2, &format!("entry-{number}")));
        append(log, &batch).await;
        tail = batch.tail;
        sent.push(batch);
    }
    sent
}

/// Reads a whole stream, a little at a time.
pub async fn read_all(log: &dyn ShardLog, shard: ShardId, stream: Stream) -> Vec<RawEntry> {
    let (mut found, mut after) = (Vec::<RawEntry>::new(), Offset(0));
    loop {
        let some = log.read(shard, stream, after, 300).await.unwrap();
        let Some(last) = some.last() else {
            return found;
        };
        assert!(last.last > after, "read {} after {after}", last.last);
        after = last.last;
        found.extend(some);
    }
}

/// Decodes a stream from its start: no hole, each entry links, epochs never fall. The tail after
/// it.
pub fn linked(entries: &[RawEntry]) -> Tail {
    let (mut tail, mut epoch) = (Tail::EMPTY, Epoch(0));
    for raw in entries {
        let entry = Entry::decode_after(&tail, &raw.bytes).unwrap();
        assert_eq!(entry.tail.offset, raw.last);
        assert!(entry.epoch >= epoch, "the epoch fell");
        (tail, epoch) = (entry.tail, entry.epoch);
    }
    tail
}

fn raw(batch: &Batch) -> RawEntry {
    RawEntry {
        last: batch.tail.offset,
        bytes: batch.bytes.clone(),
    }
}

/// The stream holds exactly these batches, and control agrees.
async fn assert_stream(log: &dyn ShardLog, stream: Stream, batches: &[Batch]) {
    assert_eq!(
        read_all(log, SHARD, stream).await,
        batches.iter().map(raw).collect::<Vec<_>>()
    );
    let tail = batches.last().map_or(Tail::EMPTY, |batch| batch.tail);
    assert_eq!(control(log, SHARD).await.tails[stream], tail);
}

pub async fn a_shard_that_was_never_claimed_has_no_control_and_takes_nothing(setup: impl Setup) {
    let log = setup.log();
    let token = Token::new(Epoch(1));
    assert_eq!(log.control(SHARD).await.unwrap(), None);
    let answer = send(&*log, &batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))).await;
    assert_eq!(
        answer,
        AppendOutcome::Fenced {
            current: Token {
                epoch: Epoch(0),
                nonce: 0
            }
        }
    );
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(false)]);
    log.trim(SHARD, token, M, Offset(9)).await.unwrap();
    assert_eq!(log.control(SHARD).await.unwrap(), None);
    assert_eq!(log.read(SHARD, M, Offset(0), 100).await.unwrap(), []);
}

pub async fn the_first_claim_creates_two_empty_streams(setup: impl Setup) {
    let log = setup.log();
    let token = Token::new(Epoch(5));
    let outcome = log.claim(wish(SHARD, None, token)).await.unwrap();
    let found = control(&*log, SHARD).await;
    assert_eq!(outcome, ClaimOutcome::Claimed(found.clone()));
    assert_eq!(
        (found.identity, found.token, found.tails),
        (identity(), token, PerStream::both(Tail::EMPTY))
    );
    assert_eq!(found.owner, NodeId::from("node-a"));
    assert_eq!(log.control(ShardId(SHARD.0 + 1)).await.unwrap(), None);
}

pub async fn a_first_claim_must_expect_no_one_and_have_an_epoch_above_0(setup: impl Setup) {
    let log = setup.log();
    let somebody = Token::new(Epoch(1));
    for claim in [
        wish(SHARD, Some((somebody, 0)), Token::new(Epoch(2))),
        wish(SHARD, None, Token::new(Epoch(0))),
    ] {
        assert_eq!(log.claim(claim).await.unwrap(), ClaimOutcome::Refused(None));
    }
    assert_eq!(log.control(SHARD).await.unwrap(), None);
}

pub async fn a_claim_is_refused_unless_token_and_beat_are_as_expected(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let found = control(&*log, SHARD).await;
    let other_nonce = Token {
        nonce: token.nonce ^ 1,
        ..token
    };
    let wrong = [
        None,
        Some((other_nonce, found.beat)),
        Some((Token::new(Epoch(9)), found.beat)),
    ];
    for expected in wrong.into_iter().chain([Some((token, found.beat + 1))]) {
        let outcome = log
            .claim(wish(SHARD, expected, Token::new(Epoch(9))))
            .await
            .unwrap();
        assert_eq!(outcome, ClaimOutcome::Refused(Some(found.clone())));
    }
    assert_eq!(control(&*log, SHARD).await, found);
    let next = Token::new(Epoch(9));
    let outcome = log
        .claim(wish(SHARD, Some((token, found.beat)), next))
        .await
        .unwrap();
    assert!(matches!(outcome, ClaimOutcome::Claimed(control) if control.token == next));
}

pub async fn a_claim_is_refused_when_the_beat_moved(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let seen = control(&*log, SHARD).await;
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    let outcome = log
        .claim(wish(SHARD, Some((token, seen.beat)), Token::new(Epoch(2))))
        .await
        .unwrap();
    assert!(matches!(outcome, ClaimOutcome::Refused(Some(control)) if control.token == token));
    filled(&*log, M, token, 1).await;
    assert_eq!(control(&*log, SHARD).await.token, token);
}

pub async fn a_claim_is_refused_unless_the_epoch_rises(setup: impl Setup) {
    let log = setup.log();
    let first = Token::new(Epoch(4));
    log.claim(wish(SHARD, None, first)).await.unwrap();
    let found = control(&*log, SHARD).await;
    for epoch in [0, 3, 4] {
        let claim = wish(SHARD, Some((first, found.beat)), Token::new(Epoch(epoch)));
        assert_eq!(
            log.claim(claim).await.unwrap(),
            ClaimOutcome::Refused(Some(found.clone()))
        );
    }
    assert_eq!(control(&*log, SHARD).await, found);
}

pub async fn a_claim_is_refused_when_the_identity_differs(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let found = control(&*log, SHARD).await;
    let other_cluster = Identity {
        cluster: ClusterId::random(),
        ..identity()
    };
    let other_shards = Identity {
        shards: 32,
        ..identity()
    };
    for identity in [other_cluster, other_shards] {
        let claim = Claim {
            identity,
            ..wish(SHARD, Some((token, found.beat)), Token::new(Epoch(2)))
        };
        assert_eq!(
            log.claim(claim).await.unwrap(),
            ClaimOutcome::Refused(Some(found.clone()))
        );
    }
    assert_eq!(control(&*log, SHARD).await, found);
}

pub async fn a_claim_keeps_the_tails(setup: impl Setup) {
    let log = setup.log();
    let first = claimed(&*log, SHARD).await;
    let mut sent = filled(&*log, M, first, 2).await;
    let receipts = filled(&*log, R, first, 1).await;
    let second = claimed(&*log, SHARD).await;
    assert_eq!(
        control(&*log, SHARD).await.tails,
        PerStream {
            messages: sent[1].tail,
            receipts: receipts[0].tail
        }
    );
    sent.extend(filled(&*log, M, second, 1).await);
    assert_stream(&*log, M, &sent).await;
    assert_stream(&*log, R, &receipts).await;
}

pub async fn an_owner_gives_its_shard_to_another_where_the_streams_end_as_it_says(
    setup: impl Setup,
) {
    let log = setup.log();
    let first = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, first, 2).await;
    let receipts = filled(&*log, R, first, 1).await;
    let before = control(&*log, SHARD).await;
    let given = |ends_at| Claim {
        owner: NodeId::from("node-b"),
        ends_at: Some(ends_at),
        ..wish(SHARD, Some((first, before.beat)), Token::new(Epoch(2)))
    };
    let ends = PerStream {
        messages: sent[1].tail,
        receipts: receipts[0].tail,
    };
    let other_chain = Tail {
        chain: Chain([7; 16]),
        ..ends.receipts
    };
    let elsewhere = [
        PerStream {
            messages: sent[0].tail,
            ..ends
        },
        PerStream {
            receipts: other_chain,
            ..ends
        },
        PerStream::both(Tail::EMPTY),
    ];
    for tails in elsewhere {
        assert_eq!(
            log.claim(given(tails)).await.unwrap(),
            ClaimOutcome::Refused(Some(before.clone()))
        );
    }
    let claim = given(ends);
    let ClaimOutcome::Claimed(after) = log.claim(claim.clone()).await.unwrap() else {
        panic!("refused")
    };
    assert_eq!(
        (after.token, &after.owner, after.tails),
        (claim.token, &claim.owner, ends)
    );
    assert_eq!(control(&*log, SHARD).await, after);
    let late = batch(SHARD, M, first, &ends.messages, (1, "late"));
    assert_eq!(
        send(&*log, &late).await,
        AppendOutcome::Fenced {
            current: claim.token
        }
    );
    append(
        &*log,
        &batch(SHARD, M, claim.token, &ends.messages, (1, "next")),
    )
    .await;
}

pub async fn of_claims_that_expect_the_same_one_wins(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let beat = control(&*log, SHARD).await.beat;
    let rivals = (0..8).map(|_| {
        let (its_log, rival) = (setup.log(), Token::new(Epoch(2)));
        tokio::spawn(async move {
            (
                its_log
                    .claim(wish(SHARD, Some((token, beat)), rival))
                    .await
                    .unwrap(),
                rival,
            )
        })
    });
    let mut winners = Vec::new();
    for rival in rivals.collect::<Vec<_>>() {
        let (outcome, rival) = rival.await.unwrap();
        winners.extend(matches!(outcome, ClaimOutcome::Claimed(_)).then_some(rival));
    }
    assert_eq!(winners, [control(&*log, SHARD).await.token]);
}

pub async fn appends_follow_the_tail(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 5).await;
    assert_stream(&*log, M, &sent).await;
    assert_eq!(linked(&read_all(&*log, SHARD, M).await), sent[4].tail);
}

pub async fn an_append_that_leaves_a_hole_is_refused(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 1).await;
    let beyond = Tail {
        offset: Offset(9),
        ..sent[0].tail
    };
    let found = AppendOutcome::TailMismatch {
        found: sent[0].tail,
    };
    assert_eq!(
        send(&*log, &batch(SHARD, M, token, &beyond, (1, "x"))).await,
        found
    );
    assert_eq!(
        send(&*log, &batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))).await,
        found
    );
    assert_stream(&*log, M, &sent).await;
}

pub async fn an_append_after_another_chain_is_refused(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 1).await;
    let mut other = sent[0].tail;
    other.chain.0[15] ^= 1;
    let outcome = send(&*log, &batch(SHARD, M, token, &other, (1, "x"))).await;
    assert_eq!(
        outcome,
        AppendOutcome::TailMismatch {
            found: sent[0].tail
        }
    );
    assert_stream(&*log, M, &sent).await;
}

pub async fn a_stale_token_is_fenced_and_has_no_effect(setup: impl Setup) {
    let log = setup.log();
    let stale = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, stale, 1).await;
    let current = claimed(&*log, SHARD).await;
    let before = control(&*log, SHARD).await;
    let next = batch(SHARD, M, stale, &sent[0].tail, (1, "x"));
    assert_eq!(send(&*log, &next).await, AppendOutcome::Fenced { current });
    // Even what it appended itself: another owner may have gone on from there.
    assert_eq!(
        send(&*log, &sent[0]).await,
        AppendOutcome::Fenced { current }
    );
    assert_eq!(log.renew(&[(SHARD, stale)]).await, [Ok(false)]);
    assert_eq!(control(&*log, SHARD).await, before);
    assert_stream(&*log, M, &sent).await;
}

pub async fn a_token_of_the_same_epoch_with_another_nonce_is_fenced(setup: impl Setup) {
    let log = setup.log();
    let current = claimed(&*log, SHARD).await;
    let twin = Token {
        nonce: current.nonce ^ 1,
        ..current
    };
    let fenced = AppendOutcome::Fenced { current };
    assert_eq!(
        send(&*log, &batch(SHARD, M, twin, &Tail::EMPTY, (1, "x"))).await,
        fenced
    );
    assert_eq!(log.renew(&[(SHARD, twin)]).await, [Ok(false)]);
    assert_stream(&*log, M, &[]).await;
}

pub async fn a_batch_sent_again_is_already_done(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let mut sent = filled(&*log, M, token, 2).await;
    for _ in 0..3 {
        assert_eq!(send(&*log, &sent[1]).await, AppendOutcome::AlreadyDone);
    }
    assert_stream(&*log, M, &sent).await;
    sent.extend(filled(&*log, M, token, 1).await);
    assert_stream(&*log, M, &sent).await;
}

pub async fn already_done_is_answered_only_for_exactly_the_same_tail(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 1).await;
    let found = AppendOutcome::TailMismatch {
        found: sent[0].tail,
    };
    // The same offset with another chain, and another offset with the same chain.
    let other_bytes = batch(SHARD, M, token, &Tail::EMPTY, (2, "another"));
    assert_eq!(other_bytes.tail.offset, sent[0].tail.offset);
    assert_eq!(send(&*log, &other_bytes).await, found);
    let mut other_offset = sent[0].clone();
    other_offset.tail.offset = Offset(1);
    assert_eq!(send(&*log, &other_offset).await, found);
    assert_stream(&*log, M, &sent).await;
}

pub async fn a_batch_that_is_not_the_last_is_a_mismatch_when_sent_again(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 2).await;
    assert_eq!(
        send(&*log, &sent[0]).await,
        AppendOutcome::TailMismatch {
            found: sent[1].tail
        }
    );
    assert_stream(&*log, M, &sent).await;
}

pub async fn batches_of_one_cycle_are_independent(setup: impl Setup) {
    let log = setup.log();
    let mut cycle = Vec::new();
    for shard in 0..70 {
        let token = claimed(&*log, ShardId(shard)).await;
        let text = format!("shard-{shard}");
        let good = batch(ShardId(shard), M, token, &Tail::EMPTY, (3, &text));
        cycle.push(match shard % 3 {
            0 => good,
            1 => Batch {
                token: Token {
                    nonce: !token.nonce,
                    ..token
                },
                ..good
            },
            _ => Batch {
                expected: good.tail,
                tail: Tail {
                    offset: Offset(9),
                    ..good.tail
                },
                ..good
            },
        });
    }
    let answers = log.append(&cycle).await;
    assert_eq!(answers.len(), cycle.len());
    for (batch, answer) in cycle.iter().zip(answers) {
        let read = read_all(&*log, batch.shard, M).await;
        match (batch.shard.0 % 3, answer.unwrap()) {
            (0, AppendOutcome::Appended) => assert_eq!(read, [raw(batch)]),
            (1, AppendOutcome::Fenced { current }) => {
                assert_eq!(current, control(&*log, batch.shard).await.token);
                assert_eq!(read, []);
            }
            (2, AppendOutcome::TailMismatch { found: Tail::EMPTY }) => assert_eq!(read, []),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log.append(&[]).await, []);
}

pub async fn the_two_streams_of_a_shard_do_not_touch_each_other(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let messages = batch(SHARD, M, token, &Tail::EMPTY, (2, "m"));
    let receipts = batch(SHARD, R, token, &Tail::EMPTY, (5, "r"));
    let answers = log.append(&[messages.clone(), receipts.clone()]).await;
    assert_eq!(
        answers,
        [Ok(AppendOutcome::Appended), Ok(AppendOutcome::Appended)]
    );
    assert_stream(&*log, M, std::slice::from_ref(&messages)).await;
    assert_stream(&*log, R, std::slice::from_ref(&receipts)).await;
    log.trim(SHARD, token, R, Offset(5)).await.unwrap();
    assert_stream(&*log, M, &[messages]).await;
}

pub async fn reads_are_in_order_after_the_offset_and_at_least_one(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 6).await;
    let raws: Vec<RawEntry> = sent.iter().map(raw).collect();
    let read = async |after, bytes_max| log.read(SHARD, M, Offset(after), bytes_max).await.unwrap();
    assert_eq!(read(0, usize::MAX).await, raws);
    assert_eq!(read(4, usize::MAX).await, raws[2..]);
    // In the middle of an entry: its last offset is above.
    assert_eq!(read(3, usize::MAX).await, raws[1..]);
    assert_eq!(read(0, 0).await, raws[..1]);
    assert_eq!(read(2, 1).await, raws[1..2]);
    assert_eq!(read(12, usize::MAX).await, []);
    assert_eq!(read(u64::MAX, usize::MAX).await, []);
    let limited = read(0, raws[0].bytes.len() * 3).await;
    assert!(
        (2..=4).contains(&limited.len()),
        "{} entries",
        limited.len()
    );
    assert_eq!(limited, raws[..limited.len()]);
}

pub async fn entries_come_back_as_they_were_sent(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let any: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    let (bytes, tail) = seal(&Tail::EMPTY, token.epoch, &[Bytes::from(any)]);
    let large = Batch {
        shard: SHARD,
        stream: M,
        token,
        expected: Tail::EMPTY,
        tail,
        bytes,
    };
    append(&*log, &large).await;
    assert_stream(&*log, M, &[large]).await;
}

#[expect(
    clippy::cognitive_complexity,
    reason = "one claim over all calls, in their order"
)]
pub async fn the_beat_grows_at_appends_and_renewals_only(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let beat = async || control(&*log, SHARD).await.beat;
    let mut last = beat().await;
    let sent = filled(&*log, M, token, 1).await;
    assert!(beat().await > last, "at an append");
    last = beat().await;
    assert_eq!(send(&*log, &sent[0]).await, AppendOutcome::AlreadyDone);
    assert!(beat().await > last, "at an append that was done already");
    last = beat().await;
    assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    assert!(beat().await > last, "at a renewal");
    last = beat().await;
    send(&*log, &batch(SHARD, M, token, &Tail::EMPTY, (1, "x"))).await;
    log.read(SHARD, M, Offset(0), 100).await.unwrap();
    assert_eq!(
        log.renew(&[(SHARD, Token::new(Epoch(1)))]).await,
        [Ok(false)]
    );
    assert_eq!(
        beat().await,
        last,
        "neither at a mismatch nor at a read nor at a stale renewal"
    );
}

pub async fn a_renewal_answers_for_each_token(setup: impl Setup) {
    let log = setup.log();
    let mut holds = Vec::new();
    for shard in 0..5 {
        holds.push((ShardId(shard), claimed(&*log, ShardId(shard)).await));
    }
    let stale = holds[2].1;
    claimed(&*log, ShardId(2)).await;
    holds.insert(1, (ShardId(9), stale));
    assert_eq!(
        log.renew(&holds).await,
        [true, false, true, false, true, true].map(Ok)
    );
    assert_eq!(log.renew(&[]).await, []);
}

pub async fn a_trim_drops_whole_entries_up_to_the_offset_and_readers_see_the_hole(
    setup: impl Setup,
) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 5).await;
    // Entries end at 2, 4, 6, 8, 10; 5 is in the middle of the third.
    log.trim(SHARD, token, M, Offset(5)).await.unwrap();
    let left: Vec<RawEntry> = sent[2..].iter().map(raw).collect();
    assert_eq!(
        log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(),
        left
    );
    let first = &log.read(SHARD, M, Offset(0), 0).await.unwrap()[0];
    assert!(
        Entry::decode_after(&Tail::EMPTY, &first.bytes).is_err(),
        "a hole, not a beginning"
    );
    assert!(Entry::decode_after(&sent[1].tail, &first.bytes).is_ok());
    log.trim(SHARD, token, M, Offset(6)).await.unwrap();
    assert_eq!(
        log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(),
        left[1..]
    );
}

pub async fn a_trim_never_touches_control_or_tails_and_appends_go_on(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 3).await;
    let before = control(&*log, SHARD).await;
    log.trim(SHARD, token, M, Offset(6)).await.unwrap();
    assert_eq!(control(&*log, SHARD).await, before);
    assert_eq!(log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(), []);
    assert_eq!(send(&*log, &sent[2]).await, AppendOutcome::AlreadyDone);
    let later = filled(&*log, M, token, 1).await;
    assert_eq!(later[0].expected, sent[2].tail);
    assert_stream(&*log, M, &later).await;
}

pub async fn a_trim_beyond_the_tail_or_of_many_entries_ends(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    filled(&*log, M, token, 600).await;
    log.trim(SHARD, token, M, Offset(u64::MAX)).await.unwrap();
    assert_eq!(log.read(SHARD, M, Offset(0), usize::MAX).await.unwrap(), []);
    let later = filled(&*log, M, token, 1).await;
    assert_stream(&*log, M, &later).await;
}

pub async fn a_trim_under_a_stale_token_has_no_effect(setup: impl Setup) {
    let log = setup.log();
    let stale = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, stale, 2).await;
    let current = claimed(&*log, SHARD).await;
    let twin = Token {
        nonce: !current.nonce,
        ..current
    };
    for token in [stale, twin] {
        log.trim(SHARD, token, M, Offset(9)).await.unwrap();
    }
    assert_stream(&*log, M, &sent).await;
}

pub async fn what_is_observed_is_the_control_record_and_who_answered(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    filled(&*log, M, token, 3).await;
    let shards = [ShardId(SHARD.0 + 1), SHARD, SHARD];
    let mut lineages = Vec::new();
    for _ in 0..3 {
        let expected = control(&*log, SHARD).await;
        let seen: Vec<_> = log
            .observe(&shards)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[0].control, None, "never claimed");
        assert_eq!(seen[1].control.as_ref(), Some(&expected));
        assert_eq!(
            seen[1], seen[2],
            "in the order in which they were asked for"
        );
        lineages.push(seen[1].lineage);
        assert_eq!(log.renew(&[(SHARD, token)]).await, [Ok(true)]);
    }
    lineages.dedup();
    assert_eq!(lineages.len(), 1, "the same server all the while");
    assert!(log.observe(&[]).await.is_empty());
}

pub async fn everything_outlives_the_process(mut setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let mut messages = filled(&*log, M, token, 3).await;
    let receipts = filled(&*log, R, token, 2).await;
    let before = control(&*log, SHARD).await;
    drop(log);
    setup.reopen().await;
    let again = setup.log();
    assert_eq!(control(&*again, SHARD).await, before);
    assert_stream(&*again, M, &messages).await;
    assert_stream(&*again, R, &receipts).await;
    assert_eq!(
        send(&*again, &messages[2]).await,
        AppendOutcome::AlreadyDone
    );
    messages.extend(filled(&*again, M, token, 1).await);
    assert_stream(&*again, M, &messages).await;
}

/// One owner that takes the shard now and then, appends while it believes, sends some batches
/// twice, and now and then goes on under a token that it has lost. What it was told is there.
async fn contend(log: Arc<dyn ShardLog>, seed: u64) -> Vec<RawEntry> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut acknowledged = Vec::new();
    let mut held: Option<(Token, Tail)> = None;
    for step in 0..120 {
        let Some((token, tail)) = held else {
            let found = control(&*log, SHARD).await;
            let token = Token::new(found.token.epoch.next());
            let claim = wish(SHARD, Some((found.token, found.beat)), token);
            if let ClaimOutcome::Claimed(control) = log.claim(claim).await.unwrap() {
                held = Some((token, control.tails[M]));
            }
            continue;
        };
        let next = batch(
            SHARD,
            M,
            token,
            &tail,
            (random.random_range(1..4), &format!("{seed}-{step}")),
        );
        let mut outcome = send(&*log, &next).await;
        if outcome == AppendOutcome::Appended && random.random_bool(0.3) {
            outcome = match send(&*log, &next).await {
                AppendOutcome::Appended => panic!("appended twice"),
                fenced @ AppendOutcome::Fenced { .. } => {
                    acknowledged.push(raw(&next));
                    fenced
                }
                other => other,
            };
        }
        held = match outcome {
            AppendOutcome::Appended | AppendOutcome::AlreadyDone => {
                acknowledged.push(raw(&next));
                Some((token, next.tail))
            }
            AppendOutcome::Fenced { current } => {
                assert!(current.epoch >= token.epoch && current != token);
                random.random_bool(0.2).then_some((token, tail))
            }
            AppendOutcome::TailMismatch { found } => {
                panic!("the tail of a held shard moved to {found:?}")
            }
        };
    }
    acknowledged
}

pub async fn two_appenders_with_two_tokens_make_one_sequence(setup: impl Setup) {
    claimed(&*setup.log(), SHARD).await;
    let seed: u64 = rand::random();
    let owners = [seed, seed ^ 1].map(|seed| tokio::spawn(contend(setup.log(), seed)));
    let mut acknowledged = Vec::new();
    for owner in owners {
        acknowledged.extend(
            owner
                .await
                .unwrap_or_else(|error| panic!("seed {seed}: {error}")),
        );
    }
    let log = setup.log();
    let entries = read_all(&*log, SHARD, M).await;
    assert_eq!(
        linked(&entries),
        control(&*log, SHARD).await.tails[M],
        "seed {seed}"
    );
    acknowledged.sort_by_key(|entry| entry.last);
    assert!(!acknowledged.is_empty());
    assert_eq!(
        acknowledged, entries,
        "seed {seed}: acknowledged is exactly what is there"
    );
}
