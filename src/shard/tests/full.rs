//! A log, or a file, without space: what is refused at once, what is still taken, and what ends it.

use super::*;

async fn settled() -> Bench {
    let bench = Bench::with(config()).await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}

/// The refusal that tells of no space, if it is one.
fn no_space(outcome: &Result<Done, ShardError>) -> bool {
    let Err(ShardError::Problem(problem)) = outcome else {
        return false;
    };
    let is_told = problem.code == Code::Unavailable && problem.retry_after_s() == Some(5);
    is_told && problem.detail.contains("no space")
}

/// Sends until one is taken, each for itself; all others are refused for want of space.
async fn taken_again(bench: &Bench) {
    in_time(async {
        loop {
            let outcome = bench.execute(send("c", "alice", "again")).await;
            if outcome.is_ok() {
                return;
            }
            assert!(no_space(&outcome), "{outcome:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_without_asking_a_log_that_has_no_space_until_it_has_some() {
    let bench = settled().await;
    bench.log.always(Some(Fault::Full));
    let (before, begun) = (bench.log.attempts_of(M), Instant::now());
    for number in 0..100 {
        let outcome = in_time(bench.execute(send("c", "alice", &format!("never {number}")))).await;
        assert!(no_space(&outcome), "{outcome:?}");
    }
    // The first one, and one a second to look.
    let (attempts, most) = (
        bench.log.attempts_of(M) - before,
        2 + begun.elapsed().as_secs(),
    );
    assert!((1..=most).contains(&attempts), "{attempts} attempts");
    // What needs no space goes on.
    assert_eq!(bench.texts("c", "bob").await, ["first"]);
    assert!(no_space(
        &in_time(bench.execute(create("d", &["dave"]))).await
    ));

    bench.log.always(None);
    taken_again(&bench).await;
    bench.send("c", "bob", "at once").await;
    assert_eq!(bench.texts("c", "bob").await, ["first", "again", "at once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_doubt_for_want_of_space_is_the_look_and_nothing_else_is_sent() {
    let bench = settled().await;
    bench.log.always(Some(Fault::DoubtFull));
    let before = bench.log.attempts_of(M);
    let doubted = tokio::spawn(bench.execute(send_key("c", "alice", "doubted", "key")));
    bench.log.attempted(M, before + 1).await;
    in_time(async {
        while !bench.lane.watch_standing(SHARD).is_full() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    // Also a second and more later, when a look would be due.
    bench.log.attempted(M, before + 3).await;
    for _ in 0..20 {
        let outcome = in_time(bench.execute(send("c", "alice", "never"))).await;
        assert!(no_space(&outcome), "{outcome:?}");
    }

    bench.log.always(None);
    assert_eq!(
        sent(in_time(doubted).await.expect("runs")).core.text,
        "doubted"
    );
    taken_again(&bench).await;
    assert_eq!(bench.texts("c", "bob").await, ["first", "doubted", "again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_space_refuses_nothing_that_the_log_can_take() {
    let bench = settled().await;
    let store = bench.handle().0.store.clone();
    store.execute("PRAGMA max_page_count = 1").await;

    let long = "x".repeat(16_000);
    in_time(async {
        while !store.is_full() {
            bench.send("c", "alice", &long).await;
        }
    })
    .await;

    bench.send("c", "alice", "taken").await;
    assert_eq!(
        bench.texts("c", "bob").await.last().map(String::as_str),
        Some("taken")
    );

    store.execute("PRAGMA max_page_count = 1000000").await;
    bench.applied().await;
    assert!(!store.is_full());
}
