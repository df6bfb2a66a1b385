//! Requests and their answers.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::*;
use crate::auth;
use crate::auth::Verifier;
use crate::clock::Clock;

const POST: &str = "POST /v1/conversations/general/messages\ncontent-type: application/json";
const GET: &str = "GET /v1/conversations/general/messages";

fn short(budget_ms: u64) -> Config {
    Config {
        budget: Duration::from_millis(budget_ms),
        ..config()
    }
}

#[tokio::test]
async fn a_post_is_stamped_and_nothing_of_ours_passes_from_a_client_or_to_it() {
    let node = Node::scripted(|_, _| {
        answer(
            "201 Created",
            &[
                "rookery-owner: n:1",
                "rookery-table-version: 9",
                "rookery-stale: 7",
                "location: /x",
            ],
            "{}",
        )
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let spoofed = format!(
        "{POST}\nrookery-stamped-key: mine\nrookery-deadline-ms: 999999\nrookery-user: root\nx-forwarded-for: 1.1.1.1\n\
         rookery-consistency: strict\nx-request-id: abc-1\nauthorization: Bearer t"
    );
    let got = stand.ask(&spoofed, r#"{"text":"hi"}"#).await;
    assert_eq!((got.status(), got.body.as_slice()), (201, b"{}".as_slice()));
    assert_eq!(got.header("x-request-id"), Some("abc-1"));
    assert_eq!(
        (got.header("rookery-stale"), got.header("location")),
        (Some("7"), Some("/x"))
    );
    assert_eq!(
        (
            got.header("rookery-owner"),
            got.header("rookery-table-version")
        ),
        (None, None)
    );

    let seen = node.seen().remove(0);
    assert_eq!(
        seen.line,
        "POST /v1/conversations/general/messages HTTP/1.1"
    );
    assert_eq!(seen.body, br#"{"text":"hi"}"#);
    let stamped = seen.header("rookery-stamped-key").expect("a stamp");
    assert_eq!(Uuid::parse_str(stamped).unwrap().get_version_num(), 7);
    let deadline: u64 = seen
        .header("rookery-deadline-ms")
        .expect("a deadline")
        .parse()
        .unwrap();
    assert!((1..=5_000).contains(&deadline), "{deadline}");
    assert_eq!(seen.header("x-request-id"), Some("abc-1"));
    assert_eq!(seen.header("rookery-consistency"), Some("strict"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(
        (seen.header("rookery-user"), seen.header("x-forwarded-for")),
        (None, None)
    );
}

#[tokio::test]
async fn a_key_of_the_client_is_left_alone_and_a_read_gets_none() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    stand
        .ask(&format!("{POST}\nidempotency-key: k1"), "{}")
        .await;
    let read = stand.ask(&format!("{GET}?limit=2&order=asc"), "").await;
    assert_eq!(read.header("x-request-id").unwrap().len(), 36);
    let seen = node.seen();
    assert_eq!(
        (
            seen[0].header("idempotency-key"),
            seen[0].header("rookery-stamped-key")
        ),
        (Some("k1"), None)
    );
    assert_eq!(
        seen[1].line,
        "GET /v1/conversations/general/messages?limit=2&order=asc HTTP/1.1"
    );
    assert_eq!(seen[1].header("rookery-stamped-key"), None);
}

#[tokio::test]
async fn a_hint_is_followed_with_the_same_key_and_makes_the_router_read_the_newer_table() {
    let owner = Node::scripted(|_, _| answer("201 Created", &[], "{}")).await;
    let hint = format!("rookery-owner: {}", owner.address);
    let old = Node::scripted(move |_, _| {
        answer(
            "421 Misdirected Request",
            &[&hint, "rookery-table-version: 2"],
            "",
        )
    })
    .await;
    let stand = Stand::new(&[old.address]).await;
    stand.shelf.put(table(2, &[owner.address]));
    assert_eq!(stand.ask(POST, "{}").await.status(), 201);
    let keys: Vec<_> = [&old, &owner]
        .map(|node| {
            node.seen()[0]
                .header("rookery-stamped-key")
                .map(str::to_owned)
        })
        .into();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    let follows = || stand.router.0.directory.table().map(|table| table.version);
    timeout(PATIENCE, async {
        while follows() != Some(2) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the newer table is read though the next poll is an hour away");
    stand.ask(POST, "{}").await;
    assert_eq!((old.seen().len(), owner.seen().len()), (1, 2));
}

#[tokio::test]
async fn two_nodes_that_point_at_each_other_end_with_the_budget() {
    let addresses = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
    let misled = |other: usize| {
        let addresses = Arc::clone(&addresses);
        Node::scripted(move |_, _| {
            let hint = format!("rookery-owner: {}", addresses.lock().unwrap()[other]);
            answer(
                "421 Misdirected Request",
                &[&hint, "rookery-table-version: 1"],
                "",
            )
        })
    };
    let nodes = [misled(1).await, misled(0).await];
    addresses
        .lock()
        .unwrap()
        .extend(nodes.iter().map(|node| node.address));
    let stand = Stand::with(short(300), table(1, &[nodes[0].address, nodes[1].address])).await;
    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));
    let asked = nodes[0].seen().len() + nodes[1].seen().len();
    assert!((2..40).contains(&asked), "{asked} attempts");
}

// what must not happen: 5 (a send while the storage is down drops the connection without an answer)
#[tokio::test]
async fn a_node_that_is_down_is_a_503_and_never_a_dropped_connection() {
    let stand = Stand::with(short(200), table(1, &[nowhere().await])).await;
    let mut client = stand.client().await;
    for head in [POST, GET] {
        let got = client.ask(head, "").await;
        assert_eq!((got.status(), got.code().as_str()), (503, "unavailable"));
    }
}

#[tokio::test]
async fn a_node_that_dies_with_a_write_in_hand_leaves_the_outcome_unknown() {
    let node = Node::scripted(|_, _| Reply::SendAndClose).await;
    let stand = Stand::with(short(600), table(1, &[node.address])).await;
    let got = stand.ask(POST, "{}").await;
    assert_eq!(
        (got.status(), got.code().as_str()),
        (503, "outcome_unknown")
    );
    assert!(node.seen().len() > 1, "it was tried again");
    let keys: BTreeSet<_> = node
        .seen()
        .iter()
        .map(|seen| seen.header("rookery-stamped-key").map(str::to_owned))
        .collect();
    assert_eq!(keys.len(), 1, "always with the same key");
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
}

#[tokio::test]
async fn a_node_that_never_answers_is_a_503_at_the_end_of_the_budget() {
    let node = Node::scripted(|_, _| Reply::Hang).await;
    let stand = Stand::with(short(200), table(1, &[node.address])).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "outcome_unknown");
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
}

#[tokio::test]
async fn surely_not_written_is_not_said_after_an_attempt_that_may_have_been() {
    let node = Node::scripted(|at, _| {
        if at == 0 {
            Reply::SendAndClose
        } else {
            declined()
        }
    })
    .await;
    let stand = Stand::with(short(1000), table(1, &[node.address])).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "outcome_unknown");
}

/// The first attempt may have been executed, and its sender removed since.
#[tokio::test]
async fn a_refusal_that_may_be_of_later_than_a_broken_attempt_is_not_told_as_final() {
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let node = Node::scripted(move |at, _| match at {
            0 => Reply::SendAndClose,
            _ => answer(status, &[], r#"{"code":"not_participant"}"#),
        })
        .await;
        let stand = Stand::new(&[node.address]).await;
        let got = stand.ask(POST, "{}").await;
        assert_eq!(
            (got.status(), got.code().as_str()),
            (503, "outcome_unknown"),
            "{status}"
        );
        let again = stand.ask(POST, "{}").await;
        assert_eq!(
            again.status(),
            status[..3].parse::<u16>().unwrap(),
            "an answer to a first attempt is final"
        );
    }
}

#[tokio::test]
async fn a_refusal_that_no_time_changes_is_final_after_a_broken_attempt() {
    let node = Node::scripted(|at, _| match at {
        0 => Reply::SendAndClose,
        _ => answer(
            "422 Unprocessable Entity",
            &[],
            r#"{"code":"idempotency_conflict"}"#,
        ),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(POST, "{}").await.status(), 422);
}

#[tokio::test]
async fn a_node_that_cannot_now_is_asked_again() {
    let node = Node::scripted(|at, _| {
        if at < 3 {
            declined()
        } else {
            answer("201 Created", &[], "{}")
        }
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(POST, "{}").await.status(), 201);
    assert_eq!(node.seen().len(), 4);
}

#[tokio::test]
async fn other_refusals_of_a_node_are_final() {
    let bodies = [
        r#"{"code":"lagging"}"#,
        r#"{"code":"outcome_unknown"}"#,
        "not json",
    ];
    for body in bodies {
        let node = Node::scripted(move |_, _| {
            answer("503 Service Unavailable", &["retry-after: 3"], body)
        })
        .await;
        let stand = Stand::new(&[node.address]).await;
        let got = stand.ask(POST, "{}").await;
        assert_eq!(
            (got.status(), got.header("retry-after"), got.body.as_slice()),
            (503, Some("3"), body.as_bytes())
        );
        assert_eq!(node.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let node = Node::scripted(|at, _| match at {
        0 => Reply::SendAndClose,
        _ => answer("200 OK", &[], "whole"),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand.ask(GET, "").await;
    assert_eq!(
        (got.status(), got.body.as_slice()),
        (200, b"whole".as_slice())
    );
}

#[tokio::test]
async fn a_request_is_held_until_there_is_a_table_and_while_its_node_moves() {
    let node = Node::ok().await;
    let stand = Stand::with(config(), None).await;
    assert_eq!(stand.router.readiness(), Err("no table yet"));
    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    stand.shelf.put(table(1, &[nowhere().await]));
    timeout(PATIENCE, async {
        while stand.router.readiness().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the held request makes the router ask for a table");
    stand.shelf.put(table(2, &[node.address]));
    assert_eq!(client.answer().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn without_a_table_the_budget_ends_with_503() {
    let stand = Stand::with(short(100), None).await;
    assert_eq!(stand.ask(POST, "{}").await.code(), "unavailable");
    assert!(stand.shelf.loads.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn the_next_node_of_the_row_is_asked_when_the_owner_is_unreachable() {
    let standby = Node::ok().await;
    let stand = Stand::new(&[nowhere().await, standby.address]).await;
    assert_eq!(stand.ask(GET, "").await.status(), 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_read_to_its_end_and_refused_by_the_node_in_its_order() {
    let node = Node::scripted(|_, seen| match seen.header("rookery-body-too-large") {
        Some(_) => answer("413 Content Too Large", &[], "{}"),
        None => answer("200 OK", &[], "{}"),
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    let body = "x".repeat(3 * 1024 * 1024);
    assert_eq!(client.ask(POST, &body).await.status(), 413);
    assert_eq!(
        client.ask(GET, "").await.status(),
        200,
        "the connection goes on"
    );
    let limit = "x".repeat(128 * 1024);
    assert_eq!(client.ask(POST, &limit).await.status(), 200);
    let seen = node.seen();
    assert_eq!(
        (seen[0].header("rookery-body-too-large"), seen[0].body.len()),
        (Some("1"), 0)
    );
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[2].body.len(), limit.len());
    assert_eq!(
        stand
            .ask(&format!("{POST}\nrookery-body-too-large: 1"), "{}")
            .await
            .status(),
        200,
        "no client can claim it"
    );
}

#[tokio::test]
async fn the_document_of_the_contract_needs_no_token_and_no_node() {
    let stand = Stand::with(short(100), None).await;
    let mut client = stand.client().await;
    let document = crate::protocol::openapi::json();
    for path in ["/openapi.json", "/v1/openapi.json", "/openapi.json?"] {
        let got = client.ask(&format!("GET {path}"), "").await;
        assert_eq!(
            (got.status(), got.header("content-type")),
            (200, Some("application/json")),
            "{path}"
        );
        assert_eq!(got.body, document, "{path}");
    }
    assert_eq!(
        client.ask("GET /openapi.json?x=1", "").await.code(),
        "invalid"
    );
}

#[tokio::test]
async fn path_method_and_token_are_refused_in_this_order_and_without_a_node() {
    let stand = Stand::with(short(100), None).await;
    let mut client = stand.client().await;
    let big = "x".repeat(300_000);
    for path in [
        "/metrics",
        "/v1/rooms",
        "/v1/conversations/a/messages/",
        "/v1/",
    ] {
        assert_eq!(
            client.ask(&format!("PATCH {path}"), &big).await.code(),
            "not_found",
            "{path}"
        );
    }
    for (head, allow) in [
        ("PUT /v1/conversations", "GET, HEAD, POST"),
        ("OPTIONS /v1/conversations/a/messages", "GET, HEAD, POST"),
        ("DELETE /ws", "GET"),
        ("GET /v1/messages/x/reaction", "DELETE, PUT"),
        ("POST /openapi.json", "GET, HEAD"),
        ("OPTIONS /conversations/a/participants/b", "DELETE"),
    ] {
        let got = client.ask(head, &big).await;
        assert_eq!(
            (got.status(), got.code().as_str(), got.header("allow")),
            (405, "method_not_allowed", Some(allow))
        );
    }
    for head in [
        "GET /v1/conversations",
        "POST /conversations",
        "GET /v1/conversations\nauthorization: Bearer rubbish",
        "GET /v1/conversations\nauthorization: Basic dTpw",
        "GET /v1/ws",
    ] {
        let got = client.ask(head, "").await;
        assert_eq!(
            (got.status(), got.header("www-authenticate")),
            (401, Some("Bearer")),
            "{head}"
        );
        assert_eq!(got.code(), "unauthorized");
    }
    let got = client
        .ask(
            "GET /v1/ws?token=x\nconnection: upgrade\nupgrade: websocket",
            "",
        )
        .await;
    assert_eq!(
        (got.status(), got.code().as_str()),
        (400, "invalid"),
        "it says where the token belongs"
    );
    let bad_subject = format!(
        "GET /v1/conversations\nauthorization: Bearer {}",
        token("a b")
    );
    assert_eq!(client.ask(&bad_subject, "").await.status(), 401);
}

#[tokio::test]
async fn the_subject_of_the_token_decides_for_lists_and_the_node_decides_on_everything_else() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    assert_eq!(
        client
            .ask(
                &format!(
                    "GET /v1/conversations\nauthorization: Bearer {}",
                    token("alice")
                ),
                ""
            )
            .await
            .status(),
        200
    );
    for head in [
        "GET /v1/conversations/general",
        "GET /v1/messages/none",
        "GET /v1/conversations/a%20b",
    ] {
        assert_eq!(
            client.ask(head, "").await.status(),
            200,
            "{head} without a token is for the node to refuse"
        );
    }
}

#[tokio::test]
async fn a_head_request_has_the_length_and_no_body() {
    let node = Node::scripted(|_, seen| {
        assert!(seen.line.starts_with("HEAD "));
        Reply::Send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_owned())
    })
    .await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    client
        .send("HEAD /v1/conversations/general\nconnection: close", "")
        .await;
    let raw = String::from_utf8(client.rest().await).unwrap();
    assert!(
        raw.starts_with("HTTP/1.1 200")
            && raw.contains("content-length: 1234\r\n")
            && raw.ends_with("\r\n\r\n"),
        "{raw}"
    );
    let mut other = stand.client().await;
    other
        .send("HEAD /v1/messages/x/read\nconnection: close", "")
        .await;
    assert!(other.rest().await.starts_with(b"HTTP/1.1 405"));
}

#[tokio::test]
async fn a_long_answer_comes_whole() {
    let long = "y".repeat(1_000_000);
    let sent = long.clone();
    let node = Node::scripted(move |_, _| answer("200 OK", &[], &sent)).await;
    let stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.ask(GET, "").await.body, long.as_bytes());
}

#[tokio::test]
async fn a_long_answer_without_a_place_in_memory_is_refused_to_a_read_and_told_to_a_write() {
    let long = "y".repeat(200_000);
    let sent = long.clone();
    let node = Node::scripted(move |_, _| answer("201 Created", &[], &sent)).await;
    let small = Config {
        hold_bytes_max: 128 * 1024,
        ..config()
    };
    let stand = Stand::with(small, table(1, &[node.address])).await;
    assert_eq!(stand.ask(GET, "").await.code(), "unavailable");
    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.body.as_slice()), (201, long.as_bytes()));
}

#[tokio::test]
async fn pages_of_admitted_origins_may_read_answers_and_errors_and_preflight_without_a_token() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    let preflight = "OPTIONS /v1/conversations\norigin: http://localhost:5173\naccess-control-request-method: POST";
    client.send(preflight, "").await;
    let allowed = client.answer().await.unwrap();
    assert_eq!(
        (
            allowed.status(),
            allowed.header("access-control-allow-methods")
        ),
        (204, Some("GET, HEAD, POST"))
    );
    assert!(
        allowed
            .header("access-control-allow-headers")
            .unwrap()
            .contains("Idempotency-Key")
    );
    assert!(allowed.header("x-request-id").is_some());
    for head in [GET, "GET /nowhere", "GET /v1/conversations", "PUT /v1/ws"] {
        let got = client
            .ask(&format!("{head}\norigin: http://localhost:5173"), "")
            .await;
        assert_eq!(
            got.header("access-control-allow-origin"),
            Some("http://localhost:5173"),
            "{head}"
        );
        assert_eq!(
            got.header("access-control-expose-headers"),
            Some("Location, Retry-After, X-Request-Id, Rookery-Stale")
        );
        assert_eq!(got.header("vary"), Some("Origin"));
        let stranger = client
            .ask(&format!("{head}\norigin: https://evil.example"), "")
            .await;
        assert_eq!(
            (
                stranger.header("access-control-allow-origin"),
                stranger.header("vary")
            ),
            (None, Some("Origin"))
        );
    }
    let foreign = "OPTIONS /v1/conversations\norigin: https://evil.example\naccess-control-request-method: POST";
    assert_eq!(client.ask(foreign, "").await.status(), 405);
}

#[tokio::test]
async fn a_head_that_does_not_arrive_closes_the_connection() {
    let node = Node::ok().await;
    let quick = Config {
        head_timeout: Duration::from_millis(500),
        ..config()
    };
    let stand = Stand::with(quick, table(1, &[node.address])).await;
    let mut silent = stand.client().await;
    assert_eq!(silent.rest().await, b"");
    let mut second = stand.client().await;
    assert_eq!(second.ask(GET, "").await.status(), 200);
    second
        .stream
        .write_all(b"GET /v1/conversations/general HTTP/1.1\r\nx-slow: ")
        .await
        .unwrap();
    assert_eq!(
        second.rest().await,
        b"",
        "the second head of a connection is timed too"
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused_and_its_connection_closed() {
    let node = Node::ok().await;
    let quick = Config {
        body_timeout: Duration::from_millis(100),
        ..config()
    };
    let stand = Stand::with(quick, table(1, &[node.address])).await;
    let mut client = stand.client().await;
    client
        .send(&format!("{POST}\ncontent-length: 10"), "")
        .await;
    let got = client.answer().await.expect("an answer");
    assert_eq!((got.status(), got.code().as_str()), (400, "invalid"));
    assert_eq!(client.rest().await, b"");
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_malformed_body_framing_is_the_clients_error() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let mut client = stand.client().await;
    client
        .send(&format!("{POST}\ntransfer-encoding: chunked"), "")
        .await;
    client
        .stream
        .write_all(b"zz\r\nnonsense\r\n")
        .await
        .unwrap();
    assert_eq!(client.answer().await.expect("an answer").code(), "invalid");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand
        .ask(&format!("{GET}\nx-long: {}", "x".repeat(40_000)), "")
        .await;
    assert_eq!(got.status(), 431);
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_node_that_tells_how_long_it_cannot_is_taken_at_its_word() {
    const UNAVAILABLE: &str = r#"{"code":"unavailable"}"#;
    let node = Node::scripted(|_, _| {
        answer(
            "503 Service Unavailable",
            &["content-type: application/problem+json", "retry-after: 5"],
            UNAVAILABLE,
        )
    });
    let node = node.await;
    let stand = Stand::new(&[node.address]).await;
    let got = stand.ask(POST, "{}").await;
    assert_eq!((got.status(), got.header("retry-after")), (503, Some("5")));
    assert_eq!(got.body, UNAVAILABLE.as_bytes());
    assert_eq!(node.seen().len(), 1, "asked once");
}

#[tokio::test]
async fn a_full_hold_memory_refuses_at_once_and_recovers() {
    let node = Node::scripted(|at, _| {
        if at == 0 {
            Reply::Hang
        } else {
            answer("200 OK", &[], "{}")
        }
    })
    .await;
    let small = Config {
        hold_bytes_max: 16 * 1024,
        budget: Duration::from_millis(2500),
        ..config()
    };
    let stand = Stand::with(small, table(1, &[node.address])).await;
    let mut held = stand.client().await;
    held.send(POST, &"x".repeat(3 * 1024)).await;
    node.asked().await;
    assert_eq!(
        stand.ask(POST, "{}").await.code(),
        "unavailable",
        "the quarter of the unverified is full"
    );
    assert_eq!(node.seen().len(), 1, "refused without a node");
    assert_eq!(held.answer().await.unwrap().code(), "outcome_unknown");
    assert_eq!(stand.ask(POST, "{}").await.status(), 200);
}

#[tokio::test]
async fn a_good_token_has_the_whole_hold_memory() {
    let secret = "0123456789abcdef0123456789abcdef";
    let clock = Clock::system();
    let settings = auth::Config {
        hs256_secret: Some(secret.to_owned()),
        cache_max: 10,
        ..auth::Config::default()
    };
    let verifier = Verifier::new(settings, clock.clone()).unwrap();
    let good = auth::issue(
        secret,
        &"alice".parse().unwrap(),
        Duration::from_secs(60),
        &clock,
    )
    .unwrap();
    let node = Node::ok().await;
    let small = Config {
        hold_bytes_max: 64 * 1024,
        ..config()
    };
    let stand = Stand::verifying(small, table(1, &[node.address]), Some(verifier)).await;
    let body = "x".repeat(30 * 1024);
    assert_eq!(
        stand
            .ask(&format!("{POST}\nauthorization: Bearer {good}"), &body)
            .await
            .status(),
        200
    );
    assert_eq!(
        stand
            .ask(
                &format!("{POST}\nauthorization: Bearer {}", token("alice")),
                &body
            )
            .await
            .status(),
        503
    );
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn a_drain_finishes_requests_begun_and_takes_no_more() {
    let told = Arc::new(Notify::new());
    let when = Arc::clone(&told);
    let node = Node::scripted(move |_, _| {
        Reply::SendAfter(
            Arc::clone(&when),
            "HTTP/1.1 201 Created\r\n\r\n{}".to_owned(),
        )
    });
    let node = node.await;
    let mut stand = Stand::new(&[node.address]).await;
    assert_eq!(stand.router.readiness(), Ok(()));
    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    node.asked().await;
    stand.drain.cancel();
    timeout(PATIENCE, async {
        while stand.router.readiness() != Err("draining") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(
        TcpStream::connect(stand.address).await.is_err(),
        "no new connection"
    );
    told.notify_one();
    assert_eq!(client.answer().await.expect("the answer").status(), 201);
    assert_eq!(client.rest().await, b"");
    timeout(PATIENCE, &mut stand.served)
        .await
        .expect("the router ends")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_a_silent_node_has_goes_to_the_next_owner_once_the_table_names_it() {
    let silent = Node::scripted(|_, _| Reply::Hang).await;
    let next = Node::scripted(|_, _| answer("201 Created", &[], "{}")).await;
    let stand = Stand::new(&[silent.address]).await;
    let mut client = stand.client().await;
    client.send(POST, "{}").await;
    silent.asked().await;
    stand.shelf.put(table(2, &[next.address, silent.address]));
    stand.router.0.directory.refresh();
    let got = client
        .answer()
        .await
        .expect("an answer long before the budget ends");
    assert_eq!(got.status(), 201);
    assert!(next.seen()[0].header("rookery-stamped-key").is_some());
}

#[tokio::test]
async fn a_first_node_that_owns_nothing_and_names_nobody_is_followed_by_the_next_of_the_row() {
    let standby =
        Node::scripted(|_, _| answer("421 Misdirected Request", &["rookery-table-version: 1"], ""))
            .await;
    let owner = Node::ok().await;
    let stand = Stand::with(short(2_000), table(1, &[standby.address, owner.address])).await;
    let got = stand.ask(GET, "").await;
    assert_eq!(got.status(), 200);
    assert_eq!((standby.seen().len(), owner.seen().len()), (1, 1));
}
