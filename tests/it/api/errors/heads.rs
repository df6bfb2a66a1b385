//! Heads: request ids, browsers, and what is no HTTP.

use serde_json::Value;

use super::*;
use crate::support::DEADLINE;

#[tokio::test]
async fn the_request_id_is_the_clients_when_it_is_harmless() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let get = |path: &'static str, id: String| {
        let alice = alice.clone();
        async move {
            alice
                .call(Method::GET, path, &[("x-request-id", &id)], Bytes::new())
                .await
        }
    };

    for id in ["abc-1.2_3".to_owned(), "x".repeat(64)] {
        assert_eq!(
            get("/v1/conversations", id.clone())
                .await
                .header("x-request-id"),
            id
        );
        let problem = get("/v1/nothing", id.clone())
            .await
            .refused(404, "not_found");
        assert_eq!(problem.text("request_id"), id);
    }

    for id in [
        "x".repeat(65),
        "a b".to_owned(),
        "a\"b".to_owned(),
        "a/b".to_owned(),
        String::new(),
    ] {
        let answer = get("/v1/nothing", id.clone()).await;
        assert_ne!(answer.refused(404, "not_found").text("request_id"), id);
    }

    let (one, two) = (
        alice.get("/v1/conversations").await,
        alice.get("/v1/conversations").await,
    );
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_browser_on_localhost_may_ask_first_without_a_token() {
    let server = shared();
    let client = server.client(&unique("alice")).with_token(None);
    let origin = "http://localhost:3000";
    let preflight = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,idempotency-key",
        ),
    ];

    let answer = client
        .call(
            Method::OPTIONS,
            "/v1/conversations",
            &preflight,
            Bytes::new(),
        )
        .await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), origin);

    let lower = |name: &str| answer.header(name).to_ascii_lowercase();
    assert!(
        lower("access-control-allow-methods").contains("post"),
        "{answer:?}"
    );

    for header in ["authorization", "content-type", "idempotency-key"] {
        assert!(
            lower("access-control-allow-headers").contains(header),
            "{header}: {answer:?}"
        );
    }

    let alice = server.client(&unique("alice"));
    let answer = alice
        .call(
            Method::GET,
            "/v1/conversations",
            &[("origin", origin)],
            Bytes::new(),
        )
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), origin);

    let exposed = answer
        .header("access-control-expose-headers")
        .to_ascii_lowercase();
    for header in ["location", "retry-after", "x-request-id", "rookery-stale"] {
        assert!(exposed.contains(header), "{header}: {exposed}");
    }

    let foreign = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = client
        .call(Method::OPTIONS, "/v1/conversations", &foreign, Bytes::new())
        .await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "",
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let server = shared();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET / HTT",
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The end may be a reset; what matters is that it comes, and what the server says to the
        // next one.
        drop(
            tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
                .await
                .expect("the connection ends"),
        );
        assert!(
            !String::from_utf8_lossy(&answer).contains(" 500 "),
            "{answer:?}"
        );
    }

    let alice = server.client(&unique("alice"));
    let list: Value = alice.get("/v1/conversations").await.expect(200);
    assert!(list.list("items").is_empty());
}
