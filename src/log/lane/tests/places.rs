//! The places of a log: each has its own cycles, and shards move between them.

use super::*;

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
    assert_eq!(lane.places.count(), PLACES_MAX);
    assert_eq!(log.cycles.lock().expect("whole").len(), 199);
    drop(lane);
    while Arc::strong_count(&log) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
