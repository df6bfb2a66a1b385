//! What every implementation of the log promises, as claims: `log_conformance!(factory)` makes one
//! test of each. The factory is an async function that returns a [`Setup`] over an empty log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{
    AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, Control, Identity, PerStream, RawEntry,
    ShardLog, Stream, Token,
};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Entry, Record, Tail, seal};

pub(crate) mod appends;
pub(crate) mod beats;
pub(crate) mod claims;
pub(crate) mod reads;
pub(crate) mod trims;

/// A log under test.
#[async_trait]
pub(crate) trait Setup: Send {
    /// The log.
    fn log(&self) -> Arc<dyn ShardLog>;

    /// Ends everything that uses the log in this process and opens it again.
    async fn reopen(&mut self);
}

/// One test for each claim, with these attributes.
macro_rules! log_conformance {
    ($(#[$attribute:meta])* $factory:path) => {
        $crate::log::conformance::log_conformance!(@each [$(#[$attribute])*] $factory,
            claims {
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
            }
            appends {
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
                two_appenders_with_two_tokens_make_one_sequence,
            }
            reads {
                reads_are_in_order_after_the_offset_and_at_least_one,
                entries_come_back_as_they_were_sent,
                what_is_observed_is_the_control_record_and_who_answered,
                everything_outlives_the_process,
            }
            beats {
                the_beat_grows_at_appends_and_renewals_only,
                a_renewal_answers_for_each_token,
            }
            trims {
                a_trim_drops_whole_entries_up_to_the_offset_and_readers_see_the_hole,
                a_trim_never_touches_control_or_tails_and_appends_go_on,
                a_trim_beyond_the_tail_or_of_many_entries_ends,
                a_trim_under_a_stale_token_has_no_effect,
            }
        );
    };
    (@each $attributes:tt $factory:path, $($subject:ident { $($claim:ident,)* })*) => {
        $($(
            $crate::log::conformance::log_conformance!(@one $attributes $factory, $subject $claim);
        )*)*
    };
    (@one [$($attributes:tt)*] $factory:path, $subject:ident $claim:ident) => {
        $($attributes)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            $crate::log::conformance::$subject::$claim($factory().await).await;
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
pub(crate) fn identity() -> Identity {
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
pub(crate) async fn claimed(log: &dyn ShardLog, shard: ShardId) -> Token {
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
pub(crate) fn batch(
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
pub(crate) async fn read_all(log: &dyn ShardLog, shard: ShardId, stream: Stream) -> Vec<RawEntry> {
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
pub(crate) fn linked(entries: &[RawEntry]) -> Tail {
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
