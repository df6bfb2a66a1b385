//! What a lane makes of a log that answers by a script.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::ids::{Epoch, Offset, ShardId};
use crate::log::Stream;
use crate::log::double::Double;

mod held;

type Answer = Result<AppendOutcome, AppendError>;

/// Answers by a script per shard, then "appended"; remembers every cycle.
#[derive(Debug, Default)]
struct Scripted {
    script: Mutex<HashMap<ShardId, VecDeque<Answer>>>,
    cycles: Mutex<Vec<Vec<Batch>>>,
    places: bool,
    /// Shards that have moved to the place of this one.
    moved: Mutex<HashMap<ShardId, ShardId>>,
}

impl Scripted {
    fn lane(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
        let script = script
            .into_iter()
            .map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
        let log = Arc::new(Self {
            script: Mutex::new(script.collect()),
            ..Self::default()
        });
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        (log, lane)
    }

    /// As [`Scripted::lane`], with as many places as there are shards; appends of shard 9 never
    /// end.
    fn lane_of_places(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
        let script = script
            .into_iter()
            .map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
        let log = Self {
            script: Mutex::new(script.collect()),
            places: true,
            ..Self::default()
        };
        let log = Arc::new(log);
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        (log, lane)
    }

    /// Every attempt for a shard.
    fn attempts(&self, shard: u16) -> Vec<Batch> {
        let cycles = self.cycles.lock().expect("whole");
        cycles
            .iter()
            .flatten()
            .filter(|batch| batch.shard == ShardId(shard))
            .cloned()
            .collect()
    }
}

#[async_trait]
impl Double for Scripted {
    fn place(&self, shard: ShardId) -> u64 {
        let shard = self
            .moved
            .lock()
            .expect("whole")
            .get(&shard)
            .copied()
            .unwrap_or(shard);
        if self.places { u64::from(shard.0) } else { 0 }
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Answer> {
        self.cycles.lock().expect("whole").push(cycle.to_vec());
        if self.places && cycle.iter().any(|batch| batch.shard == ShardId(9)) {
            std::future::pending::<()>().await;
        }
        let mut script = self.script.lock().expect("whole");
        let next = |batch: &Batch| script.get_mut(&batch.shard).and_then(VecDeque::pop_front);
        cycle
            .iter()
            .map(next)
            .map(|answer| answer.unwrap_or(Ok(AppendOutcome::Appended)))
            .collect()
    }
}

fn token(nonce: u64) -> Token {
    Token {
        epoch: Epoch(1),
        nonce,
    }
}

fn batch(shard: u16) -> Batch {
    let tail = Tail {
        offset: Offset(1),
        ..Tail::EMPTY
    };
    let (shard, stream, expected) = (ShardId(shard), Stream::Messages, Tail::EMPTY);
    Batch {
        shard,
        stream,
        token: token(1),
        expected,
        tail,
        bytes: Bytes::from_static(b"entry"),
    }
}

fn doubt() -> Answer {
    Err(AppendError::InDoubt("split".to_owned()))
}

fn unanswered() -> Answer {
    Err(AppendError::Unanswered("time-out".to_owned()))
}

fn not_written() -> Answer {
    Err(AppendError::NotWritten("full".to_owned()))
}

async fn until(standings: &mut Standings, holds: impl Fn(Standing) -> bool) {
    while !holds(standings.now()) {
        standings.changed().await.expect("a lane");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_is_sent_again_unchanged_until_the_answer_is_definite() {
    let unreplicated = Err(AppendError::NotReplicated("no copy".to_owned()));
    let script = vec![
        doubt(),
        doubt(),
        unreplicated,
        Ok(AppendOutcome::AlreadyDone),
    ];
    let (log, lane) = Scripted::lane([(1, script)]);
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    assert_eq!(log.attempts(1), vec![batch(1); 4]);
}

#[tokio::test(start_paused = true)]
async fn not_written_is_believed_only_when_nothing_was_in_doubt_before() {
    let (log, lane) = Scripted::lane([
        (1, vec![not_written()]),
        (2, vec![doubt(), not_written(), doubt()]),
    ]);
    assert_eq!(
        lane.append(batch(1)).await,
        Ok(Definite::NotWritten("full".to_owned()))
    );
    assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
    assert_eq!((log.attempts(1).len(), log.attempts(2).len()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_fence_tells_whether_the_batch_may_stand_in_the_log() {
    let fenced = || Ok(AppendOutcome::Fenced { current: token(9) });
    let (_log, lane) = Scripted::lane([(1, vec![fenced()]), (2, vec![doubt(), fenced()])]);
    let definite = |doubted| {
        Ok(Definite::Fenced {
            current: token(9),
            doubted,
        })
    };
    assert_eq!(lane.append(batch(1)).await, definite(false));
    assert_eq!(lane.append(batch(2)).await, definite(true));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_is_not_ours_is_reported() {
    let found = Tail {
        offset: Offset(5),
        ..Tail::EMPTY
    };
    let (_log, lane) = Scripted::lane([(1, vec![Ok(AppendOutcome::TailMismatch { found })])]);
    assert_eq!(
        lane.append(batch(1)).await,
        Ok(Definite::TailMismatch { found })
    );
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
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "of a clock that moves only when all wait"
    );
    assert!(doubtful.try_recv().is_err());
    assert_eq!(doubtful.await, Ok(Definite::Committed));
    assert_eq!(log.attempts(1).len(), 13);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_grow_to_a_tenth_of_a_second_and_no_further() {
    let (_log, lane) = Scripted::lane([(1, std::iter::repeat_with(doubt).take(20).collect())]);
    let begun = Instant::now();
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(1_500) && took < Duration::from_millis(2_500),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cycle_never_has_two_batches_of_one_stream() {
    let (log, lane) = Scripted::lane([(1, vec![doubt()])]);
    // The second one is of whoever claimed the shard after it was lost here.
    let ends = [
        lane.append(batch(1)),
        lane.append(Batch {
            token: token(2),
            ..batch(1)
        }),
        lane.append(batch(2)),
    ];
    for end in ends {
        assert_eq!(end.await, Ok(Definite::Committed));
    }
    for cycle in log.cycles.lock().expect("whole").iter() {
        let mut streams: Vec<_> = cycle
            .iter()
            .map(|batch| (batch.shard, batch.stream))
            .collect();
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
async fn a_batch_in_doubt_goes_with_its_shard_to_another_place_and_holds_up_none_of_the_old_one() {
    let (log, lane) = Scripted::lane_of_places([(1, vec![doubt(), doubt()])]);
    let end = lane.append(batch(1));
    let mut standings = lane.watch_standing(ShardId(1));
    until(&mut standings, |standing| standing != Standing::Clear).await;
    // A place whose cycles never end: the batch waits there, and not in a cycle of its old place.
    let stuck = lane.append(batch(9));
    tokio::task::yield_now().await;
    log.moved
        .lock()
        .expect("whole")
        .insert(ShardId(1), ShardId(9));
    until(&mut standings, |standing| standing == Standing::Clear).await;
    log.moved
        .lock()
        .expect("whole")
        .insert(ShardId(2), ShardId(1));
    for _ in 0..3 {
        assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
    }
    assert!(
        log.cycles
            .lock()
            .expect("whole")
            .iter()
            .all(|cycle| cycle.len() == 1),
        "each in a cycle of its own"
    );
    drop((end, stuck));
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_whose_shard_has_another_place_is_settled_there() {
    let (log, lane) = Scripted::lane_of_places([(1, vec![doubt(), doubt()])]);
    let end = lane.append(batch(1));
    let mut before = lane.watch_standing(ShardId(1));
    until(&mut before, |standing| standing != Standing::Clear).await;
    log.moved
        .lock()
        .expect("whole")
        .insert(ShardId(1), ShardId(2));
    assert_eq!(end.await, Ok(Definite::Committed));
    assert_eq!(log.attempts(1).len(), 3);
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
    assert_eq!(standings.now(), Standing::Clear);
    let end = lane.append(batch(1));
    standings.changed().await.expect("a lane");
    let Standing::InDoubt { since } = standings.now() else {
        panic!("not in doubt")
    };
    standings.changed().await.expect("a lane");
    assert_eq!(lane.standing(ShardId(1)), Standing::NotReplicated { since });
    assert_eq!(
        lane.standing(ShardId(2)),
        Standing::Clear,
        "of another place"
    );
    until(&mut standings, |standing| standing == Standing::Clear).await;
    assert_eq!(end.await, Ok(Definite::Committed));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_refuses_is_no_reason_to_hold_the_others_back() {
    let refusals = std::iter::repeat_with(not_written).take(5);
    let (_log, lane) =
        Scripted::lane([(1, std::iter::once(unanswered()).chain(refusals).collect())]);
    let mut standings = lane.watch_standing(ShardId(2));
    let mut end = lane.append(batch(1));
    until(&mut standings, |standing| standing != Standing::Clear).await;
    until(&mut standings, |standing| standing == Standing::Clear).await;
    assert!(end.try_recv().is_err(), "the batch itself stays in doubt");
    assert_eq!(end.await, Ok(Definite::Committed));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_for_one_shard_is_so_for_it_alone_and_silence_for_all_of_its_place() {
    let (_log, lane) = Scripted::lane([(1, vec![doubt(), doubt(), unanswered()])]);
    let mut standings = lane.watch_standing(ShardId(1));
    let end = lane.append(batch(1));
    until(&mut standings, |standing| standing != Standing::Clear).await;
    let Standing::InDoubt { since } = standings.now() else {
        panic!("not in doubt")
    };
    assert_eq!(lane.standing(ShardId(2)), Standing::Clear);
    // Others that are written do not make it clear for this one.
    assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
    assert_eq!(standings.now(), Standing::InDoubt { since });
    let mut other = lane.watch_standing(ShardId(2));
    until(&mut other, |standing| {
        matches!(standing, Standing::InDoubt { .. })
    })
    .await;
    until(&mut other, |standing| standing == Standing::Clear).await;
    until(&mut standings, |standing| standing == Standing::Clear).await;
    assert_eq!(end.await, Ok(Definite::Committed));
}

#[tokio::test(start_paused = true)]
async fn one_batch_without_an_answer_beside_others_that_have_one_says_nothing_about_the_place() {
    let (_log, lane) = Scripted::lane([(1, std::iter::repeat_with(unanswered).take(3).collect())]);
    let ends = [1, 2].map(|shard| lane.append(batch(shard)));
    let mut standings = lane.watch_standing(ShardId(1));
    until(&mut standings, |standing| standing != Standing::Clear).await;
    assert_eq!(lane.standing(ShardId(2)), Standing::Clear);
    for end in ends {
        assert_eq!(end.await, Ok(Definite::Committed));
    }
}

fn short() -> Answer {
    Err(AppendError::NotReplicated("no copy".to_owned()))
}

/// Witnesses that answer by a script, after a while; remember what they were asked.
#[derive(Debug)]
struct Standbys {
    answers: Mutex<VecDeque<bool>>,
    in_sync: AtomicBool,
    asked: Mutex<Vec<(Stream, Tail)>>,
    takes: Duration,
    at_once: AtomicBool,
}

impl Standbys {
    /// Answers these, the last one again and again.
    fn saying(answers: &[bool]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        let in_sync = AtomicBool::new(true);
        let (asked, at_once) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self {
            answers,
            in_sync,
            asked,
            takes: Duration::from_millis(100),
            at_once,
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("whole").len()
    }
}

#[async_trait]
impl Witnesses for Standbys {
    fn any(&self) -> bool {
        self.in_sync.load(Ordering::SeqCst)
    }

    fn at_once(&self) -> bool {
        self.at_once.load(Ordering::SeqCst)
    }

    async fn hold(&self, stream: Stream, tail: Tail, _: std::time::Instant) -> bool {
        self.asked.lock().expect("whole").push((stream, tail));
        tokio::time::sleep(self.takes).await;
        let mut answers = self.answers.lock().expect("whole");
        if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().copied()
        }
        .expect("an answer")
    }
}

fn never_copied(shards: &[u16]) -> (Arc<Scripted>, Lane) {
    Scripted::lane(
        shards
            .iter()
            .map(|&shard| (shard, std::iter::repeat_with(short).take(10_000).collect())),
    )
}

#[tokio::test(start_paused = true)]
async fn what_lacks_only_a_second_copy_for_a_second_is_committed_when_its_witnesses_hold_it() {
    let (_log, lane) = never_copied(&[1]);
    let standbys = Standbys::saying(&[true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    let begun = Instant::now();
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_millis(1400),
        "{took:?}"
    );
    assert_eq!(
        *standbys.asked.lock().expect("whole"),
        [(Stream::Messages, batch(1).tail)]
    );
    assert_eq!(lane.standing(ShardId(1)), Standing::Clear);
    // The log has made no copy since: the next one is put to them at once.
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
        assert!(
            asked.elapsed() < Duration::from_millis(500),
            "{:?}",
            asked.elapsed()
        );
    }
    assert_eq!(standbys.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn while_its_witnesses_confirm_a_shard_stands_clear_and_the_others_of_the_place_do_not() {
    let (_log, lane) = never_copied(&[1, 2]);
    let standbys = Standbys::saying(&[true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    let alone = lane.append(batch(2));
    let mut standings = lane.watch_standing(ShardId(2));
    until(&mut standings, |standing| standing != Standing::Clear).await;
    for _ in 0..5 {
        assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
        assert_eq!(lane.standing(ShardId(1)), Standing::Clear);
        assert!(matches!(
            lane.standing(ShardId(2)),
            Standing::NotReplicated { .. }
        ));
    }
    assert_eq!(
        lane.standing(ShardId(3)),
        lane.standing(ShardId(2)),
        "who has no witnesses is not told otherwise"
    );
    drop(alone);
}

#[tokio::test(start_paused = true)]
async fn when_all_is_committed_by_witnesses_the_place_is_clear_for_those_without() {
    let (_log, lane) = never_copied(&[1]);
    let standbys = Standbys::saying(&[true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    // Nothing is tried again that would tell them when the log makes copies again.
    let mut standings = lane.watch_standing(ShardId(2));
    until(&mut standings, |standing| standing == Standing::Clear).await;
}

#[tokio::test(start_paused = true)]
async fn witnesses_that_do_not_hold_it_leave_it_not_replicated_until_they_do() {
    let (_log, lane) = never_copied(&[1]);
    let standbys = Standbys::saying(&[false, false, false, true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    let mut end = lane.append(batch(1));
    let mut standings = lane.watch_standing(ShardId(1));
    until(&mut standings, |standing| {
        matches!(standing, Standing::NotReplicated { .. })
    })
    .await;
    assert!(standbys.asked() > 0 && end.try_recv().is_err());
    assert_eq!(end.await, Ok(Definite::Committed));
    assert_eq!(standbys.asked(), 4);
    until(&mut standings, |standing| standing == Standing::Clear).await;
}

#[tokio::test(start_paused = true)]
async fn without_anyone_in_sync_nothing_is_committed_before_the_log_makes_a_copy() {
    let copied = std::iter::repeat_with(short)
        .take(20)
        .chain([Ok(AppendOutcome::AlreadyDone)]);
    let (log, lane) = Scripted::lane([(1, copied.collect())]);
    let standbys = Standbys::saying(&[true]);
    standbys.in_sync.store(false, Ordering::SeqCst);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    let end = lane.append(batch(1));
    let mut standings = lane.watch_standing(ShardId(1));
    until(&mut standings, |standing| {
        matches!(standing, Standing::NotReplicated { .. })
    })
    .await;
    assert_eq!(end.await, Ok(Definite::Committed));
    assert_eq!((standbys.asked(), log.attempts(1).len()), (0, 21));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_otherwise_is_never_put_to_witnesses() {
    let (_log, lane) = Scripted::lane([(1, std::iter::repeat_with(doubt).take(40).collect())]);
    let standbys = Standbys::saying(&[true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    assert_eq!(standbys.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn for_a_shard_that_is_being_taken_over_witnesses_are_asked_at_once_and_then_for_all_of_its_place()
 {
    let (_log, lane) = never_copied(&[1, 2]);
    let (taking, other) = (Standbys::saying(&[true]), Standbys::saying(&[true]));
    taking.at_once.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    for (shard, standbys) in [(1, &taking), (2, &other)] {
        let _witnessed =
            lane.witnessed_by(ShardId(shard), Arc::clone(standbys) as Arc<dyn Witnesses>);
        assert_eq!(lane.append(batch(shard)).await, Ok(Definite::Committed));
    }
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_without_any_answer_counts_too_for_a_place_that_answers_again_without_a_copy() {
    let promoted = std::iter::repeat_with(unanswered)
        .take(30)
        .chain(std::iter::repeat_with(short).take(3));
    let (log, lane) = Scripted::lane([(1, promoted.collect())]);
    let standbys = Standbys::saying(&[true]);
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    assert_eq!(standbys.asked(), 1);
    assert!(log.attempts(1).len() <= 33, "at the first answer");
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_comes_while_witnesses_are_asked_is_a_fence() {
    let fenced = std::iter::repeat_with(short)
        .take(15)
        .chain([Ok(AppendOutcome::Fenced { current: token(9) })]);
    let (_log, lane) = Scripted::lane([(1, fenced.collect())]);
    let standbys = Arc::new(Standbys {
        takes: Duration::from_secs(1),
        answers: Mutex::new([true].into()),
        in_sync: AtomicBool::new(true),
        asked: Mutex::default(),
        at_once: AtomicBool::new(false),
    });
    let _witnessed = lane.witnessed_by(ShardId(1), Arc::clone(&standbys) as Arc<dyn Witnesses>);
    let end = lane.append(batch(1)).await;
    assert_eq!(
        end,
        Ok(Definite::Fenced {
            current: token(9),
            doubted: true
        })
    );
    assert_eq!(standbys.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn witnesses_of_a_shard_that_ended_are_not_asked_and_those_of_its_next_opening_are() {
    let (_log, lane) = never_copied(&[1]);
    let (old, new) = (Standbys::saying(&[true]), Standbys::saying(&[true]));
    let first = lane.witnessed_by(ShardId(1), Arc::clone(&old) as Arc<dyn Witnesses>);
    let second = lane.witnessed_by(ShardId(1), Arc::clone(&new) as Arc<dyn Witnesses>);
    drop(first);
    assert_eq!(lane.append(batch(1)).await, Ok(Definite::Committed));
    assert_eq!((old.asked(), new.asked()), (0, 1));
    drop(second);
    let mut end = lane.append(batch(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(end.try_recv().is_err());
}

fn full(in_doubt: bool) -> Answer {
    Err(AppendError::Full {
        reason: "no space".to_owned(),
        in_doubt,
    })
}

#[tokio::test(start_paused = true)]
async fn a_log_without_space_is_asked_once_a_second_and_has_some_again_when_a_batch_is_written() {
    let (_, lane) = Scripted::lane([(1, vec![full(false), full(false)])]);
    let standings = lane.watch_standing(ShardId(2));
    assert!(!standings.is_full() && !standings.refuses());
    assert_eq!(
        lane.append(batch(1)).await,
        Ok(Definite::NotWritten("no space".to_owned()))
    );
    for _ in 0..2 {
        assert!(
            standings.is_full() && standings.refuses(),
            "of every shard of that place"
        );
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(!standings.refuses(), "one is let through");
        assert!(standings.refuses(), "and no other");
        drop(lane.append(batch(1)).await);
    }
    assert!(!standings.is_full() && !standings.refuses());
}

#[tokio::test(start_paused = true)]
async fn a_small_batch_that_finds_a_place_does_not_end_what_a_large_one_has_just_met() {
    let (_, lane) = Scripted::lane([(1, vec![full(false)])]);
    let standings = lane.watch_standing(ShardId(1));
    drop(lane.append(batch(1)).await);
    assert_eq!(lane.append(batch(2)).await, Ok(Definite::Committed));
    assert!(standings.is_full());
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_for_want_of_space_is_sent_again_once_a_second_and_no_other_is_let_through()
 {
    let (log, lane) = Scripted::lane([(1, vec![full(true), full(true), full(false)])]);
    let standings = lane.watch_standing(ShardId(2));
    let (begun, end) = (Instant::now(), lane.append(batch(1)));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(log.attempts(1).len(), 3);
    assert!(
        standings.is_full() && standings.refuses(),
        "that it is not written now says nothing of the attempts before"
    );
    assert_eq!(end.await, Ok(Definite::Committed));
    assert!(begun.elapsed() >= Duration::from_secs(3) && !standings.is_full());
}
