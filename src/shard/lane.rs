//! The append lane of a node: per place of the log (a Redis master; the embedded log has one) one cycle in flight, all its
//! shards' batches together. While it is away the next batches gather, so batching grows with load by itself. An in-doubt
//! batch is sent again, unchanged, in the next cycle, until there is a definite answer; the others do not wait for it, and
//! places do not wait for each other.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::ids::ShardId;
use crate::shard::log::record::Tail;
use crate::shard::log::{AppendError, AppendOutcome, Batch, ShardLog, Token};
use crate::telemetry;

/// Places with a loop of their own; further ones go with place 0. Far more than there are masters.
const PLACES_MAX: usize = 64;
/// Batches waiting for a cycle of one place. A stream has at most one batch here, so this is reached only with more than half as many
/// shards; then shards wait for room.
const QUEUE_MAX: usize = 4096;
/// First wait before an in-doubt batch is sent again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(250);

/// The definite end of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definite {
    /// In the log, at the commit level.
    Committed,
    /// Another token is current. `doubted`: an earlier attempt was in doubt, so the batch may stand in the log, written
    /// before the token changed; else it is surely not there.
    Fenced {
        /// The current token.
        current: Token,
        /// See above.
        doubted: bool,
    },
    /// The stream has another tail, under our own token.
    TailMismatch {
        /// The stream's tail.
        found: Tail,
    },
    /// Surely not in the log.
    NotWritten(String),
}

#[derive(Debug)]
struct Job {
    batch: Batch,
    answer: oneshot::Sender<Definite>,
    begun: Instant,
    doubted: bool,
}

/// How appends of a place stand: whether its last cycle had a definite answer for every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It had.
    Clear,
    /// It had not, for whatever reason; nor had those before it.
    InDoubt {
        /// End of the first such cycle.
        since: Instant,
    },
    /// As above, and all that is missing now is a second copy.
    NotReplicated {
        /// End of the first cycle that was not clear.
        since: Instant,
    },
}

/// The way to the lane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lane {
    log: Arc<dyn ShardLog>,
    places: Arc<Mutex<HashMap<u64, Place>>>,
}

/// The way to one place's loop.
#[derive(Debug, Clone)]
struct Place {
    queue: mpsc::Sender<Job>,
    standing: watch::Receiver<Standing>,
}

impl Lane {
    /// A lane to this log. Its loops start with the first batch of each place and end when every handle is dropped and
    /// nothing is in doubt.
    #[must_use]
    pub fn spawn(log: Arc<dyn ShardLog>) -> Self {
        Self { log, places: Arc::default() }
    }

    /// Queues a batch; the receiver gets its definite end. A stream must have one batch here at a time.
    ///
    /// When the queue is full the batch waits for room in a task of its own. Dropping the receiver does not undo the
    /// append.
    #[must_use]
    pub fn append(&self, batch: Batch) -> oneshot::Receiver<Definite> {
        let (answer, end) = oneshot::channel();
        let queue = self.place(batch.shard).queue;
        let job = Job { batch, answer, begun: Instant::now(), doubted: false };
        if let Err(error) = queue.try_send(job) {
            drop(tokio::spawn(async move { queue.send(error.into_inner()).await.ok() }));
        }
        end
    }

    /// How the place that a shard's batches go to stands now.
    #[must_use]
    pub fn standing(&self, shard: ShardId) -> Standing {
        *self.place(shard).standing.borrow()
    }

    /// The same, to wait for a change (`wait_for`). Whatever is not clear is tried again until it is, so it becomes clear
    /// by itself; ask again after that, for the shard may have got another place. Closed when the lane has ended.
    #[must_use]
    pub fn watch_standing(&self, shard: ShardId) -> watch::Receiver<Standing> {
        self.place(shard).standing
    }

    fn place(&self, shard: ShardId) -> Place {
        let wanted = self.log.place(shard);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let number = if places.len() < PLACES_MAX || places.contains_key(&wanted) { wanted } else { 0 };
        let place = places.entry(number).or_insert_with(|| {
            let (queue, jobs) = mpsc::channel(QUEUE_MAX);
            let (stands, standing) = watch::channel(Standing::Clear);
            drop(tokio::spawn(run(Arc::clone(&self.log), jobs, stands)));
            Place { queue, standing }
        });
        place.clone()
    }
}

async fn run(log: Arc<dyn ShardLog>, mut jobs: mpsc::Receiver<Job>, stands: watch::Sender<Standing>) {
    let mut doubtful: Vec<Job> = Vec::new();
    let (mut retry, mut due) = (RETRY_MIN, Instant::now());
    loop {
        let mut cycle: Vec<Job> = Vec::new();
        if doubtful.is_empty() {
            if jobs.recv_many(&mut cycle, QUEUE_MAX).await == 0 {
                return;
            }
        } else {
            // Fresh batches do not wait for the doubtful ones; these go again when their pause is over.
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => {}
                _ = jobs.recv_many(&mut cycle, QUEUE_MAX), if !jobs.is_closed() || !jobs.is_empty() => {}
            }
        }
        let again = doubtful.len();
        let is_retry = again > 0 && Instant::now() >= due;
        if is_retry {
            cycle.append(&mut doubtful);
            while let Ok(job) = jobs.try_recv() {
                cycle.push(job);
            }
        }
        // One batch of a stream at a time, also when the shard was lost and claimed again.
        let mut streams = HashSet::new();
        let (cycle, later): (Vec<Job>, Vec<Job>) =
            cycle.into_iter().partition(|job| streams.insert((job.batch.shard, job.batch.stream)));
        doubtful.extend(later);
        if cycle.is_empty() {
            continue;
        }
        let batches: Vec<Batch> = cycle.iter().map(|job| job.batch.clone()).collect();
        let results = log.append(&batches).await;
        let standing = stands.borrow().after(&results);
        doubtful.extend(cycle.into_iter().zip(results).filter_map(|(job, result)| settle(job, result)));
        stands.send_if_modified(|before| std::mem::replace(before, standing) != standing);
        if is_retry {
            retry = if doubtful.len() < again { RETRY_MIN } else { (retry * 2).min(RETRY_MAX) };
            due = Instant::now() + retry;
        } else if again == 0 {
            // The pause of what is in doubt since now.
            retry = RETRY_MIN;
            due = Instant::now() + retry;
        }
    }
}

impl Standing {
    /// The standing after a cycle with these results.
    fn after(self, results: &[Result<AppendOutcome, AppendError>]) -> Self {
        let open = |error: &&AppendError| match error {
            AppendError::InDoubt(_) | AppendError::NotReplicated(_) => true,
            // The log answers; that an earlier attempt at this batch is in doubt concerns its shard alone.
            AppendError::NotWritten(_) => false,
        };
        let open: Vec<&AppendError> = results.iter().filter_map(|result| result.as_ref().err()).filter(open).collect();
        let since = match self {
            Self::Clear => Instant::now(),
            Self::InDoubt { since } | Self::NotReplicated { since } => since,
        };
        if open.is_empty() {
            Self::Clear
        } else if open.iter().all(|error| matches!(error, AppendError::NotReplicated(_))) {
            Self::NotReplicated { since }
        } else {
            Self::InDoubt { since }
        }
    }
}

/// Answers a job that has its definite end; gives it back when it is in doubt.
fn settle(mut job: Job, result: Result<AppendOutcome, AppendError>) -> Option<Job> {
    let (word, definite) = match result {
        Ok(AppendOutcome::Appended) => ("appended", Definite::Committed),
        Ok(AppendOutcome::AlreadyDone) => ("already_done", Definite::Committed),
        Ok(AppendOutcome::Fenced { current }) => ("fenced", Definite::Fenced { current, doubted: job.doubted }),
        Ok(AppendOutcome::TailMismatch { found }) => ("tail_mismatch", Definite::TailMismatch { found }),
        // After an attempt in doubt, "not written" speaks of the last attempt alone.
        Err(AppendError::NotWritten(reason)) if !job.doubted => ("not_written", Definite::NotWritten(reason)),
        Err(error) => {
            let (shard, stream) = (job.batch.shard, job.batch.stream.as_str());
            if !job.doubted {
                tracing::warn!(%shard, stream, %error, "append has no definite answer; sending the batch again");
            }
            telemetry::APPEND_OUTCOMES.add(1, &[("outcome", "in_doubt")]);
            job.doubted = true;
            return Some(job);
        }
    };
    telemetry::APPEND_OUTCOMES.add(1, &[("outcome", word)]);
    telemetry::APPEND_SECONDS.record(job.begun.elapsed().as_secs_f64(), &[]);
    // The shard may be gone; then no one needs the answer.
    job.answer.send(definite).ok();
    None
}

/// The batches of a lane without loops, and where their ends are told.
#[cfg(test)]
#[derive(Debug)]
pub(in crate::shard) struct Loose(mpsc::Receiver<Job>);

#[cfg(test)]
impl Loose {
    /// The next batch that waits.
    pub(in crate::shard) fn next(&mut self) -> Option<(Batch, oneshot::Sender<Definite>)> {
        self.0.try_recv().ok().map(|job| (job.batch, job.answer))
    }
}

#[cfg(test)]
impl Lane {
    /// A lane without loops, of a log with one place: whoever holds the other end decides what becomes of a batch.
    pub(in crate::shard) fn loose(log: Arc<dyn ShardLog>) -> (Self, Loose) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (_, standing) = watch::channel(Standing::Clear);
        let places = HashMap::from([(0, Place { queue, standing })]);
        (Self { log, places: Arc::new(Mutex::new(places)) }, Loose(jobs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::ids::{Epoch, Offset, ShardId};
    use crate::shard::log::{Claim, ClaimOutcome, Control, LogError, RawEntry, Stream};

    type Answer = Result<AppendOutcome, AppendError>;

    /// Answers by a script per shard, then "appended"; remembers every cycle.
    #[derive(Debug, Default)]
    struct Scripted {
        script: Mutex<HashMap<ShardId, VecDeque<Answer>>>,
        cycles: Mutex<Vec<Vec<Batch>>>,
        places: bool,
    }

    impl Scripted {
        fn lane(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
            let script = script.into_iter().map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
            let log = Arc::new(Self { script: Mutex::new(script.collect()), ..Self::default() });
            let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
            (log, lane)
        }

        /// As [`Scripted::lane`], with as many places as there are shards; appends of shard 9 never end.
        fn lane_of_places(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
            let script = script.into_iter().map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
            let log = Self { script: Mutex::new(script.collect()), places: true, ..Self::default() };
            let log = Arc::new(log);
            let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
            (log, lane)
        }

        /// Every attempt for a shard.
        fn attempts(&self, shard: u16) -> Vec<Batch> {
            let cycles = self.cycles.lock().expect("whole");
            cycles.iter().flatten().filter(|batch| batch.shard == ShardId(shard)).cloned().collect()
        }
    }

    #[async_trait]
    impl ShardLog for Scripted {
        fn place(&self, shard: ShardId) -> u64 {
            if self.places { u64::from(shard.0) } else { 0 }
        }

        async fn control(&self, _: ShardId) -> Result<Option<Control>, LogError> {
            Ok(None)
        }

        async fn claim(&self, _: Claim) -> Result<ClaimOutcome, LogError> {
            Ok(ClaimOutcome::Refused(None))
        }

        async fn append(&self, cycle: &[Batch]) -> Vec<Answer> {
            self.cycles.lock().expect("whole").push(cycle.to_vec());
            if self.places && cycle.iter().any(|batch| batch.shard == ShardId(9)) {
                std::future::pending::<()>().await;
            }
            let mut script = self.script.lock().expect("whole");
            let next = |batch: &Batch| script.get_mut(&batch.shard).and_then(VecDeque::pop_front);
            cycle.iter().map(next).map(|answer| answer.unwrap_or(Ok(AppendOutcome::Appended))).collect()
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

    fn token(nonce: u64) -> Token {
        Token { epoch: Epoch(1), nonce }
    }

    fn batch(shard: u16) -> Batch {
        let tail = Tail { offset: Offset(1), ..Tail::EMPTY };
        let (shard, stream, expected) = (ShardId(shard), Stream::Messages, Tail::EMPTY);
        Batch { shard, stream, token: token(1), expected, tail, bytes: Bytes::from_static(b"entry") }
    }

    fn doubt() -> Answer {
        Err(AppendError::InDoubt("time-out".to_owned()))
    }

    fn not_written() -> Answer {
        Err(AppendError::NotWritten("full".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_in_doubt_is_sent_again_unchanged_until_the_answer_is_definite() {
        let unreplicated = Err(AppendError::NotReplicated("no copy".to_owned()));
        let script = vec![doubt(), doubt(), unreplicated, Ok(AppendOutcome::AlreadyDone)];
        let (log, lane) = Scripted::lane([(1, script)]);
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
        assert_eq!(log.attempts(1), vec![batch(1); 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn not_written_is_believed_only_when_nothing_was_in_doubt_before() {
        let (log, lane) = Scripted::lane([(1, vec![not_written()]), (2, vec![doubt(), not_written(), doubt()])]);
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::NotWritten("full".to_owned())));
        assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
        assert_eq!((log.attempts(1).len(), log.attempts(2).len()), (1, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_tells_whether_the_batch_may_stand_in_the_log() {
        let fenced = || Ok(AppendOutcome::Fenced { current: token(9) });
        let (_log, lane) = Scripted::lane([(1, vec![fenced()]), (2, vec![doubt(), fenced()])]);
        let definite = |doubted| Ok(Definite::Fenced { current: token(9), doubted });
        assert_eq!(lane.append(batch(1)).await, definite(false));
        assert_eq!(lane.append(batch(2)).await, definite(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tail_that_is_not_ours_is_reported() {
        let found = Tail { offset: Offset(5), ..Tail::EMPTY };
        let (_log, lane) = Scripted::lane([(1, vec![Ok(AppendOutcome::TailMismatch { found })])]);
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::TailMismatch { found }));
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_batches_do_not_wait_behind_a_doubtful_one() {
        let (log, lane) = Scripted::lane([(1, std::iter::repeat_with(doubt).take(12).collect())]);
        let mut doubtful = lane.append(batch(1));
        // Far into its pauses, which are as long as they get.
        while log.attempts(1).len() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "of a clock that moves only when all wait");
        assert!(doubtful.try_recv().is_err());
        assert_eq!(doubtful.await, Ok(Definite::Committed));
        assert_eq!(log.attempts(1).len(), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_grow_to_a_quarter_of_a_second_and_no_further() {
        let (_log, lane) = Scripted::lane([(1, std::iter::repeat_with(doubt).take(20).collect())]);
        let begun = Instant::now();
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cycle_never_has_two_batches_of_one_stream() {
        let (log, lane) = Scripted::lane([(1, vec![doubt()])]);
        // The second one is of whoever claimed the shard after it was lost here.
        let ends = [lane.append(batch(1)), lane.append(Batch { token: token(2), ..batch(1) }), lane.append(batch(2))];
        for end in ends {
            assert_eq!(end.await, Ok(Definite::Committed));
        }
        for cycle in log.cycles.lock().expect("whole").iter() {
            let mut streams: Vec<_> = cycle.iter().map(|batch| (batch.shard, batch.stream)).collect();
            streams.sort();
            streams.dedup();
            assert_eq!(streams.len(), cycle.len(), "{cycle:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_whose_shard_is_gone_is_still_brought_to_its_end_and_then_the_lane_ends() {
        let (log, lane) = Scripted::lane([(1, vec![doubt(), doubt()])]);
        drop(lane.append(batch(1)));
        drop(lane);
        while log.attempts(1).len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while Arc::strong_count(&log) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_do_not_wait_for_each_other() {
        let (_log, lane) = Scripted::lane_of_places([]);
        let mut never = lane.append(batch(9));
        for shard in [1, 2, 1] {
            assert_eq!(lane.append(batch(shard)).await, Ok(Definite::Committed));
        }
        assert!(never.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_beyond_the_bound_goes_with_the_first() {
        let (log, lane) = Scripted::lane_of_places([]);
        for shard in (0..9).chain(10..200) {
            assert_eq!(lane.append(batch(shard)).await, Ok(Definite::Committed));
        }
        assert_eq!(lane.places.lock().expect("whole").len(), PLACES_MAX);
        assert_eq!(log.cycles.lock().expect("whole").len(), 199);
        drop(lane);
        while Arc::strong_count(&log) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_standing_tells_since_when_and_why_and_becomes_clear_by_itself() {
        let short = || Err(AppendError::NotReplicated("no copy".to_owned()));
        let (_log, lane) = Scripted::lane_of_places([(1, vec![doubt(), doubt(), short(), short()])]);
        let mut standings = lane.watch_standing(ShardId(1));
        assert_eq!(*standings.borrow_and_update(), Standing::Clear);
        let end = lane.append(batch(1));
        standings.changed().await.expect("a lane");
        let Standing::InDoubt { since } = *standings.borrow_and_update() else { panic!("not in doubt") };
        standings.changed().await.expect("a lane");
        assert_eq!(lane.standing(ShardId(1)), Standing::NotReplicated { since });
        assert_eq!(lane.standing(ShardId(2)), Standing::Clear, "of another place");
        standings.wait_for(|standing| *standing == Standing::Clear).await.expect("a lane");
        assert_eq!(end.await, Ok(Definite::Committed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_refuses_is_no_reason_to_hold_the_others_back() {
        let refusals = std::iter::repeat_with(not_written).take(5);
        let (_log, lane) = Scripted::lane([(1, std::iter::once(doubt()).chain(refusals).collect())]);
        let mut standings = lane.watch_standing(ShardId(1));
        let mut end = lane.append(batch(1));
        standings.wait_for(|standing| *standing != Standing::Clear).await.expect("a lane");
        standings.wait_for(|standing| *standing == Standing::Clear).await.expect("a lane");
        assert!(end.try_recv().is_err(), "the batch itself stays in doubt");
        assert_eq!(end.await, Ok(Definite::Committed));
    }
}
