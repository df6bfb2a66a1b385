//! What becomes of a step when settings change, when the owner ends in the middle, and where not
//! every node knows it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_nothing_behind() {
    let (mut bench, old) = bench(config()).await;
    let flying: Vec<_> = (0..1_500)
        .map(|number| bench.execute(send("c", "alice", &format!("{number}"))))
        .collect();
    for answer in flying {
        sent(in_time(answer).await);
    }
    bench.clock.pass(HOUR);
    assert!(in_time(bench.execute(keep(Some(60)))).await.is_ok());
    for _ in 0..6 {
        bench.crash().await;
        let first = bench.first_seq().await;
        assert!([1, 1_001, 1_506].contains(&first), "{first}");
    }
    bench.begins_at(1_506).await;
    bench.nothing_differs().await;
    let told = code(in_time(bench.execute(react(&old, "bob", Some(7)))).await);
    assert_eq!(told, Code::MessageUnknown);
    let rows = bench.handle().0.store.rows_of("c").await;
    let tables: Vec<_> = rows.iter().map(|(table, _)| *table).collect();
    assert_eq!(
        tables,
        ["events", "participants", "watermarks", "message_keys"],
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_for_longer_by_an_acknowledged_change_stays_though_the_file_lags() {
    let (bench, _) = bench(config()).await;
    assert!(in_time(bench.execute(keep(Some(7_200)))).await.is_ok());
    bench.applied().await;
    // The file goes on saying what it said before; the head knows better.
    bench.log.stall_reads(true);
    assert!(in_time(bench.execute(keep(None))).await.is_ok());
    bench.clock.pass(HOUR * 2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.log.stall_reads(false);
    bench.applied().await;
    bench.send("c", "alice", "goes on").await;
    assert_eq!(bench.first_seq().await, 1);
    assert_eq!(bench.texts("c", "bob").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_the_log_refuses_is_taken_again() {
    let (bench, _) = bench(config()).await;
    assert!(in_time(bench.execute(keep(Some(1_800)))).await.is_ok());
    bench.log.fault(R, &[Fault::NotWritten]);
    bench.log.fault(M, &[Fault::NotWritten]);
    bench.begins_at(4).await;
    bench.nothing_differs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_and_no_retention_is_set_before_every_node_knows_it() {
    let common = Common::reading(4);
    let agreed = Arc::clone(&common.agreed);
    let (bench, _) = bench(Config {
        common,
        ..kept_for(Some(60))
    })
    .await;
    let Err(ShardError::Problem(problem)) = in_time(bench.execute(keep(Some(60)))).await else {
        panic!("written")
    };
    assert_eq!(problem.code, Code::Unavailable);
    assert!(
        problem.retry_after_s() > Some(1),
        "no router tries again meanwhile"
    );
    assert_eq!(bench.texts("c", "bob").await.len(), 4);

    agreed.note_records(RECORDS_VERSION);
    bench.begins_at(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_ahead_lets_nothing_go_early() {
    let (bench, _) = bench(kept_for(Some(7_200))).await;
    let now = bench.clock.now_ms();
    bench.clock.set(now + 365 * 24 * 3_600_000);
    bench.create("d", &["admin"]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bench.first_seq().await, 1);
    bench.clock.set(now);
    bench.clock.pass(HOUR);
    bench.begins_at(4).await;
}
