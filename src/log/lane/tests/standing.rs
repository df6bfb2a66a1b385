//! What the lane says of how it stands with the log: clear, in doubt, silent, or full.

use super::*;

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
