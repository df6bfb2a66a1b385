//! Refusals: which one comes first, and what each looks like.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::server::shared;
use crate::support::{DEADLINE, Fields, Group, unique};

const JSON: (&str, &str) = ("content-type", "application/json");

/// One row of the order of checks: what is wrong with the request, and which refusal wins.
struct Row {
    method: Method,
    path: String,
    token: bool,
    headers: &'static [(&'static str, &'static str)],
    body: Bytes,
    refused: (u16, &'static str),
}

fn row(method: Method, path: &str, refused: (u16, &'static str)) -> Row {
    Row {
        method,
        path: path.to_owned(),
        token: true,
        headers: &[JSON],
        body: Bytes::new(),
        refused,
    }
}

impl Row {
    fn anonymous(mut self) -> Self {
        self.token = false;
        self
    }

    fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn order_of_checks(mine: &str, foreign: &str) -> Vec<Row> {
    let big = || vec![b'x'; 128 * 1024 + 1];
    let long = || json!({"text": "x".repeat(16_385)}).to_string();
    let unknown_reply =
        || json!({"text": "x", "reply_to": "123e4567-e89b-42d3-a456-426614174000"}).to_string();
    let (mine, foreign) = (
        format!("/v1/conversations/{mine}/messages"),
        format!("/v1/conversations/{foreign}/messages"),
    );
    vec![
        // The path comes before the token, the method too.
        row(Method::GET, "/v1/nothing", (404, "not_found")).anonymous(),
        row(Method::GET, "/", (404, "not_found")).anonymous(),
        row(Method::GET, "/v2/conversations", (404, "not_found")),
        row(Method::GET, "/v1/messages", (404, "not_found")),
        row(Method::POST, "/metrics", (404, "not_found")),
        row(
            Method::PATCH,
            "/v1/conversations",
            (405, "method_not_allowed"),
        )
        .anonymous(),
        row(Method::PUT, &mine, (405, "method_not_allowed"))
            .anonymous()
            .body(big()),
        row(Method::OPTIONS, &mine, (405, "method_not_allowed")).anonymous(),
        // The token comes before anything about the body.
        row(Method::POST, &mine, (401, "unauthorized"))
            .anonymous()
            .body(big()),
        row(Method::POST, &mine, (401, "unauthorized"))
            .anonymous()
            .body("{"),
        row(
            Method::GET,
            "/v1/conversations/a%20b",
            (401, "unauthorized"),
        )
        .anonymous(),
        // Size, then type, then form.
        row(Method::POST, &mine, (413, "too_large"))
            .headers(&[("content-type", "text/plain")])
            .body(big()),
        row(Method::POST, &foreign, (413, "too_large")).body(big()),
        row(Method::POST, &mine, (415, "unsupported_media_type"))
            .headers(&[("content-type", "text/plain")])
            .body("{"),
        row(Method::POST, &mine, (415, "unsupported_media_type"))
            .headers(&[])
            .body("{\"text\":\"x\"}"),
        row(Method::POST, &mine, (415, "unsupported_media_type")),
        row(Method::POST, &foreign, (400, "invalid")).body("{"),
        row(Method::POST, &foreign, (400, "invalid")).body("{\"text\":\"\"}"),
        row(Method::GET, &format!("{foreign}?limit=0"), (400, "invalid")),
        row(
            Method::GET,
            &format!("{foreign}?unknown=1"),
            (400, "invalid"),
        ),
        row(
            Method::GET,
            "/v1/conversations/a%20b",
            (400, "invalid_name"),
        ),
        row(
            Method::GET,
            "/v1/conversations/%2e%2e/messages",
            (400, "invalid_name"),
        ),
        // Then the text's length, membership, and what the request names.
        row(Method::POST, &foreign, (413, "text_too_long")).body(long()),
        row(Method::POST, &foreign, (403, "not_participant")).body(unknown_reply()),
        row(Method::POST, &mine, (404, "reply_to_unknown")).body(unknown_reply()),
    ]
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let server = shared();
    let (group, others) = (
        Group::create(&server, 1).await,
        Group::create(&server, 1).await,
    );
    for row in order_of_checks(&group.name, &others.name) {
        let client = if row.token {
            group.admin.clone()
        } else {
            group.admin.clone().with_token(None)
        };
        let shown = format!(
            "{} {} {:?} {} bytes",
            row.method,
            row.path,
            row.headers,
            row.body.len()
        );
        let answer = client
            .call(row.method, &row.path, row.headers, row.body)
            .await;
        let got = (
            answer.status,
            answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        assert_eq!(got, (row.refused.0, row.refused.1.to_owned()), "{shown}");
        answer.refused(row.refused.0, row.refused.1);
    }
}

#[tokio::test]
async fn what_is_not_allowed_tells_what_is() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let message = group.admin.say(&group.name, "x").await;
    let of_message = |rest: &str| format!("/v1/messages/{}{rest}", message.text("id"));
    for (path, allowed) in [
        ("/v1/conversations".to_owned(), &["GET", "HEAD", "POST"][..]),
        (group.path(""), &["GET", "HEAD"]),
        (group.path("/participants"), &["GET", "HEAD", "POST"]),
        (group.path("/participants/bob"), &["DELETE"]),
        (group.path("/messages"), &["GET", "HEAD", "POST"]),
        (group.path("/events"), &["GET", "HEAD"]),
        (group.path("/watermarks"), &["GET", "HEAD"]),
        (of_message(""), &["DELETE", "GET", "HEAD", "PATCH"]),
        (of_message("/receipts"), &["GET", "HEAD"]),
        (of_message("/reaction"), &["DELETE", "PUT"]),
        (of_message("/read"), &["POST"]),
    ] {
        let answer = group
            .admin
            .call(Method::OPTIONS, &path, &[], Bytes::new())
            .await;
        answer.refused(405, "method_not_allowed");
        let mut allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{path}");
        let trace = group.admin.call(Method::TRACE, &path, &[], "".into());
        assert_eq!(trace.await.header("allow"), answer.header("allow"));
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for (path, status) in [
        (group.path("/messages"), 200),
        ("/v1/conversations".to_owned(), 200),
    ] {
        let answer = group
            .admin
            .call(Method::HEAD, &path, &[], Bytes::new())
            .await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, 0),
            "{answer:?}"
        );
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
    let refused = server
        .client(&unique("mallory"))
        .call(Method::HEAD, &group.path(""), &[], Bytes::new())
        .await;
    assert_eq!((refused.status, refused.body.len()), (403, 0));
}

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
async fn malformed_json_is_told_with_its_position() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for (body, position) in [
        ("{\n\"text\": x}", "line 2"),
        ("{\"text\":\"x\"", "column 11"),
        ("{\"text\":\"\\ud800\"}", ""),
    ] {
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body.into())
            .await;
        let problem = answer.refused(400, "invalid");
        assert!(problem.text("detail").contains(position), "{problem}");
    }
    for body in [
        &b"\xff\xfe"[..],
        b"{\"text\":\"\xff\"}",
        b"{\"text\":\"x\"}{\"text\":\"y\"}",
        b"{\"text\":\"x\"},",
        b"null",
    ] {
        let body = Bytes::from_static(body);
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body)
            .await;
        answer.refused(400, "invalid");
    }
    let deep = "[".repeat(60_000);
    let answer = group
        .admin
        .call(Method::POST, &group.path("/messages"), &[JSON], deep.into())
        .await;
    answer.refused(400, "invalid");
    assert_eq!(
        group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("last_seq"),
        1
    );
}

#[tokio::test]
async fn the_content_type_may_have_parameters_and_any_case() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;x=y",
    ] {
        let body = json!({"text": kind}).to_string();
        let headers = [("content-type", kind)];
        group
            .admin
            .call(
                Method::POST,
                &group.path("/messages"),
                &headers,
                body.into(),
            )
            .await
            .expect(201);
    }
    for kind in [
        "application/jsonx",
        "text/json",
        "application/x-www-form-urlencoded",
        "json",
        "",
    ] {
        let body = json!({"text": kind}).to_string();
        let headers = [("content-type", kind)];
        let answer = group
            .admin
            .call(
                Method::POST,
                &group.path("/messages"),
                &headers,
                body.into(),
            )
            .await;
        answer.refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_body_far_too_large_still_gets_its_413() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for bytes in [128 * 1024 + 1, 1 << 20, 15 << 20] {
        let body = Bytes::from(vec![b' '; bytes]);
        let answer = group
            .admin
            .call(Method::POST, &group.path("/messages"), &[JSON], body)
            .await;
        answer.refused(413, "too_large");
    }
    // Just within the limit of a body, and too long only as a text.
    let body = json!({"text": "x".repeat(128 * 1024 - 11)}).to_string();
    assert_eq!(body.len(), 128 * 1024);
    let answer = group
        .admin
        .call(Method::POST, &group.path("/messages"), &[JSON], body.into())
        .await;
    answer.refused(413, "text_too_long");
}

#[tokio::test]
async fn unknown_query_parameters_are_400_everywhere() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let message = group.admin.say(&group.name, "x").await;
    let message_path = format!("/v1/messages/{}", message.text("id"));
    for path in [
        "/v1/conversations".to_owned(),
        group.path(""),
        group.path("/participants"),
        group.path("/messages"),
        group.path("/events"),
        group.path("/watermarks"),
        message_path.clone(),
        format!("{message_path}/receipts"),
    ] {
        group.admin.get(&path).await.expect(200);
        group
            .admin
            .get(&format!("{path}?colour=blue"))
            .await
            .refused(400, "invalid");
    }
    group
        .admin
        .post(&group.path("/messages?x=1"), &json!({"text": "x"}))
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn everything_is_also_served_without_the_version() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let made = alice
        .post("/conversations", &json!({"participants": ["bob"]}))
        .await
        .expect(201);
    let name = made.text("name");
    let path = format!("/conversations/{name}/messages");
    let sent = alice.post(&path, &json!({"text": "x"})).await.expect(201);
    assert_eq!(
        alice.get(&path).await.expect(200).list("items"),
        std::slice::from_ref(&sent)
    );
    assert_eq!(
        alice
            .get(&format!("/messages/{}", sent.text("id")))
            .await
            .expect(200),
        sent
    );
    assert_eq!(
        alice
            .get(&format!("/v1/conversations/{name}"))
            .await
            .expect(200)
            .number("last_seq"),
        2
    );
}

#[tokio::test]
async fn the_operations_port_is_not_reachable_through_the_client_port() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/cluster",
        "/v1/metrics",
        "/v1/cluster",
    ] {
        alice.get(path).await.refused(404, "not_found");
    }
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
