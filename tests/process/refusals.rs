//! What is refused: a start that does not fit, strangers at a port, requests that may not be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite;

use super::bench::Bench;
use super::client::{conversation, get, http, post, send, socket, token};
use super::spawned::Spawned;
use super::{DEADLINE, until};

#[test]
fn what_does_not_belong_together_is_refused_in_one_line() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &[]);
    node.serving();

    let own = bench.data("node-1");
    let own = own.to_str().unwrap();
    let line = bench.refused("node-1", &[]);

    assert!(
        line.contains(own) && line.contains("in use by another process"),
        "{line}"
    );

    let line = bench.refused("node-2", &["--shards", "8"]);
    assert!(
        line.contains("was made with 4 shards, not 8; give --shards 4"),
        "{line}"
    );
    assert_eq!(node.terminate(), Some(0));

    let line = bench.refused("node-2", &["--data", own]);
    assert!(line.contains("belongs to node-1, not to node-2"), "{line}");

    let line = bench.refused("node-1", &["--redis-prefix", "other"]);
    assert!(
        line.contains("Redis knows no cluster") && line.contains("--adopt-local"),
        "{line}"
    );
    assert_eq!(
        bench.redis(&["KEYS", "{other*"]).trim(),
        "",
        "nothing was created"
    );

    let mut other = bench.node("other-1", &["--redis-prefix", "other"]);
    other.serving();
    let line = bench.refused("node-1", &["--redis-prefix", "other"]);
    assert!(line.contains("but Redis holds cluster"), "{line}");

    // Unharmed by all of this.
    bench.node("node-1", &[]).serving();
}

#[test]
fn what_all_processes_must_share_is_not_made_up() {
    let bench = Bench::without_redis();
    for (kind, without, names) in [
        (
            "node",
            "ROOKERY_JWT_SECRET",
            "set ROOKERY_JWT_SECRET or ROOKERY_JWT_SECRET_FILE, or give --jwks",
        ),
        (
            "node",
            "ROOKERY_CLUSTER_KEY",
            "set ROOKERY_CLUSTER_KEY or ROOKERY_CLUSTER_KEY_FILE",
        ),
        ("node", "ROOKERY_REDIS", "give --redis"),
        (
            "router",
            "ROOKERY_JWT_SECRET",
            "set ROOKERY_JWT_SECRET or ROOKERY_JWT_SECRET_FILE, or give --jwks",
        ),
        (
            "router",
            "ROOKERY_CLUSTER_KEY",
            "set ROOKERY_CLUSTER_KEY or ROOKERY_CLUSTER_KEY_FILE",
        ),
        ("router", "ROOKERY_REDIS", "give --redis"),
    ] {
        let mut command = if kind == "node" {
            bench.node_command("n", &[])
        } else {
            bench.command(kind, "n")
        };
        command.env_remove(without);
        let line = Spawned::start(
            command,
            bench.folder.path(),
            &format!("{kind}-without-{without}"),
        )
        .refusal();
        assert!(line.contains(names), "{kind}: {line}");
    }

    assert!(!bench.data("n").exists(), "nothing was touched");
}

#[test]
fn the_peer_port_is_closed_to_whoever_lacks_the_key() {
    let bench = Bench::new();
    let mut node = bench.node("node-1", &[]);
    let peer = node.serving()["peer"].as_str().unwrap().to_owned();

    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 70_000],
        b"",
    ] {
        let mut stream = TcpStream::connect(&peer).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        drop(stream.write_all(garbage));
        let mut answer = Vec::new();
        // Closed or reset; whatever is said before tells nothing.
        drop(stream.read_to_end(&mut answer));
        assert!(
            answer.len() < 1_000 && !answer.starts_with(b"HTTP/1.1 101"),
            "{answer:?}"
        );
    }

    // A node of the cluster in everything but the key.
    let mut command = bench.node_command("node-2", &[]);
    command.env(
        "ROOKERY_CLUSTER_KEY",
        "another-key-0123456789-0123456789-0123456789",
    );

    let mut stranger = Spawned::start(command, bench.folder.path(), "node-2");
    stranger.serving();

    let mut router = bench.router();
    let client = conversation(&mut router);
    send(&client, "served all the same");

    // Neither the stranger's link to the node is taken nor one of a router with its key.
    let mut command = bench.command("router", "router-2");
    command.env(
        "ROOKERY_CLUSTER_KEY",
        "another-key-0123456789-0123456789-0123456789",
    );

    let mut its_router = Spawned::start(command, bench.folder.path(), "router-2");
    until("its link is refused", || {
        let client = its_router.serving()["client"].as_str()?.to_owned();
        let (status, _) = post(
            &client,
            "/v1/conversations",
            &json!({"name": "x", "participants": ["bob"]}),
        );
        assert_ne!(status, 201, "through a link without the key");
        node.log().contains("peer connection refused").then_some(())
    });

    for process in [&node, &stranger] {
        assert!(!process.log().contains("ERROR"), "{}", process.log());
    }
}

#[test]
fn a_router_full_of_idle_connections_serves_a_new_client_and_its_metric_says_so() {
    let bench = Bench::new();
    let mut command = bench.command("router", "router");
    command.args(["--connections-max", "2"]);
    let mut router = Spawned::start(command, bench.folder.path(), "router");
    let mut node = bench.node("node-1", &[]);
    node.serving();
    let client = conversation(&mut router);
    // Newcomers find their places in any order: all are to be there, and nobody else, before
    // another one comes.
    let are_there = |count: usize| {
        let line = format!("rookery_router_connections {count}");
        until(&line, || {
            router
                .ask("/metrics")
                .1
                .lines()
                .any(|told| told == line)
                .then_some(())
        });
    };
    are_there(0);
    let mut idle: Vec<TcpStream> = (0..2)
        .map(|_| TcpStream::connect(&client).unwrap())
        .collect();
    are_there(2);
    until("one gives way", || {
        (get(&client, "/v1/conversations/c", Some("bob")).0 == 200).then_some(())
    });

    let ended = until("its end is told", || {
        let mut ended = 0;
        for stream in &mut idle {
            stream
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            ended += usize::from(matches!(stream.read(&mut [0; 1]), Ok(0)));
        }
        (ended > 0).then_some(ended)
    });
    assert_eq!(ended, 1, "and one only");
    let (_, metrics) = router.ask("/metrics");
    let evicted = r#"rookery_http_connections_evicted_total{role="router",reason="unused"} 1"#;
    assert!(metrics.lines().any(|line| line == evicted), "{metrics}");
    let refused = router
        .ask("/metrics")
        .1
        .contains(r#"rookery_http_connections_refused_total{role="router"} "#);
    assert!(refused, "counted from the start");
}

#[test]
fn each_refusal_is_in_the_log_of_the_node_with_user_code_and_route_and_nothing_of_what_was_sent() {
    let bench = Bench::new();
    let (mut router, mut node) = (
        bench.router(),
        bench.node("node-1", &["--log-level", "debug"]),
    );
    node.serving();
    let client = conversation(&mut router);
    let stranger = token("mallory");
    let head = format!(
        "POST /v1/conversations/c/messages HTTP/1.1\r\nAuthorization: Bearer {stranger}\r\n\
         Content-Type: application/json\r\nX-Request-Id: of-a-stranger\r\n"
    );
    let (status, body) = http(
        &client,
        &head,
        &json!({"text": "a secret text"}).to_string(),
    )
    .unwrap();
    assert_eq!(status, 403, "{body}");
    let line_with = |parts: [&str; 2]| {
        until("it is told", || {
            let log = node.log();
            let line = log
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))?;
            Some(line.to_owned())
        })
    };
    let line = line_with(["of-a-stranger", "request refused"]);
    let route = "route=\"/conversations/{name}/messages\"";
    for part in [
        "DEBUG",
        "method=POST",
        route,
        "status=403",
        "code=\"not_participant\"",
        "user=mallory",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }

    let mut socket = socket(&client);
    let frame =
        json!({"t": "send", "conversation": "elsewhere", "text": "a secret text"}).to_string();
    socket.send(tungstenite::Message::text(frame)).unwrap();
    let line = line_with(["frame refused", "code=\"not_participant\""]);
    assert!(
        line.contains("DEBUG") && line.contains("user=bob") && line.contains("status=403"),
        "{line}"
    );
    for secret in ["a secret text", stranger.as_str(), "conversations/c/"] {
        assert!(!node.log().contains(secret), "{secret}");
    }
}
