//! A log that is not what it was, and a file that is damaged.

use super::*;
use crate::shard::{OpenError, Taking};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_falls_back_leaves_a_standby_ahead_and_following() {
    let mut bench = talkative().await;
    let follower = bench.follower("node-b").await;
    let (tails, had) = (bench.tails(), bench.raws().await);
    follower.reaches(tails).await;

    let store = in_time(follower.standby.digest()).await.expect("reads");
    drop(follower);
    bench.handle().close(soon()).await;
    bench
        .put_log(
            "fallen.db",
            1,
            PerStream {
                messages: &had.messages[..had.messages.len() - 3],
                receipts: &had.receipts[..1],
            },
        )
        .await;
    let follower = bench.follower("node-b").await;

    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(follower.standby.status().following, Following::Live);
    assert_eq!(follower.standby.status().applied, tails);
    assert_eq!(follower.standby.digest().await.expect("reads"), store);

    // The log gets its entries back, and goes on.
    bench.pump.abort();
    bench.reopen().await;
    bench.fill(5, 2).await;
    follower.reaches(bench.tails()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_on_otherwise_makes_a_standby_diverged() {
    for (shorter, records) in [(1, 1), (3, 1), (3, 50)] {
        let mut bench = talkative().await;
        let follower = bench.follower("node-b").await;
        let had = bench.raws().await;
        follower.reaches(bench.tails()).await;
        drop(follower);
        bench.handle().close(soon()).await;
        let mut other = had.messages[..had.messages.len() - shorter].to_vec();
        let end = Header::read(&other.last().expect("some").bytes)
            .expect("an entry")
            .tail();
        // To where the file has an entry's end, to where it has none, or beyond it.
        other.push(stranger(end, records));
        bench
            .put_log(
                "other.db",
                1,
                PerStream {
                    messages: &other,
                    receipts: &had.receipts,
                },
            )
            .await;
        let follower = bench.follower("node-b").await;
        let why = ended(&follower).await;
        assert!(matches!(why, Following::Diverged(_)), "{why:?}");
        assert_eq!(follower.standby.status().following, why);
        assert!(
            !follower.standby.holds(M, end, shortly()).await,
            "it confirms nothing"
        );
        assert!(
            follower
                .standby
                .entries_after(M, Tail::EMPTY, 1)
                .await
                .expect("reads")
                .is_empty(),
            "and gives nothing"
        );
        let taking = Taking {
            expected: (Token::new(Epoch(1)), 1),
        };
        let refused = in_time(follower.standby.clone().take_over(taking))
            .await
            .expect_err("not fit");
        assert!(matches!(refused, OpenError::Diverged(_)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_trimmed_beyond_a_standby_leaves_it_behind() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;
    follower.standby.close(soon()).await;
    drop(follower);
    bench.fill(5, 3).await;

    let (_, token) = bench.handle().hold();
    // All of it, or all but the last: either way there is a hole.
    let last = bench.tails().messages.offset;
    bench
        .log
        .inner
        .trim(SHARD, token, M, Offset(last.0 - 1))
        .await
        .expect("trims");
    let follower = bench.follower("node-b").await;

    assert_eq!(ended(&follower).await, Following::Behind);
    drop(follower);
    bench
        .log
        .inner
        .trim(SHARD, token, M, last)
        .await
        .expect("trims");
    let follower = bench.follower("node-b").await;
    assert_eq!(ended(&follower).await, Following::Behind);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_told_and_not_an_error() {
    let bench = talkative().await;
    let follower = bench.follower("node-b").await;
    follower.reaches(bench.tails()).await;

    let path = follower.standby.path();
    follower.standby.close(soon()).await;
    drop(follower);

    let clean = std::fs::read(&path).expect("reads");
    std::fs::write(&path, vec![0x5a; clean.len()]).expect("writes");

    let damaged = bench.follower("node-b").await;
    assert!(matches!(ended(&damaged).await, Following::Damaged(_)));
    assert!(matches!(
        damaged.standby.status().following,
        Following::Damaged(_)
    ));
    assert!(damaged.standby.digest().await.is_err());

    let taking = Taking {
        expected: (bench.handle().hold().1, 0),
    };
    let refused = in_time(damaged.standby.clone().take_over(taking))
        .await
        .expect_err("not fit");
    assert!(matches!(refused, OpenError::Damaged(_)), "{refused:?}");
}
