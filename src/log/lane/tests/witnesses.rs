//! Batches without a second copy, and the witnesses that hold them instead.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

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
