//! The append side of one stream of a shard: records get their offsets here, in the order of their decisions; they
//! gather while a batch is away, are sealed into the next entry, and are committed in order. Pure but for the lane.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{Offset, ShardId};
use crate::shard::command::Push;
use crate::shard::lane::{Definite, Lane};
use crate::shard::log::record::{ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, HEADER_BYTES, Record, Tail, seal};
use crate::shard::log::{Batch, Stream, Token};
use crate::telemetry;

/// Bytes of records that may gather behind the batch in flight; a command that comes later is refused.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long committed entries are kept in memory, and how many bytes of a stream, in case the log loses them: Redis
/// replicates and syncs within about a second. What is older stays in the raw entries of the file, of which an operator
/// can make use.
const RETAINED_FOR: Duration = Duration::from_secs(10);
const RETAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Restorations without anything new in between; a log that falls back more often is given up.
const RESTORES_MAX: u32 = 16;

/// Pause before entries that the log refuses are appended again.
const RESTORE_REST: Duration = Duration::from_millis(250);

/// A decided record on its way into the log.
#[derive(Debug)]
pub(super) struct Decided {
    /// Its offset.
    pub(super) offset: Offset,
    /// The record.
    pub(super) record: Record,
    /// What is pushed once it is committed, beside what follows from the record itself.
    pub(super) pushes: Vec<Push>,
    encoded: Bytes,
}

/// A sealed entry with its records; those of one that was committed before are gone.
#[derive(Debug)]
struct Sealed {
    batch: Batch,
    records: Vec<Decided>,
}

#[derive(Debug)]
struct InFlight {
    end: oneshot::Receiver<Definite>,
    sealed: Sealed,
}

/// One stream's append side. `W` waits for commits.
#[derive(Debug)]
pub(super) struct Appender<W> {
    shard: ShardId,
    stream: Stream,
    token: Token,
    /// Tail after the batch in flight; what comes next follows it.
    sealed: Tail,
    committed: Tail,
    pending: VecDeque<Decided>,
    pending_bytes: usize,
    in_flight: Option<InFlight>,
    /// Committed entries, the newest last, in case the log loses them.
    retained: Retained,
    /// What is appended again before anything new, in order.
    again: VecDeque<Sealed>,
    /// Restorations since anything new was committed.
    restored: u32,
    /// Nothing is appended again before.
    rests_until: Option<Instant>,
    waiting: VecDeque<(Offset, W)>,
    untrimmed: VecDeque<(Offset, u64)>,
    untrimmed_bytes: u64,
}

/// What the end of a batch means for the shard.
#[derive(Debug)]
pub(super) enum Ended {
    /// These records are committed, in order.
    Committed(Vec<Decided>),
    /// The batch, and all that was decided after it on this stream, is surely not in the log. The stream goes on at
    /// the committed tail.
    NotWritten(String),
    /// The shard must be given up. True when the batch may stand in the log nevertheless.
    Lost {
        /// One sentence for the log.
        reason: String,
        /// See above.
        doubted: bool,
    },
}

impl<W> Appender<W> {
    /// Starts at the stream's tail.
    #[must_use]
    pub(super) fn new(shard: ShardId, stream: Stream, token: Token, tail: Tail) -> Self {
        Self {
            shard,
            stream,
            token,
            sealed: tail,
            committed: tail,
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: None,
            retained: Retained::default(),
            again: VecDeque::new(),
            restored: 0,
            rests_until: None,
            waiting: VecDeque::new(),
            untrimmed: VecDeque::new(),
            untrimmed_bytes: 0,
        }
    }

    /// The committed tail.
    #[must_use]
    pub(super) fn committed(&self) -> Tail {
        self.committed
    }

    /// Offset of the last decided record.
    #[must_use]
    pub(super) fn last(&self) -> Offset {
        Offset(self.sealed.offset.0 + self.pending.len() as u64)
    }

    /// Nothing gathers and nothing is in flight.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none() && self.again.is_empty()
    }

    /// A batch is in flight.
    #[must_use]
    pub(super) fn is_away(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Too much gathers to take more.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.pending_bytes >= PENDING_BYTES_MAX
    }

    /// Bytes appended here and not trimmed yet.
    #[must_use]
    pub(super) fn untrimmed_bytes(&self) -> u64 {
        self.untrimmed_bytes
    }

    /// The log was trimmed up to there.
    pub(super) fn trimmed(&mut self, upto: Offset) {
        while let Some((offset, bytes)) = self.untrimmed.front().copied() {
            if offset > upto {
                break;
            }
            self.untrimmed.pop_front();
            self.untrimmed_bytes -= bytes;
        }
    }

    /// Gives a record the next offset and puts it in the batch being built.
    pub(super) fn decide(&mut self, record: Record, pushes: Vec<Push>) -> Offset {
        let encoded = record.encode();
        self.pending_bytes += encoded.len();
        let offset = self.last().next();
        self.pending.push_back(Decided { offset, record, pushes, encoded });
        offset
    }

    /// `waiter` is given back by [`Appender::ready`] when `offset` is committed.
    pub(super) fn wait(&mut self, offset: Offset, waiter: W) {
        let place = self.waiting.partition_point(|(earlier, _)| *earlier <= offset);
        self.waiting.insert(place, (offset, waiter));
    }

    /// The next waiter whose offset is committed.
    pub(super) fn ready(&mut self) -> Option<W> {
        if self.waiting.front()?.0 > self.committed.offset {
            return None;
        }
        self.waiting.pop_front().map(|(_, waiter)| waiter)
    }

    /// Forgets what the log will not lose any more. To be called now and then.
    pub(super) fn expire_retained(&mut self) {
        // What is away may yet be told that something before it is lost.
        if self.is_idle() {
            self.retained.expire(Instant::now());
        }
    }

    /// Drops waiters, those for whom no one waits any more.
    pub(super) fn retain_waiting(&mut self, keep: impl Fn(&W) -> bool) {
        self.waiting.retain(|(_, waiter)| keep(waiter));
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Every waiter, committed or not: the shard ends, or its decisions are void.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = (Offset, W)> + use<W> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// Seals what gathered, if nothing is in flight, and hands it to the lane.
    pub(super) fn pump(&mut self, lane: &Lane) {
        if self.in_flight.is_some() || self.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rests_until = None;
        if let Some(sealed) = self.again.pop_front() {
            return self.send(sealed, lane);
        }
        if self.pending.is_empty() {
            return;
        }
        let mut bytes = HEADER_BYTES;
        let mut count = 0;
        for decided in self.pending.iter().take(ENTRY_RECORDS_MAX) {
            bytes += decided.encoded.len() + 4;
            if count > 0 && bytes > ENTRY_BYTES_MAX {
                break;
            }
            count += 1;
        }
        let records: Vec<Decided> = self.pending.drain(..count).collect();
        let encoded: Vec<Bytes> = records.iter().map(|decided| decided.encoded.clone()).collect();
        self.pending_bytes -= encoded.iter().map(Bytes::len).sum::<usize>();
        let (entry, tail) = seal(&self.sealed, self.token.epoch, &encoded);
        let batch = Batch {
            shard: self.shard,
            stream: self.stream,
            token: self.token,
            expected: self.sealed,
            tail,
            bytes: entry,
        };
        telemetry::APPEND_RECORDS.record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)), &[]);
        self.sealed = tail;
        self.send(Sealed { batch, records }, lane);
    }

    fn send(&mut self, sealed: Sealed, lane: &Lane) {
        self.in_flight = Some(InFlight { end: lane.append(sealed.batch.clone()), sealed });
    }

    /// Waits for the end of the batch in flight; for ever when there is none. Cancel-safe.
    pub(super) async fn end(&mut self) -> Definite {
        match &mut self.in_flight {
            Some(in_flight) => (&mut in_flight.end).await.unwrap_or(Definite::Fenced {
                current: self.token,
                // The lane is gone with the batch: no one knows.
                doubted: true,
            }),
            None => std::future::pending().await,
        }
    }

    /// Takes in the end of the batch in flight.
    pub(super) fn ended(&mut self, end: Definite) -> Ended {
        let Some(InFlight { sealed, .. }) = self.in_flight.take() else { return Ended::Committed(Vec::new()) };
        let is_new = sealed.batch.tail.offset > self.committed.offset;
        match end {
            Definite::Committed if is_new => {
                let bytes = sealed.batch.bytes.len() as u64;
                self.committed = sealed.batch.tail;
                self.untrimmed.push_back((self.committed.offset, bytes));
                self.untrimmed_bytes += bytes;
                self.restored = 0;
                self.retained.push(sealed.batch);
                Ended::Committed(sealed.records)
            }
            // It was answered long ago.
            Definite::Committed => Ended::Committed(Vec::new()),
            Definite::NotWritten(_) if !is_new => {
                // What is acknowledged cannot be taken back.
                self.again.push_front(sealed);
                self.rests_until = Some(Instant::now() + RESTORE_REST);
                Ended::Committed(Vec::new())
            }
            Definite::NotWritten(reason) => {
                self.sealed = self.committed;
                self.pending.clear();
                self.pending_bytes = 0;
                Ended::NotWritten(reason)
            }
            Definite::Fenced { current, doubted } => {
                Ended::Lost { reason: format!("another token is current: {current:?}"), doubted }
            }
            Definite::TailMismatch { found } => self.fell_back(sealed, found),
        }
    }

    /// The stream ends elsewhere under our own token. At an earlier tail of ours the log has lost what came after it:
    /// that is appended again, the same bytes at the same offsets, and then what was in flight. Anywhere else it is not
    /// the stream that we wrote.
    fn fell_back(&mut self, sealed: Sealed, found: Tail) -> Ended {
        let (shard, stream) = (self.shard, self.stream.as_str());
        let lost = self.retained.after(&found).filter(|_| self.restored < RESTORES_MAX);
        let Some(lost) = lost else {
            let reason = format!("the {stream} stream ends at {}, not where we left it", found.offset);
            return Ended::Lost { reason, doubted: true };
        };
        self.restored += 1;
        let (ends_at, committed, entries) = (found.offset, self.committed.offset, lost.len());
        tracing::error!(%shard, stream, %ends_at, %committed, entries, "the log lost acknowledged entries; appending them again");
        telemetry::APPEND_RESTORED.add(entries as u64, &[("stream", stream)]);
        // The last one of `again` is the one that is not committed yet, when it is not in flight.
        let uncommitted =
            if sealed.batch.tail.offset > self.committed.offset { Some(sealed) } else { self.again.pop_back() };
        self.again = lost.into_iter().map(|batch| Sealed { batch, records: Vec::new() }).chain(uncommitted).collect();
        Ended::Committed(Vec::new())
    }
}

/// The newest committed entries of a stream, as they were appended.
#[derive(Debug, Default)]
struct Retained {
    batches: VecDeque<(Instant, Batch)>,
    bytes: usize,
}

impl Retained {
    fn push(&mut self, batch: Batch) {
        let now = Instant::now();
        self.bytes += batch.bytes.len();
        self.batches.push_back((now, batch));
        self.expire(now);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, oldest)) = self.batches.front() {
            if now.duration_since(*since) < RETAINED_FOR && self.bytes <= RETAINED_BYTES_MAX {
                return;
            }
            self.bytes -= oldest.bytes.len();
            self.batches.pop_front();
        }
    }

    /// Everything that followed a tail of ours, if it is kept.
    fn after(&self, tail: &Tail) -> Option<Vec<Batch>> {
        let from = self.batches.iter().position(|(_, batch)| batch.expected == *tail)?;
        Some(self.batches.iter().skip(from).map(|(_, batch)| batch.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::ids::{Epoch, NodeId};
    use crate::shard::log::record::Entry;
    use crate::shard::log::{AppendError, AppendOutcome, Claim, ClaimOutcome, Control, LogError, RawEntry, ShardLog};

    /// Takes what comes, or refuses it.
    #[derive(Debug, Default)]
    struct Sink {
        taken: Mutex<Vec<Batch>>,
        refuses: Mutex<bool>,
    }

    #[async_trait]
    impl ShardLog for Sink {
        async fn control(&self, _: ShardId) -> Result<Option<Control>, LogError> {
            Ok(None)
        }

        async fn claim(&self, _: Claim) -> Result<ClaimOutcome, LogError> {
            Ok(ClaimOutcome::Refused(None))
        }

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

        async fn renew(&self, _: &[(ShardId, Token)]) -> Result<Vec<bool>, LogError> {
            Ok(Vec::new())
        }

        async fn read(&self, _: ShardId, _: Stream, _: Offset, _: usize) -> Result<Vec<RawEntry>, LogError> {
            Ok(Vec::new())
        }

        async fn trim(&self, _: ShardId, _: Token, _: Stream, _: Offset) -> Result<(), LogError> {
            Ok(())
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
            Self { log, lane, appender: Appender::new(ShardId(1), Stream::Messages, token, Tail::EMPTY) }
        }

        fn decide(&mut self, bytes: usize) -> Offset {
            let node = NodeId::from("n".repeat(bytes).as_str());
            self.appender.decide(Record::EpochStart { epoch: Epoch(1), node, ts: 1 }, Vec::new())
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
        assert_eq!((bench.decide(1), bench.appender.last()), (Offset(3), Offset(3)));
        bench.appender.pump(&bench.lane);
        assert_eq!(bench.appender.committed().offset, Offset(0));
        let end = bench.appender.end().await;
        let Ended::Committed(committed) = bench.appender.ended(end) else { panic!("refused") };
        assert_eq!(committed.iter().map(|decided| decided.offset.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(bench.appender.committed().offset, Offset(2));
        assert_eq!(bench.drained().await.iter().map(|(records, _)| *records).collect::<Vec<_>>(), [2, 1]);
    }

    #[tokio::test]
    async fn an_entry_holds_at_most_256_records() {
        let mut bench = Bench::new();
        for _ in 0..600 {
            bench.decide(1);
        }
        assert_eq!(bench.drained().await.iter().map(|(records, _)| *records).collect::<Vec<_>>(), [256, 256, 88]);
    }

    #[tokio::test]
    async fn an_entry_holds_at_most_one_mebibyte_however_the_records_fall() {
        let mut bench = Bench::new();
        for record in 0..40 {
            bench.decide(60_000 + record * 1_000);
        }
        let entries = bench.drained().await;
        assert_eq!(entries.iter().map(|(records, _)| *records).sum::<usize>(), 40);
        assert!(entries.iter().all(|(_, bytes)| *bytes <= ENTRY_BYTES_MAX), "{entries:?}");
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
        assert_eq!((bench.appender.last(), bench.appender.committed().offset), (Offset(1), Offset(1)));
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
        assert_eq!(bench.appender.take_waiting().collect::<Vec<_>>(), [(Offset(3), "later")]);
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
            assert_eq!(bench.appender.ready(), None, "nothing is answered meanwhile");
            let Ended::Committed(records) = bench.round().await else { panic!("lost") };
            answered.extend(records.into_iter().map(|decided| decided.offset));
        }
        assert_eq!((answered, bench.appender.ready()), (vec![offset], Some("new")));
        let after = bench.log.taken.lock().expect("whole").clone();
        assert_eq!((after.len(), &after[..5]), (6, &before[..]), "the same bytes at the same offsets");
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
        assert!(matches!(bench.round().await, Ended::Lost { doubted: true, .. }));
    }

    #[test]
    fn what_is_kept_for_a_log_that_loses_entries_is_bounded() {
        let mut retained = Retained::default();
        let bytes = Bytes::from(vec![0; 100_000]);
        for offset in 1..100 {
            let (shard, stream, token) = (ShardId(1), Stream::Messages, Token::new(Epoch(1)));
            let tail = Tail { offset: Offset(offset), ..Tail::EMPTY };
            let expected = Tail { offset: Offset(offset - 1), ..Tail::EMPTY };
            retained.push(Batch { shard, stream, token, expected, tail, bytes: bytes.clone() });
        }
        assert!(retained.bytes <= RETAINED_BYTES_MAX && retained.batches.len() == 41, "{}", retained.batches.len());
        assert_eq!(retained.after(&Tail { offset: Offset(97), ..Tail::EMPTY }).map(|lost| lost.len()), Some(2));
        assert_eq!(retained.after(&Tail { offset: Offset(3), ..Tail::EMPTY }), None);
        retained.expire(Instant::now() + RETAINED_FOR);
        assert_eq!((retained.bytes, retained.batches.len()), (0, 0), "also when nothing comes any more");
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
        assert!(matches!(bench.appender.ended(end), Ended::Lost { doubted: true, .. }));
    }
}
