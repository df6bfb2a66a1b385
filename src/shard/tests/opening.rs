//! Who may open a shard, and under which epoch.

use super::*;
use crate::ids::Epoch;
use crate::shard::OpenError;

async fn open_error(opening: Opening) -> OpenError {
    in_time(crate::shard::open(opening))
        .await
        .expect_err("not opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_another_node_owns_is_not_claimed() {
    let mut bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.taken_by("node-b").await;
    bench.handle().close(soon()).await;

    let control = || async {
        bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed")
    };
    let before = control().await;
    let OpenError::Elsewhere(line) = open_error(bench.opening()).await else {
        panic!("another kind")
    };

    assert!(
        line.contains("owned by node-b") && line.contains("s3"),
        "{line}"
    );
    assert_eq!(control().await, before, "nothing was written");

    bench.taken_by("node-a").await;
    bench.pump.abort();
    bench.reopen().await;
    assert_eq!(bench.send("c", "alice", "again").await.core.seq, Seq(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_epoch_is_above_all_that_log_and_file_know() {
    let mut bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.restart().await;
    bench.restart().await;
    assert_eq!(bench.handle().epoch(), Epoch(3));
    bench.handle().close(soon()).await;

    // The log fell back to an epoch that it had before, at the tails that the file has.
    let tails = bench
        .handle()
        .0
        .committed
        .each_ref()
        .map(|tail| *tail.borrow());
    let fallen = EmbeddedLog::open(&bench.folder.path().join("fallen.db"))
        .await
        .expect("opens");
    let claim = Claim {
        shard: SHARD,
        expected: None,
        token: Token::new(Epoch(1)),
        owner: NodeId::from("node-a"),
        identity: identity(),
        begin_at: tails,
        ends_at: None,
    };

    assert!(matches!(
        fallen.claim(claim).await,
        Ok(ClaimOutcome::Claimed(_))
    ));

    bench.log = FaultyLog::over(fallen);
    bench.lane = Lane::spawn(Arc::clone(&bench.log) as Arc<dyn ShardLog>);
    bench.pump.abort();
    bench.reopen().await;
    assert_eq!(bench.handle().epoch(), Epoch(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_told_apart_from_what_will_not() {
    let mut bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.handle().close(soon()).await;
    bench.log.silence(true);

    let error = open_error(bench.opening()).await;
    assert!(
        matches!(error, OpenError::Failed(_)),
        "the log does not answer: {error:?}"
    );

    bench.log.silence(false);
    let foreign = crate::log::Identity {
        shards: 32,
        ..identity()
    };
    let error = open_error(Opening {
        identity: foreign,
        ..bench.opening()
    })
    .await;

    assert!(
        matches!(error, OpenError::Foreign(_)),
        "a file of another cluster: {error:?}"
    );

    let garbage = bench.folder.path().join("garbage.db");
    std::fs::write(&garbage, [0x5a; 8192]).expect("writes");

    let error = open_error(Opening {
        path: garbage,
        ..bench.opening()
    })
    .await;

    assert!(
        matches!(error, OpenError::Damaged(_)),
        "no file of SQLite: {error:?}"
    );

    let empty = EmbeddedLog::open(&bench.folder.path().join("empty.db"))
        .await
        .expect("opens");
    bench.log = FaultyLog::over(empty);
    let error = open_error(bench.opening()).await;

    assert!(
        matches!(error, OpenError::Refused(_)),
        "a log without this history: {error:?}"
    );
    assert!(!error.to_string().contains('\n'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_claimed_once_never_begins_anew_from_an_empty_file() {
    let bench = Bench::new().await;
    bench.create("c", &["alice"]).await;
    bench.handle().close(soon()).await;

    let path = bench.folder.path().join("another.sqlite");
    let empty = EmbeddedLog::open(&bench.folder.path().join("empty.db"))
        .await
        .expect("opens");
    let lost = FaultyLog::over(empty);

    for adopt_local in [false, true] {
        let lane = Lane::spawn(Arc::clone(&lost) as Arc<dyn ShardLog>);
        let config = Config {
            adopt_local,
            ..config()
        };
        let log = Arc::clone(&lost) as Arc<dyn ShardLog>;
        let opening = Opening {
            claimed: true,
            path: path.clone(),
            log,
            lane,
            config,
            ..bench.opening()
        };
        let OpenError::Refused(line) = open_error(opening).await else {
            panic!("another kind")
        };
        assert!(
            line.contains("was claimed before") && line.contains("--adopt-local"),
            "{line}"
        );
        assert_eq!(
            lost.inner.control(SHARD).await.expect("reads"),
            None,
            "nothing was written"
        );
    }

    // With a control record it is as ever: the file is filled from the log.
    let known = Opening {
        claimed: true,
        path,
        ..bench.opening()
    };
    let handle = in_time(crate::shard::open(known)).await.expect("opens");
    assert_eq!(handle.epoch(), Epoch(2));
}
