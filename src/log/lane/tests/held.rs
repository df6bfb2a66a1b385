//! Batches without an answer, whose shards are proven to be owned here or not. A log that is not
//! heard may have done each of the attempts.

use super::*;

const T: Duration = Duration::from_secs(3);

/// Long enough for many attempts.
const LONG: Duration = Duration::from_secs(20);

/// A lane to a log that answers the first attempts for shard 1 like this; and the way into it of a
/// shard with that lease.
struct Proven {
    log: Arc<Scripted>,
    lane: Lane,
    lease: Arc<Lease>,
    clock: Clock,
    way: Lane,
}

impl Proven {
    fn new(script: Vec<Answer>) -> Self {
        let (log, lane) = Scripted::lane([(1, script)]);
        let clock = Clock::manual(1_700_000_000_000);
        let lease = Arc::new(Lease::new(Some(T), clock.since_boot()));
        let way = lane.proven_by(Arc::clone(&lease), clock.clone());
        Self {
            log,
            lane,
            lease,
            clock,
            way,
        }
    }

    /// Waits until so many attempts for shard 1 were made.
    async fn attempted(&self, count: usize) {
        while self.log.attempts(1).len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn renewed(&self) {
        self.lease.prove(self.clock.since_boot());
    }
}

fn unheard() -> Vec<Answer> {
    std::iter::repeat_with(unanswered).take(1_000).collect()
}

// Interleavings 1 and 4 of docs/adr/0015-a-node-cut-off-from-the-log.md.
#[tokio::test(start_paused = true)]
async fn a_batch_without_an_answer_is_sent_again_only_under_a_lease_and_has_one_end() {
    let proven = Proven::new(unheard());
    let mut end = proven.way.append(batch(1));
    proven.attempted(3).await;
    proven.clock.pass(T);
    tokio::time::sleep(LONG).await;
    let before = proven.log.attempts(1);
    assert!(
        before.len() <= 4,
        "one may have been under way when the lease ended: {}",
        before.len()
    );
    assert!(end.try_recv().is_err(), "nobody knows what became of it");

    proven
        .log
        .script
        .lock()
        .expect("whole")
        .insert(ShardId(1), VecDeque::from([Ok(AppendOutcome::AlreadyDone)]));
    proven.renewed();
    assert_eq!(end.await, Ok(Definite::Committed));
    assert_eq!(
        proven.log.attempts(1),
        vec![batch(1); before.len() + 1],
        "the same, once"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_held_parks_no_other_shard_of_its_place() {
    let proven = Proven::new(unheard());
    let _end = proven.way.append(batch(1));
    proven.attempted(1).await;
    assert_ne!(proven.lane.standing(ShardId(2)), Standing::Clear);
    proven.clock.pass(T);
    until(&mut proven.lane.watch_standing(ShardId(2)), |standing| {
        standing == Standing::Clear
    })
    .await;
    assert_ne!(
        proven.lane.standing(ShardId(1)),
        Standing::Clear,
        "it is in doubt itself"
    );
    assert_eq!(proven.lane.append(batch(2)).await, Ok(Definite::Committed));
}

#[tokio::test(start_paused = true)]
async fn a_new_batch_is_not_sent_without_a_lease_to_a_place_that_was_silent_last() {
    let proven = Proven::new(unheard());
    let ended = Arc::new(Lease::new(Some(T), proven.clock.since_boot()));
    proven.clock.pass(T);
    proven.renewed();

    let new = proven.lane.proven_by(ended, proven.clock.clone());
    assert_eq!(
        new.append(batch(2)).await,
        Ok(Definite::Committed),
        "nothing was silent"
    );

    let _end = proven.way.append(batch(1));
    proven.attempted(1).await;

    let mut end = new.append(batch(3));
    proven.attempted(20).await;
    assert!(proven.log.attempts(3).is_empty() && end.try_recv().is_err());

    proven.log.script.lock().expect("whole").clear();
    assert_eq!(
        end.await,
        Ok(Definite::Committed),
        "another shard found that the place answers"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_or_is_lost_or_of_nobody_is_sent_again_without_a_lease() {
    let short = || Err(AppendError::NotReplicated("no copy".to_owned()));
    let proven = Proven::new(std::iter::repeat_with(short).take(9).collect());
    proven.clock.pass(T);
    assert_eq!(
        proven.way.append(batch(1)).await,
        Ok(Definite::Committed),
        "it lacked a copy, and the log said so"
    );

    let fenced = || {
        vec![
            unanswered(),
            Ok(AppendOutcome::Fenced { current: token(9) }),
        ]
    };
    for is_lost in [true, false] {
        let unheard = Proven::new(fenced());
        unheard.clock.pass(T);
        let end = unheard.way.append(batch(1));
        unheard.attempted(1).await;
        tokio::time::sleep(LONG).await;
        assert_eq!(unheard.log.attempts(1).len(), 1);
        if is_lost {
            unheard.lease.lose();
            assert_eq!(
                end.await,
                Ok(Definite::Fenced {
                    current: token(9),
                    doubted: true
                })
            );
        } else {
            drop(end);
            unheard.attempted(2).await;
        }
    }
}
