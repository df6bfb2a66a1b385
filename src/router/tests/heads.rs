//! Heads that no service sees, and bodies that a client keeps until it is asked for them.

use super::*;
use crate::auth;
use crate::clock::Clock;

/// Sends bytes as they are, and reads until the router closes.
async fn exchange(stand: &Stand, bytes: &[u8]) -> String {
    let mut client = stand.client().await;
    client.stream.write_all(bytes).await.unwrap();
    String::from_utf8_lossy(&client.rest().await).into_owned()
}

/// Status, code and request id of an answer that was read whole.
fn explained(answer: &str) -> (String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    let body: serde_json::Value = serde_json::from_str(body).expect(answer);
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "))
        .expect(answer);
    assert_eq!(body["request_id"], id);
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    (
        head[9..12].to_owned(),
        body["code"].as_str().expect(answer).to_owned(),
    )
}

#[tokio::test]
async fn what_cannot_be_read_as_a_request_is_answered_with_a_problem_and_a_request_id() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let many: String = (0..65).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = "x".repeat(40 * 1024);

    for (sent, status, code) in [
        ("G\0T / HTTP/1.1\r\n\r\n".to_owned(), "400", "invalid"),
        (
            "GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            "400",
            "invalid",
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "400",
            "invalid",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
            "431",
            "head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
            "431",
            "head_too_large",
        ),
    ] {
        let answer = exchange(&stand, sent.as_bytes()).await;
        assert_eq!(
            explained(&answer),
            (status.to_owned(), code.to_owned()),
            "{}",
            &sent[..20]
        );
    }

    assert!(node.seen().is_empty());
    let answer = exchange(&stand, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(
        answer.contains("HTTP/1.1"),
        "it says what is spoken: {answer}"
    );
}

#[tokio::test]
async fn as_many_headers_as_the_router_takes_reach_the_node() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let many: String = (0..63).map(|number| format!("\nx-{number}: 1")).collect();
    let got = stand
        .ask(&format!("GET /v1/conversations/general{many}"), "")
        .await;
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_refused_before_it_is() {
    let secret = "0123456789abcdef0123456789abcdef";
    let settings = auth::Config {
        hs256_secret: Some(secret.to_owned()),
        cache_max: 10,
        ..auth::Config::default()
    };
    let verifier = Verifier::new(settings, Clock::system()).unwrap();
    let node = Node::ok().await;
    let stand = Stand::verifying(config(), table(1, &[node.address]), Some(verifier)).await;
    let waiting = "host: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n";
    let messages = "/v1/conversations/general/messages";

    for (line, status) in [
        ("POST /nowhere".to_owned(), "404"),
        (format!("PATCH {messages}"), "405"),
        (format!("POST {messages}"), "401"),
    ] {
        let answer = exchange(&stand, format!("{line} HTTP/1.1\r\n{waiting}").as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }

    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_declared_too_long_is_refused_before_it_is_asked_for() {
    let node = Node::ok().await;
    let stand = Stand::new(&[node.address]).await;
    let head = "POST /v1/conversations/general/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    let sent = format!("{head}\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n");
    let answer = exchange(&stand, sent.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "the scripted node answers: {answer}"
    );
    assert_eq!(
        node.seen()[0].header("rookery-body-too-large"),
        Some("1"),
        "the node refuses, in its order"
    );
}
