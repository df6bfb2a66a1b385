//! What is appended again when the log loses it, and what is in doubt meanwhile.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::log::lane::{Definite, Lane, Loose};
use crate::log::record::{Record, Tail};
use crate::log::{Batch, ShardLog, Stream, Token};
use crate::shard::write::append::retained::{RETAINED_BYTES_MAX, RETAINED_FOR, Retained};
use crate::shard::write::append::tests::{Bench, Sink};
use crate::shard::write::append::{Appender, Ended};

#[tokio::test]
async fn what_the_log_lost_is_appended_again_verbatim_before_anything_new() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.decide(10);
        assert!(matches!(bench.round().await, Ended::Committed(_)));
    }

    let before = bench.log.taken.lock().expect("whole").clone();
    bench.log.taken.lock().expect("whole").truncate(2);
    let offset = bench.decide(10);
    bench.appender.wait(offset, "new");

    // The log says no, then it loses more, then all goes well.
    assert!(matches!(bench.round().await, Ended::Committed(records) if records.is_empty()));
    assert!(matches!(bench.round().await, Ended::Committed(records) if records.is_empty()));

    bench.log.taken.lock().expect("whole").truncate(1);
    let mut answered = Vec::new();

    while !bench.appender.is_idle() {
        assert_eq!(
            bench.appender.ready(),
            None,
            "nothing is answered meanwhile"
        );
        let Ended::Committed(records) = bench.round().await else {
            panic!("lost")
        };
        answered.extend(records.into_iter().map(|decided| decided.offset));
    }

    assert_eq!(
        (answered, bench.appender.ready()),
        (vec![offset], Some("new"))
    );

    let after = bench.log.taken.lock().expect("whole").clone();
    assert_eq!(
        (after.len(), &after[..5]),
        (6, &before[..]),
        "the same bytes at the same offsets"
    );
    assert_eq!(bench.appender.committed(), after[5].tail);
}

#[tokio::test]
async fn what_was_acknowledged_is_not_taken_back_though_the_log_refuses_it() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.decide(10);
        bench.round().await;
    }

    bench.log.taken.lock().expect("whole").truncate(1);
    bench.decide(10);
    bench.round().await;
    *bench.log.refuses.lock().expect("whole") = true;
    assert!(matches!(bench.round().await, Ended::Committed(records) if records.is_empty()));

    bench.appender.pump(&bench.lane);
    assert!(!bench.appender.is_away(), "it rests");
    *bench.log.refuses.lock().expect("whole") = false;

    bench.appender.rests_until = None;
    while !bench.appender.is_idle() {
        assert!(matches!(bench.round().await, Ended::Committed(_)));
    }

    assert_eq!(bench.log.taken.lock().expect("whole").len(), 4);
}

#[tokio::test]
async fn a_stream_that_is_not_ours_is_given_up() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.decide(10);
        bench.round().await;
    }
    // Of the right length, but another history.
    let mut foreign = bench.log.taken.lock().expect("whole")[1].clone();
    foreign.tail.chain = bench.log.taken.lock().expect("whole")[0].tail.chain;
    *bench.log.taken.lock().expect("whole") = vec![foreign];
    bench.decide(10);
    assert!(matches!(
        bench.round().await,
        Ended::Lost { doubted: true, .. }
    ));
}

#[test]
fn what_is_kept_for_a_log_that_loses_entries_is_bounded() {
    let mut retained = Retained::default();
    let bytes = Bytes::from(vec![0; 100_000]);

    for offset in 1..100 {
        let (shard, stream, token) = (ShardId(1), Stream::Messages, Token::new(Epoch(1)));
        let tail = Tail {
            offset: Offset(offset),
            ..Tail::EMPTY
        };
        let expected = Tail {
            offset: Offset(offset - 1),
            ..Tail::EMPTY
        };
        retained.push(Batch {
            shard,
            stream,
            token,
            expected,
            tail,
            bytes: bytes.clone(),
        });
    }

    assert!(
        retained.bytes <= RETAINED_BYTES_MAX && retained.batches.len() == 41,
        "{}",
        retained.batches.len()
    );
    assert_eq!(
        retained
            .after(&Tail {
                offset: Offset(97),
                ..Tail::EMPTY
            })
            .map(|lost| lost.len()),
        Some(2)
    );

    assert_eq!(
        retained.after(&Tail {
            offset: Offset(3),
            ..Tail::EMPTY
        }),
        None
    );

    retained.expire(Instant::now() + RETAINED_FOR);
    assert_eq!(
        (retained.bytes, retained.batches.len()),
        (0, 0),
        "also when nothing comes any more"
    );
}

#[tokio::test]
async fn a_lane_that_is_gone_leaves_the_batch_in_doubt() {
    let mut bench = Bench::new();
    bench.decide(1);
    bench.appender.pump(&bench.lane);
    let (lost, gone) = oneshot::channel::<Definite>();
    drop(lost);
    bench.appender.in_flight.as_mut().expect("away").end = gone;
    let end = bench.appender.end().await;
    assert!(matches!(
        bench.appender.ended(end),
        Ended::Lost { doubted: true, .. }
    ));
}

/// An appender that has committed one batch, and whose second one, sent before, found that the log
/// had lost the first.
async fn fallen_back() -> (Lane, Loose, Appender<&'static str>) {
    let log = Arc::<Sink>::default();
    let (lane, mut loose) = Lane::loose(log as Arc<dyn ShardLog>);
    let mut appender = Appender::new(
        ShardId(1),
        Stream::Messages,
        Token::new(Epoch(1)),
        Tail::EMPTY,
    );

    for answer in [
        Definite::Committed,
        Definite::TailMismatch { found: Tail::EMPTY },
    ] {
        appender.decide(
            Record::EpochStart {
                epoch: Epoch(1),
                node: NodeId::from("n"),
                ts: 1,
            },
            Vec::new(),
        );
        assert!(matches!(
            told(&mut appender, &lane, &mut loose, answer).await,
            Ended::Committed(_)
        ));
    }

    (lane, loose, appender)
}

/// What the appender makes of this answer to its next batch.
async fn told(
    appender: &mut Appender<&'static str>,
    lane: &Lane,
    loose: &mut Loose,
    answer: Definite,
) -> Ended {
    appender.pump(lane);
    let (_batch, settles) = loose.next().expect("a batch");
    settles.send(answer).expect("awaited");
    let end = appender.end().await;
    appender.ended(end)
}

#[tokio::test]
async fn a_fence_while_lost_entries_are_restored_does_not_call_what_was_in_doubt_surely_unwritten()
{
    let (lane, mut loose, mut appender) = fallen_back().await;
    // While the first is restored a standby, which has read both before, takes the shard over and
    // restores them.
    let fence = Definite::Fenced {
        current: Token::new(Epoch(2)),
        doubted: false,
    };
    let Ended::Lost { doubted, .. } = told(&mut appender, &lane, &mut loose, fence).await else {
        panic!("it is lost")
    };
    assert!(
        doubted,
        "its callers would be told that surely nothing was written"
    );
}

#[tokio::test]
async fn a_refusal_after_lost_entries_were_restored_does_not_call_what_was_in_doubt_surely_unwritten()
 {
    let (lane, mut loose, mut appender) = fallen_back().await;
    let restored = told(&mut appender, &lane, &mut loose, Definite::Committed).await;
    assert!(matches!(restored, Ended::Committed(records) if records.is_empty()));

    // A standby may hold it, and would bring it back after others were written in its place.
    let refused = told(
        &mut appender,
        &lane,
        &mut loose,
        Definite::NotWritten("full".to_owned()),
    )
    .await;

    assert!(
        matches!(refused, Ended::Committed(records) if records.is_empty()),
        "it is sent again"
    );
    assert!(!appender.is_idle());

    appender.rests_until = None;
    let committed = told(&mut appender, &lane, &mut loose, Definite::Committed).await;
    assert!(matches!(committed, Ended::Committed(records) if records.len() == 1));
}
