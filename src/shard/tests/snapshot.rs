//! Snapshots of an owner's file, and files that are put aside.

use super::standby::{Follower, talkative};
use super::*;
use crate::shard::file::snapshot::{
    Orphans, Snapshot, install, quarantine, sent as marked_sent, unsent,
};
use crate::shard::{OpenError, Standby};

async fn sent(bench: &Bench, name: &str) -> (std::path::PathBuf, Snapshot) {
    let path = bench.folder.path().join(name);
    let said = in_time(bench.handle().snapshot(&NodeId::from("node-b"), &path))
        .await
        .expect("writes");
    (path, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_installed_and_followed_on_from() {
    let bench = talkative().await;
    let (received, said) = sent(&bench, "sent").await;
    assert_eq!(said.applied, bench.tails());

    let again = bench
        .handle()
        .snapshot(&NodeId::from("node-b"), &received)
        .await;
    assert!(again.is_err() && received.exists(), "never over a file");
    bench.fill(5, 3).await;
    let to = bench.opening_of("node-b").path;

    // What stood there before must not shine through.
    for stale in ["", "-wal", "-shm"] {
        std::fs::write(format!("{}{stale}", to.display()), [0x5a; 5_000]).expect("writes");
    }

    in_time(install(&received, &said, (identity(), SHARD), &to))
        .await
        .expect("is as said");
    assert!(!received.exists());

    // Raw entries came with it: what the log no longer has before it is not needed.
    let (_, token) = bench.handle().hold();
    bench
        .log
        .inner
        .trim(SHARD, token, M, said.applied.messages.offset)
        .await
        .expect("trims");
    let standby = Standby::open(bench.opening_of("node-b"))
        .await
        .expect("opens");
    assert_eq!(standby.status().applied, said.applied);

    assert!(
        !standby
            .entries_after(M, Tail::EMPTY, 1)
            .await
            .expect("reads")
            .is_empty()
    );

    let follower = Follower::over(standby, &bench.log);
    follower.reaches(bench.tails()).await;

    let digests = (
        bench.handle().digest().await.expect("reads"),
        follower.standby.digest().await.expect("reads"),
    );
    assert_eq!(digests.0, digests.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_for_a_backup_has_everything_that_was_committed_when_it_was_asked_for() {
    let bench = talkative().await;
    for round in 1..4 {
        for number in 0..5 {
            bench
                .send("c", "alice", &format!("m{round}-{number}"))
                .await;
        }
        let committed = bench.tails();
        let applied = in_time(bench.handle().whole(soon()))
            .await
            .expect("it is its own");
        assert!(
            committed
                .zip(applied)
                .all(|(committed, applied)| applied.offset >= committed.offset)
        );
        let path = bench.folder.path().join(format!("copy-{round}"));
        let said = in_time(bench.handle().copy(&path)).await.expect("writes");
        assert!(
            applied
                .zip(said.applied)
                .all(|(applied, said)| said.offset >= applied.offset)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_cannot_prove_its_shard_gives_no_copy_for_a_backup() {
    let bench = Bench::with(Config {
        takeover_watch: Some(Duration::from_secs(3)),
        ..config()
    })
    .await;
    bench.create("c", &["alice"]).await;
    in_time(bench.handle().whole(soon()))
        .await
        .expect("its lease has just begun");
    bench.clock.pass(Duration::from_secs(3));
    let line = in_time(bench.handle().whole(soon()))
        .await
        .expect_err("somebody may have taken it");
    assert!(line.contains("cannot prove"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_received_snapshot_that_is_not_as_said_is_refused_and_removed() {
    let bench = talkative().await;
    let to = bench.opening_of("node-b").path;
    let of = (identity(), SHARD);
    let mut kinds = Vec::new();

    for case in 0..6 {
        let (received, mut said) = sent(&bench, &format!("sent-{case}")).await;
        let mut bytes = std::fs::read(&received).expect("reads");
        let mut of = of;
        match case {
            // One flipped bit, anywhere.
            0 => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            1 => bytes.truncate(bytes.len() - 4096),
            2 => said.applied.receipts.offset = Offset(said.applied.receipts.offset.0 + 1),
            3 => of.1 = ShardId(4),
            // One page damaged before it was sent: length and hash are right.
            4 => {
                let last = bytes.len() - 4096;
                bytes[last..].fill(0x5a);
                said.sha256 =
                    sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes))
                        .into();
            }
            _ => said.length += 1,
        }
        std::fs::write(&received, bytes).expect("writes");
        let error = in_time(install(&received, &said, of, &to))
            .await
            .expect_err("not as said");
        assert!(!received.exists() && !to.exists(), "{error}");
        assert!(!error.to_string().contains('\n'));
        kinds.push(error);
    }

    assert!(matches!(kinds[3], OpenError::Refused(_)), "{kinds:?}");
    assert!(matches!(kinds[4], OpenError::Damaged(_)), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_put_aside_keeps_its_rows_and_only_the_last_three_stay() {
    let bench = talkative().await;
    let opening = bench.opening_of("node-b");
    let mut aside = Vec::new();

    for _ in 0..5 {
        let (received, said) = sent(&bench, "sent").await;
        in_time(install(
            &received,
            &said,
            (identity(), SHARD),
            &opening.path,
        ))
        .await
        .expect("is as said");
        std::fs::write(format!("{}-wal", opening.path.display()), b"its wal").expect("writes");
        aside.push(
            quarantine(&opening.path, &bench.clock, Orphans::None)
                .await
                .expect("renames"),
        );
        assert!(!opening.path.exists());
    }

    let is_there: Vec<bool> = aside.iter().map(|path| path.exists()).collect();
    assert_eq!(is_there, [false, false, true, true, true]);

    for (path, is_there) in aside.iter().zip(is_there) {
        assert_eq!(
            std::path::Path::new(&format!("{}-wal", path.display())).exists(),
            is_there
        );
    }

    let name = aside[4]
        .file_name()
        .and_then(|name| name.to_str())
        .expect("text")
        .to_owned();
    assert!(name.starts_with("s3-node-b.db.quarantined-17"), "{name}");

    assert!(
        quarantine(&opening.path, &bench.clock, Orphans::None)
            .await
            .is_err(),
        "there is none"
    );

    std::fs::remove_file(format!("{}-wal", aside[4].display())).expect("removes");
    let read = Standby::open(Opening {
        path: aside[4].clone(),
        ..opening
    })
    .await
    .expect("opens");
    assert_eq!(read.status().applied, bench.tails());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_orphans_is_told_until_they_are_sent_or_it_is_dropped() {
    let bench = Bench::new().await;
    let path = bench.folder.path().join("s3-node-b.db");
    let mut aside = Vec::new();

    for round in 0..4 {
        std::fs::write(&path, b"its rows").expect("writes");
        let orphans = if round == 1 {
            Orphans::None
        } else {
            Orphans::Perhaps
        };
        aside.push(
            quarantine(&path, &bench.clock, orphans)
                .await
                .expect("renames"),
        );
    }

    let unsent = || unsent(bench.folder.path()).expect("reads");
    assert_eq!(
        unsent(),
        [aside[2].clone(), aside[3].clone()],
        "the first is dropped, the second has none"
    );

    for _ in 0..2 {
        marked_sent(&aside[2]).await.expect("marked");
        assert_eq!(unsent(), [aside[3].clone()]);
    }

    assert!(
        quarantine(&path, &bench.clock, Orphans::Perhaps)
            .await
            .is_err(),
        "there is none"
    );
    assert_eq!(unsent(), [aside[3].clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_and_digests_leave_the_readers_to_those_who_read() {
    let readers_max = 1;
    let bench = Bench::with(Config {
        store: store::Config {
            readers_max,
            ..config().store
        },
        ..config()
    })
    .await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 3).await;

    let only = bench.handle().0.store.endless_read().await;
    let (_, said) = sent(&bench, "sent").await;
    assert_eq!(said.applied, bench.tails());

    let digests =
        in_time(async { tokio::join!(bench.handle().digest(), bench.handle().digest()) }).await;
    assert_eq!(digests.0.expect("reads"), digests.1.expect("reads"));
    drop(only);
}
