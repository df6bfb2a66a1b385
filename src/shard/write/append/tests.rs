//! What an append side makes of records, and of a log that takes, refuses or loses them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::ids::{Epoch, NodeId};
use crate::log::double::Double;
use crate::log::record::Entry;
use crate::log::{AppendError, AppendOutcome, ShardLog};

/// Takes what comes, or refuses it.
#[derive(Debug, Default)]
struct Sink {
    taken: Mutex<Vec<Batch>>,
    refuses: Mutex<bool>,
}

#[async_trait]
impl Double for Sink {
    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let mut taken = self.taken.lock().expect("whole");
        let found = taken.last().map_or(Tail::EMPTY, |batch| batch.tail);
        if cycle.iter().any(|batch| batch.expected != found) {
            return vec![Ok(AppendOutcome::TailMismatch { found }); cycle.len()];
        }
        if *self.refuses.lock().expect("whole") {
            return vec![Err(AppendError::NotWritten("full".to_owned())); cycle.len()];
        }
        taken.extend_from_slice(cycle);
        vec![Ok(AppendOutcome::Appended); cycle.len()]
    }
}

struct Bench {
    log: Arc<Sink>,
    lane: Lane,
    appender: Appender<&'static str>,
}

impl Bench {
    fn new() -> Self {
        let log = Arc::<Sink>::default();
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        let token = Token::new(Epoch(1));
        Self {
            log,
            lane,
            appender: Appender::new(ShardId(1), Stream::Messages, token, Tail::EMPTY),
        }
    }

    fn decide(&mut self, bytes: usize) -> Offset {
        let node = NodeId::from("n".repeat(bytes).as_str());
        self.appender.decide(
            Record::EpochStart {
                epoch: Epoch(1),
                node,
                ts: 1,
            },
            Vec::new(),
        )
    }

    async fn round(&mut self) -> Ended {
        self.appender.pump(&self.lane);
        let end = self.appender.end().await;
        self.appender.ended(end)
    }

    /// Seals and commits until nothing is left: records and bytes of each entry.
    async fn drained(&mut self) -> Vec<(usize, usize)> {
        while !self.appender.is_idle() {
            assert!(matches!(self.round().await, Ended::Committed(_)));
        }
        let mut before = Tail::EMPTY;
        let taken = self.log.taken.lock().expect("whole").clone();
        let entries = taken.iter().map(|batch| {
            assert_eq!(batch.expected, before);
            let entry = Entry::decode_after(&before, &batch.bytes).expect("links");
            before = batch.tail;
            (entry.records.len(), batch.bytes.len())
        });
        entries.collect()
    }
}

#[tokio::test]
async fn records_are_numbered_from_the_tail_on_and_gather_while_a_batch_is_away() {
    let mut bench = Bench::new();
    assert_eq!([bench.decide(1), bench.decide(1)], [Offset(1), Offset(2)]);
    bench.appender.pump(&bench.lane);
    assert!(bench.appender.is_away());
    assert_eq!(
        (bench.decide(1), bench.appender.last()),
        (Offset(3), Offset(3))
    );
    bench.appender.pump(&bench.lane);
    assert_eq!(bench.appender.committed().offset, Offset(0));
    let end = bench.appender.end().await;
    let Ended::Committed(committed) = bench.appender.ended(end) else {
        panic!("refused")
    };
    assert_eq!(
        committed
            .iter()
            .map(|decided| decided.offset.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(bench.appender.committed().offset, Offset(2));
    assert_eq!(
        bench
            .drained()
            .await
            .iter()
            .map(|(records, _)| *records)
            .collect::<Vec<_>>(),
        [2, 1]
    );
}

#[tokio::test]
async fn an_entry_holds_at_most_256_records() {
    let mut bench = Bench::new();
    for _ in 0..600 {
        bench.decide(1);
    }
    assert_eq!(
        bench
            .drained()
            .await
            .iter()
            .map(|(records, _)| *records)
            .collect::<Vec<_>>(),
        [256, 256, 88]
    );
}

#[tokio::test]
async fn an_entry_holds_at_most_one_mebibyte_however_the_records_fall() {
    let mut bench = Bench::new();
    for record in 0..40 {
        bench.decide(60_000 + record * 1_000);
    }
    let entries = bench.drained().await;
    assert_eq!(
        entries.iter().map(|(records, _)| *records).sum::<usize>(),
        40
    );
    assert!(
        entries.iter().all(|(_, bytes)| *bytes <= ENTRY_BYTES_MAX),
        "{entries:?}"
    );
    assert!(entries.len() <= 5, "and they are well filled: {entries:?}");
}

#[tokio::test]
async fn what_is_surely_not_written_is_taken_back_and_its_offsets_are_used_again() {
    let mut bench = Bench::new();
    bench.decide(1);
    assert!(matches!(bench.round().await, Ended::Committed(_)));
    *bench.log.refuses.lock().expect("whole") = true;
    bench.decide(1);
    bench.appender.pump(&bench.lane);
    assert_eq!(bench.decide(1), Offset(3));
    let end = bench.appender.end().await;
    assert!(matches!(bench.appender.ended(end), Ended::NotWritten(_)));
    assert!(bench.appender.is_idle());
    assert_eq!(
        (bench.appender.last(), bench.appender.committed().offset),
        (Offset(1), Offset(1))
    );
    *bench.log.refuses.lock().expect("whole") = false;
    assert_eq!(bench.decide(1), Offset(2));
    assert_eq!(bench.drained().await.len(), 2, "and they link");
}

#[tokio::test]
async fn waiters_come_back_in_the_order_of_their_offsets_and_then_of_their_asking() {
    let mut bench = Bench::new();
    let (first, second) = (bench.decide(1), bench.decide(1));
    bench.appender.wait(second, "third");
    bench.appender.wait(first, "first");
    bench.appender.wait(second, "fourth");
    bench.appender.wait(first, "second");
    bench.appender.wait(second, "gave up");
    bench.appender.retain_waiting(|waiter| *waiter != "gave up");
    assert_eq!(bench.appender.ready(), None, "nothing is committed");
    assert!(matches!(bench.round().await, Ended::Committed(_)));
    bench.decide(1);
    bench.appender.wait(Offset(3), "later");
    let ready: Vec<_> = std::iter::from_fn(|| bench.appender.ready()).collect();
    assert_eq!(ready, ["first", "second", "third", "fourth"]);
    assert_eq!(
        bench.appender.take_waiting().collect::<Vec<_>>(),
        [(Offset(3), "later")]
    );
}

#[tokio::test]
async fn untrimmed_bytes_grow_with_commits_and_fall_with_trims() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.decide(1_000);
        bench.round().await;
    }
    let all = bench.appender.untrimmed_bytes();
    assert!(all > 3_000);
    bench.appender.trimmed(Offset(2));
    assert_eq!(bench.appender.untrimmed_bytes(), all / 3);
    bench.appender.trimmed(Offset(3));
    assert_eq!(bench.appender.untrimmed_bytes(), 0);
}

#[tokio::test]
async fn an_appender_says_when_too_much_gathers() {
    let mut bench = Bench::new();
    bench.decide(1);
    bench.appender.pump(&bench.lane);
    for _ in 0..16 {
        assert!(!bench.appender.is_full());
        bench.decide(1024 * 1024);
    }
    assert!(bench.appender.is_full());
    bench.drained().await;
    assert!(!bench.appender.is_full());
}

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
async fn fallen_back() -> (Lane, crate::log::lane::Loose, Appender<&'static str>) {
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
    loose: &mut crate::log::lane::Loose,
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
