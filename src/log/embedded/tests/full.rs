//! Disks without space, and syncs that fail.

use super::*;

#[tokio::test]
async fn without_space_a_batch_is_surely_not_written_and_is_taken_when_there_is_some() {
    let one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    one.log.faults().set_no_space(true);
    let large = batch(SHARD, M, token, &Tail::EMPTY, (1, &"x".repeat(2_000_000)));
    for _ in 0..2 {
        let answer = one.append(&large).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Full {
                    in_doubt: false,
                    ..
                })
            ),
            "{answer:?}"
        );
    }
    assert_eq!(
        one.log.control(SHARD).await.unwrap().unwrap().tails[M],
        Tail::EMPTY
    );
    assert_eq!(
        one.log.renew(&[(SHARD, token)]).await,
        [Ok(true)],
        "what needs no further space goes on"
    );

    // The tail in memory did not move either: another batch goes to the same place.
    one.log.faults().set_no_space(false);
    let other = batch(SHARD, M, token, &Tail::EMPTY, (2, "y"));
    assert_eq!(one.append(&other).await, Ok(AppendOutcome::Appended));
}

#[tokio::test]
async fn without_space_for_another_segment_nothing_goes_to_the_former_one_any_more() {
    let mut one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let mut tail = one.fill((SHARD, token), Tail::EMPTY, (15, 1_000_000)).await;
    one.log.faults().set_no_space(true);
    let large = batch(SHARD, M, token, &tail, (1, &"x".repeat(1_900_000)));
    for next in [&large, &batch(SHARD, M, token, &tail, (1, "small"))] {
        let answer = one.append(next).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Full {
                    in_doubt: false,
                    ..
                })
            ),
            "{answer:?}"
        );
    }

    one.log.faults().set_no_space(false);
    tail = one.fill((SHARD, token), tail, (3, 1_000_000)).await;
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), tail);
}

#[tokio::test]
async fn a_sync_that_fails_is_in_doubt_and_so_is_every_answer_until_the_log_is_mended() {
    let mut one = embedded().await;
    let token = claimed(&*one.log, SHARD).await;
    let before = one.fill((SHARD, token), Tail::EMPTY, (2, 100)).await;
    one.log.faults().set_no_sync(true);
    let doubtful = batch(SHARD, M, token, &before, (1, "x"));
    // A stale token is no exception: who knows what is current.
    let fenced = Batch {
        token: Token {
            nonce: !token.nonce,
            ..token
        },
        ..doubtful.clone()
    };
    for sent in [&doubtful, &doubtful, &fenced] {
        let answer = one.append(sent).await;
        assert!(
            matches!(answer, Err(AppendError::Unanswered(_))),
            "{answer:?}"
        );
    }
    assert!(one.log.renew(&[(SHARD, token)]).await[0].is_err());
    assert!(one.log.trim(SHARD, token, M, Offset(1)).await.is_err());
    assert_eq!(
        one.log.control(SHARD).await.unwrap().unwrap().tails[M],
        before,
        "nobody sees what is in doubt"
    );

    one.log.faults().set_no_sync(false);
    let other = batch(SHARD, M, token, &before, (1, "not what was in doubt"));
    assert_eq!(
        one.append(&other).await,
        Ok(AppendOutcome::Appended),
        "what was in doubt was cut off"
    );
    assert_eq!(one.append(&other).await, Ok(AppendOutcome::AlreadyDone));
    one.reopen().await;
    assert_eq!(linked(&read_all(&*one.log, SHARD, M).await), other.tail);
}
