//! Which refusal comes first.

use super::*;

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
