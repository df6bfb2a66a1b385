//! Which batches are appended, and which are refused, fenced, or done already.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{
    M, R, SHARD, Setup, assert_stream, batch, claimed, control, filled, linked, raw, read_all,
    send, wish,
};
use crate::ids::{Offset, ShardId};
use crate::log::record::Tail;
use crate::log::{AppendOutcome, Batch, ClaimOutcome, RawEntry, ShardLog, Token};

pub(crate) async fn appends_follow_the_tail(setup: impl Setup) {
    let log = setup.log();
    let token = claimed(&*log, SHARD).await;
    let sent = filled(&*log, M, token, 5).await;
    assert_stream(&*log, M, &sent).await;
    assert_eq!(linked(&read_all(&*log, SHARD, M).await), sent[4].tail);
}

pub(crate) async fn an_append_that_leaves_a_hole_is_refused(setup: impl Setup) {
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

pub(crate) async fn an_append_after_another_chain_is_refused(setup: impl Setup) {
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

pub(crate) async fn a_stale_token_is_fenced_and_has_no_effect(setup: impl Setup) {
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

pub(crate) async fn a_token_of_the_same_epoch_with_another_nonce_is_fenced(setup: impl Setup) {
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

pub(crate) async fn a_batch_sent_again_is_already_done(setup: impl Setup) {
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

pub(crate) async fn already_done_is_answered_only_for_exactly_the_same_tail(setup: impl Setup) {
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

pub(crate) async fn a_batch_that_is_not_the_last_is_a_mismatch_when_sent_again(setup: impl Setup) {
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

pub(crate) async fn batches_of_one_cycle_are_independent(setup: impl Setup) {
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

pub(crate) async fn the_two_streams_of_a_shard_do_not_touch_each_other(setup: impl Setup) {
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

pub(crate) async fn two_appenders_with_two_tokens_make_one_sequence(setup: impl Setup) {
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
