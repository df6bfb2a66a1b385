//! What was deleted leaves a whole cluster: the files of owner and standby, what a replica that is
//! seeded anew is given, Redis' append-only file and its dump, logs and metrics.

use std::time::Duration;

use crate::BACKEND;
use crate::load::servers::told;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::disk::files_with;
use crate::support::erasing::{ERASED_WITHIN, ERASES_SOON, Erasing, WORDS};
use crate::support::server::Server;
use crate::support::{eventually, eventually_within, unique};

/// Writes what Redis has to its disk anew: the append-only file, and a dump beside it.
async fn write_anew(cluster: &Cluster) {
    let redis = cluster.port("redis-1");
    // Refused while one is under way, which the waiting below sees too.
    let _asked: Result<String, _> = crate::load::servers::ask(redis, &["BGREWRITEAOF"]);
    eventually("the append-only file is written anew", || async {
        let state: String = told(redis, &["INFO", "persistence"]);
        let is_done = |name: &str| {
            state
                .lines()
                .any(|line| line.trim_end() == format!("{name}:0"))
        };
        (is_done("aof_rewrite_in_progress") && is_done("aof_rewrite_scheduled")).then_some(())
    })
    .await;
    let saved: String = told(redis, &["SAVE"]);
    assert_eq!(saved, "OK");
}

/// The metrics pages that have one of the words.
async fn pages_with(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for address in cluster.operations() {
        let page = Client::new(address, "").get("/metrics").await;
        let text = String::from_utf8_lossy(&page.body).into_owned();
        found.extend(
            WORDS
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{word} in the metrics of {address}")),
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_leaves_every_copy_and_the_files_of_redis() {
    let server = Server::Many(Cluster::start_alone(BACKEND, &ERASES_SOON));
    let cluster = server.cluster();
    let alice = Client::new(server.address(), &unique("alice"));
    let erasing = Erasing::written_by(&alice).await;
    let whole = Erasing::titled_by(&alice).await;

    // They are everywhere: else their absence shows nothing. The two conversations may be of two
    // shards, which have copies on all three nodes together.
    let copies = |word: &str| {
        let found = files_with(cluster.folder(), &[word]);
        let of = |process: &str| found.iter().any(|file| file.contains(process));
        let nodes = ["/node-1/", "/node-2/", "/node-3/"];
        (
            nodes.into_iter().filter(|node| of(node)).count(),
            of("/redis-1/"),
        )
    };
    eventually("two nodes or more, and Redis, have each word", || async {
        WORDS
            .iter()
            .all(|word| matches!(copies(word), (2.., true)))
            .then_some(())
    })
    .await;

    erasing.delete(&alice).await;
    whole.delete_conversation(&alice).await;
    // One of the nodes loses its files, and gets them from the others.
    cluster.command(&["kill", "node-2"]).await;
    cluster.remove_data("node-2");
    cluster.command(&["start", "node-2"]).await;
    eventually_within(
        ERASED_WITHIN,
        "every shard has its copies again",
        || async { (cluster.ask(&["status"]).status.code() == Some(0)).then_some(()) },
    )
    .await;

    eventually_within(
        ERASED_WITHIN,
        "the words are gone from all of it",
        || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            write_anew(cluster).await;
            let mut left = files_with(cluster.folder(), &WORDS);
            left.extend(pages_with(cluster).await);
            if !left.is_empty() {
                eprintln!("{left:?}");
            }
            left.is_empty().then_some(())
        },
    )
    .await;
    erasing.repeat(&alice).await;
    whole.repeat_in_vain(&alice).await;
}
