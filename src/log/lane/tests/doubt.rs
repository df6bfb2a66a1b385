//! Batches in doubt: they are sent again unchanged until their outcome is known.

use super::*;

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
