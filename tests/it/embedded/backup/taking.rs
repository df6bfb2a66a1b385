//! A backup is taken while people talk and come and go, again, and after one that was killed.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::support::talk::Talk;
use crate::support::{eventually, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_everything_that_was_acknowledged_before_it_began() {
    // Files are behind what was acknowledged: whoever does not wait for them copies too little.
    let server = Server::start_with(&["--apply-tick", "3s"]);
    let mut talk = Talk::start(&server).await;
    let (backup, heard) = (Backup::new(), talk.heard());
    backup.whole(&server).await;
    talk.goes_on().await;
    talk.end().await;
    let verified = backup.verify();
    assert!(verified.status.success(), "{}", said(&verified));
    talk.is_in(&of(&backup), &heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_backup_copies_only_what_changed() {
    let server = Server::start_with(&[]);
    let (first, second) = (
        Group::create(&server, 1).await,
        Group::create(&server, 1).await,
    );
    first.admin.say(&first.name, "one").await;
    let backup = Backup::new();
    assert_eq!(backup.whole(&server).await.count("copied"), 16);
    // What was acknowledged may have a consequence that is written a little later.
    eventually("there is nothing more to copy", || async {
        (backup.whole(&server).await.count("unchanged") == 16).then_some(())
    })
    .await;
    let before = backup.manifest();

    second.admin.say(&second.name, "two").await;
    let told = backup.whole(&server).await;
    // A shard that was written to gets a mark of its time within a minute, which is a change, too.
    assert!(
        told.count("copied") >= 1 && told.count("unchanged") >= 8,
        "{told:?}"
    );
    let after = backup.manifest();
    for (shard, state) in told.states.iter().enumerate() {
        assert_eq!(
            before["files"][shard] == after["files"][shard],
            state == "unchanged",
            "shard {shard}: {told:?}"
        );
    }
    assert_eq!(copies(&backup), (16, 0), "what no manifest names is gone");
    assert!(backup.verify().status.success());
    let restored = of(&backup);
    for (group, text) in [(&first, "one"), (&second, "two")] {
        let history = restored
            .client(group.admin.user())
            .history(&group.name, "")
            .await;
        assert_eq!(history["items"][0]["text"], text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_leaves_the_one_of_before_and_the_next_one_is_whole() {
    let mut server = Server::start_with(&[]);
    let group = Group::create(&server, 1).await;
    group.admin.say(&group.name, "hello").await;
    let backup = Backup::new();
    backup.whole(&server).await;
    let before = backup.manifest();
    // Each shard is owned anew, which is a change.
    server.restart();
    let mut command = backup.command(&server, &["--rate-limit", "64KiB"]);
    let mut running = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is in the middle", || async {
        (copies(&backup).0 > 16).then_some(())
    })
    .await;
    running.kill().unwrap();
    running.wait().unwrap();
    let left = copies(&backup).0;
    assert!((17..32).contains(&left), "{left} of 32");
    assert_eq!(backup.manifest(), before);
    assert!(backup.verify().status.success());

    assert_eq!(backup.whole(&server).await.count("copied"), 16);
    assert_eq!(copies(&backup), (16, 0), "what was left is gone");
    assert!(backup.verify().status.success());
    let history = of(&backup)
        .client(group.admin.user())
        .history(&group.name, "")
        .await;
    assert_eq!(history["items"][0]["text"], "hello");
}

/// Puts people into groups and out of them, until it is over. How often.
async fn come_and_go(
    groups: Arc<Vec<Group>>,
    people: Arc<Vec<String>>,
    over: Arc<AtomicBool>,
) -> usize {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let group = &groups[number % groups.len()];
        let who = &people[(number / 2) % people.len()];
        if number / 7 % 2 == 0 {
            group.admin.add(&group.name, &[who]).await.expect(200);
        } else {
            group.admin.remove(&group.name, who).await.expect(204);
        }
        number += 1;
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_what_the_memberships_say_though_people_come_and_go_during_the_backup() {
    let server = Server::start_with(&[]);
    let mut groups = Vec::new();
    for _ in 0..5 {
        groups.push(Group::create(&server, 1).await);
    }
    let (groups, over) = (Arc::new(groups), Arc::<AtomicBool>::default());
    let people: Arc<Vec<String>> = Arc::new((0..40).map(|_| unique("guest")).collect());
    let coming = tokio::spawn(come_and_go(
        Arc::clone(&groups),
        Arc::clone(&people),
        Arc::clone(&over),
    ));
    // Not all shards within one moment.
    let backup = Backup::new();
    let told = backup.take(&server, &["--rate-limit", "1MiB"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    over.store(true, Ordering::Relaxed);
    assert!(coming.await.unwrap() > 20, "people came and went meanwhile");

    let restored = of(&backup);
    let mut members: BTreeSet<(String, String)> = BTreeSet::new();
    for group in groups.iter() {
        let admin = restored.client(group.admin.user());
        let page = admin
            .get(&group.path("/participants?limit=200"))
            .await
            .expect(200);
        members.extend(
            page.list("items")
                .iter()
                .map(|one| (one.text("name").to_owned(), group.name.clone())),
        );
    }
    for who in people.iter() {
        let list = restored
            .client(who)
            .get("/v1/conversations")
            .await
            .expect(200);
        let listed: Vec<(String, String)> = list
            .list("items")
            .iter()
            .map(|item| (who.clone(), item.text("name").to_owned()))
            .collect();
        let expected: Vec<_> = members
            .iter()
            .filter(|(member, _)| member == who)
            .cloned()
            .collect();
        assert_eq!(
            listed.iter().cloned().collect::<BTreeSet<_>>(),
            expected.into_iter().collect(),
            "the list of {who}"
        );
    }
}
