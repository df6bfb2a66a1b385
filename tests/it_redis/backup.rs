//! A cluster is copied while people talk in it, and another one is made of the copy; one process
//! grows into a cluster; an owner dies while its shards are copied; replicas are compared.

use std::process::Stdio;

use crate::BACKEND;
use crate::support::backup::{Backup, rookery, said, told};
use crate::support::cluster::Cluster;
use crate::support::damage::change_rows;
use crate::support::embedded::Process;
use crate::support::server::Server;
use crate::support::talk::Talk;
use crate::support::{Group, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_cluster_under_load_makes_another_cluster_with_everything_acknowledged_before()
 {
    // Files are behind what was acknowledged: whoever does not wait for them copies too little.
    let server = Server::start_with(&["--apply-tick", "3s"]);
    let mut talk = Talk::start(&server).await;
    let backup = Backup::new();
    let heard = talk.heard();
    let told = backup.whole(&server).await;
    assert_eq!(told.count("copied"), 16, "{told:?}");
    talk.goes_on().await;
    let more = talk.end().await;
    let verified = backup.verify();
    assert!(verified.status.success(), "{}", said(&verified));
    let other = Server::Many(Cluster::restored(BACKEND, &backup, &[]));
    talk.is_in(&other, &heard).await;

    // The last one has all of it, and copied only what had changed since.
    let told = backup.whole(&server).await;
    assert!(
        told.count("unchanged") > 0 && told.count("copied") < 16,
        "{told:?}"
    );
    drop(other);
    let last = Server::Many(Cluster::restored(BACKEND, &backup, &[]));
    talk.is_in(&last, &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_grows_into_a_cluster_with_sixteen_times_the_shards_and_loses_nothing() {
    let mut server = Server::One(Process::start(&["--shards", "4"]));
    let mut talk = Talk::start(&server).await;
    let heard = talk.end().await;
    let backup = Backup::new();
    backup.whole(&server).await;
    assert!(server.terminate().await.success());
    let grown = Server::Many(Cluster::restored(BACKEND, &backup, &["--shards", "64"]));
    talk.is_in(&grown, &heard).await;

    // And back again: its shards are joined.
    let copy = Backup::new();
    assert_eq!(copy.whole(&grown).await.count("copied"), 64);
    drop(grown);
    let joined = Process::start_on(&["--shards", "2"], |data| {
        drop(copy.restored(data, &["--shards", "2"]))
    });
    let joined = Server::One(joined);
    let group = Group::create(&joined, 1).await;
    group.admin.say(&group.name, "it goes on").await;
    talk.is_in(&joined, &heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_owner_is_killed_is_copied_from_the_next_one_or_named() {
    let cluster = Cluster::start(BACKEND, &[]);
    let server = Server::Many(cluster);
    let cluster = server.cluster();
    let talk = Talk::start(&server).await;
    let (backup, heard) = (Backup::new(), talk.heard());

    // Slow enough that the owner dies in the middle of it.
    let mut command = backup.command(&server, &["--rate-limit", "256KiB"]);
    let running = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it has begun", || async {
        let copies = std::fs::read_dir(backup.path()).ok()?.flatten();
        copies
            .map(|of| of.file_name())
            .any(|name| name.to_string_lossy().ends_with(".sqlite"))
            .then_some(())
    })
    .await;
    cluster.command(&["kill", "node-3"]).await;

    let output = tokio::task::spawn_blocking(|| running.wait_with_output().unwrap())
        .await
        .unwrap();
    let all = told(&output);
    assert_eq!((all.code, all.count("copied")), (Some(0), 16), "{all:?}");
    assert!(backup.verify().status.success());

    let other = Server::Many(Cluster::restored(BACKEND, &backup, &[]));
    talk.is_in(&other, &heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_nobody_serves_are_named_and_the_backup_of_before_stands() {
    let server = Server::Many(Cluster::start(BACKEND, &["--replicas", "1"]));
    let cluster = server.cluster();
    let (backup, talk) = (Backup::new(), Talk::start(&server).await);
    let heard = talk.heard();
    backup.whole(&server).await;
    let (before, owned) = (backup.manifest(), owned_by(&server, "node-3").await);
    assert!(!owned.is_empty());

    cluster.command(&["kill", "node-3"]).await;
    let told = backup.take(&server, &["--give-up", "1s"]).await;
    assert_eq!(
        (told.code, told.count("missing")),
        (Some(1), owned.len()),
        "{told:?}"
    );
    for shard in &owned {
        assert!(
            told.error.contains(&format!("shard {shard} (")),
            "{shard}: {}",
            told.error
        );
    }
    assert!(told.error.contains("stands"), "{}", told.error);
    assert_eq!(backup.manifest(), before);
    assert!(backup.verify().status.success());
    let other = Server::Many(Cluster::restored(BACKEND, &backup, &[]));
    talk.is_in(&other, &heard).await;
    cluster.command(&["start", "node-3"]).await;
    backup.whole(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_compares_all_replicas_of_a_cluster_that_is_at_rest() {
    let server = Server::start();
    let cluster = server.cluster();
    let mut talk = Talk::start(&server).await;
    talk.end().await;

    // A standby that was seeded late, or has yet to apply the last records, is compared when it
    // has.
    let said = eventually("all replicas hold the same", || async {
        let mut command = rookery(&["check", "--pause", "1ms", "--cluster"]);
        let output = command.arg(cluster.folder()).output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });

    assert!(
        said.await
            .contains("16 shards have replicas that hold the same, 0 have not, 0 were not")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_one_replica_has_otherwise_is_told_by_a_check_with_the_nodes_that_differ() {
    let server = Server::start();
    let cluster = server.cluster();
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "as it was written").await;
    let check = || {
        let mut command = rookery(&["check", "--pause", "1ms", "--cluster"]);
        let output = command.arg(cluster.folder()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    eventually("all replicas hold the same", || async {
        (check().0 == Some(0)).then_some(())
    })
    .await;

    // Two of the three nodes have it.
    let of = format!("conversation = '{}'", group.name);
    let damage = format!("UPDATE messages SET text = 'as nobody wrote it' WHERE {of}");
    let mut damaged = None;
    for node in ["node-1", "node-2"] {
        cluster.command(&["stop", node]).await;
        let rows = change_rows(&cluster.folder_of(node).join("data"), &damage).await;
        cluster.command(&["start", node]).await;
        if rows == 1 {
            damaged = Some(node);
            break;
        }
    }
    let damaged = damaged.expect("one of two nodes has a replica");

    let said = eventually("the check tells of it", || async {
        let (code, said) = check();
        (code == Some(1) && said.contains("hold different things at the same place"))
            .then_some(said)
    })
    .await;
    let told = said.lines().find(|line| line.contains("different things"));
    assert!(told.is_some_and(|line| line.contains(damaged)), "{said}");
}

/// The shards that a node owns.
async fn owned_by(server: &Server, node: &str) -> Vec<u64> {
    let cluster = server.operators()[0].get("/cluster").await.json();
    let shards = cluster["shards"].as_array().unwrap().iter();
    shards
        .filter(|shard| shard["owner"] == node)
        .map(|shard| shard["shard"].as_u64().unwrap())
        .collect()
}
