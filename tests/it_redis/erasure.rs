//! What was deleted leaves a whole cluster: the files of owner and standby, what a replica that is
//! seeded anew is given, Redis' append-only file and its dump, logs and metrics.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::BACKEND;
use crate::load::servers::told;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::disk::files_with;
use crate::support::server::Server;
use crate::support::{Fields, eventually, eventually_within, unique};

/// Trimming looks every few seconds, behind what every copy has on its disk; several such rounds,
/// on a disk that is slow.
const ERASED_WITHIN: Duration = Duration::from_secs(240);

/// Long ones, as no program has them in its own text.
const WORDS: [&str; 3] = ["plughplughxyzzy", "frobozzmagicword", "quuxzorkmidword"];

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

#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_a_deleted_message_leave_every_copy_and_the_files_of_redis() {
    let flags = [
        "--trim-floor",
        "1s",
        "--checkpoint-every",
        "1s",
        "--shards",
        "2",
    ];
    let server = Server::Many(Cluster::start_alone(BACKEND, &flags));
    let cluster = server.cluster();
    let (admin, member) = (unique("alice"), unique("bob"));
    let alice = Client::new(server.address(), &admin);
    let name = alice.create(&[&member]).await.text("name").to_owned();
    let messages = format!("/v1/conversations/{name}/messages");

    let [first, second, third] = WORDS;
    let body = json!({"text": format!("{first} ").repeat(900), "data": {"of": third}});
    let sent = alice
        .post_with_key(&messages, &body, "key")
        .await
        .expect(201);
    let short = alice.say(&name, first).await;
    let path = |message: &serde_json::Value| format!("/v1/messages/{}", message.text("id"));
    let edit = json!({"text": second, "data": {"of": third}});
    let headers = [("content-type", "application/json")];
    let edited = alice
        .call(
            Method::PATCH,
            &path(&short),
            &headers,
            edit.to_string().into(),
        )
        .await;
    edited.expect(200);

    // They are everywhere: else their absence shows nothing.
    let copies = |word: &str| {
        let found = files_with(cluster.folder(), &[word]);
        let of = |process: &str| found.iter().any(|file| file.contains(process));
        let nodes = ["/node-1/", "/node-2/", "/node-3/"];
        (
            nodes.into_iter().filter(|node| of(node)).count(),
            of("/redis-1/"),
        )
    };
    eventually("two nodes and Redis have each word", || async {
        WORDS
            .iter()
            .all(|word| copies(word) == (2, true))
            .then_some(())
    })
    .await;

    for message in [&sent, &short] {
        alice.delete(&path(message)).await.expect(204);
    }
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
    let again = Client::new(server.address(), &admin)
        .post_with_key(&messages, &body, "key")
        .await
        .expect(200);
    assert_eq!(
        (&again["deleted"], &again["id"]),
        (&json!(true), &sent["id"]),
        "its key is known"
    );
}
