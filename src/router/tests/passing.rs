//! What passes from a client to a node and back, and what a router answers by itself.

use super::*;

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
        ("OPTIONS /conversations/a/participants/b", "DELETE, PUT"),
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
