//! A node and a server of Redis are lost together, for good.

use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use serde_json::json;

use crate::BACKEND;
use crate::faults::places::rows;
use crate::load::servers;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::server::Server;

/// Enough that every shard has some.
const CONVERSATIONS: usize = 48;

/// A node leaves the table 90 s after its last announcement, and is missed for 10 s more; then its
/// places are given away and the copies made.
const COPIED_WITHIN: Duration = Duration::from_secs(240);

/// A send; the status and the code of a refusal.
async fn send(client: &Client, conversation: &str, text: &str) -> (u16, String) {
    let path = format!("/v1/conversations/{conversation}/messages");
    let body = Bytes::from(json!({"text": text}).to_string());
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", text),
    ];

    match client.try_call(Method::POST, &path, &headers, body).await {
        Ok(answer) if answer.status == 201 => (201, String::new()),
        Ok(answer) => (
            answer.status,
            answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ),
        Err(error) => (0, error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn what_lost_a_node_and_a_master_for_good_is_read_at_once_and_written_when_a_third_node_is_seeded()
 {
    let server = Server::Many(Cluster::start_alone(BACKEND, &[]));
    let cluster = server.cluster();
    let client = server.client("alice");
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        let name = client.create(&["bob"]).await["name"]
            .as_str()
            .unwrap()
            .to_owned();
        client.say(&name, "before").await;
        conversations.push(name);
    }
    let (master, _) = servers::with_role(cluster, 6, true).remove(0);
    let table = rows(&server).await;
    assert!(
        table.iter().any(|row| row.contains(&"node-1".to_owned())),
        "{table:?}"
    );
    cluster.command(&["kill", "node-1", &master]).await;

    // Long before anything is copied.
    for name in &conversations {
        let path = format!("/v1/conversations/{name}/messages");
        eventually(&format!("{name} is read"), || async {
            let answer = client
                .try_call(Method::GET, &path, &[], Bytes::new())
                .await
                .ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    // What lacks nothing is written; what lacks a second copy says so, and nothing else.
    let mut lacking = Vec::new();
    for name in &conversations {
        let refused = eventually(&format!("{name} says how it stands"), || async {
            let (status, code) = send(&client, name, &format!("{name}-after")).await;
            (status == 201 || code == "not_replicated").then_some(status != 201)
        })
        .await;
        lacking.extend(refused.then(|| name.clone()));
    }
    let end = Instant::now() + COPIED_WITHIN;
    for name in &lacking {
        while send(&client, name, &format!("{name}-after")).await.0 != 201 {
            assert!(
                Instant::now() < end,
                "{name} is not written within {COPIED_WITHIN:?}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    for name in &conversations {
        let page = client.history(name, "limit=200").await;
        let texts: Vec<&str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["text"].as_str().unwrap())
            .collect();
        let after = format!("{name}-after");
        assert_eq!(
            texts.iter().filter(|text| **text == after).count(),
            1,
            "{name}: {texts:?}"
        );
        assert!(texts.contains(&"before"), "{name}: {texts:?}");
    }
    let table = rows(&server).await;
    assert!(
        lacking.is_empty() || table.iter().all(|row| row[0] != "node-1"),
        "{table:?}"
    );
}
