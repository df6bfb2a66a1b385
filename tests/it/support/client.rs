//! One user over REST.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::support::{Fields, contract, token};

/// A request may take the server's whole budget of 5 s; far beyond that the server hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A disk that serves others too may stand still for longer than the server's budget.
const LAG_WITHIN: Duration = Duration::from_secs(30);

/// What the server asks for in `Retry-After` is a second.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// A user's HTTP client with connections of its own.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    user: String,
    token: Option<String>,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
}

impl Client {
    /// A client with a good token.
    pub(crate) fn new(address: SocketAddr, user: &str) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self {
            address,
            user: user.to_owned(),
            token: Some(token(user)),
            http,
        }
    }

    /// The same with another token, or none.
    pub(crate) fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// Whose client this is.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Any request. The error is that of the connection.
    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }

        for (name, value) in headers {
            request = request.header(*name, *value);
        }

        let whole = async {
            let response = self
                .http
                .request(request.body(Full::new(body)).unwrap())
                .await
                .map_err(|e| format!("{e:?}"))?;
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|e| format!("{e:?}"))?
                .to_bytes();
            Ok::<_, String>(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        };

        let answer: Answer = tokio::time::timeout(ANSWER_WITHIN, whole)
            .await
            .map_err(|elapsed| elapsed.to_string())??;
        contract::check(&method, path, &answer);
        Ok(answer)
    }

    /// Any request; a connection that breaks fails the test. An answer of `lagging` says that a
    /// repeat helps: like any client's, the request is repeated, for [`LAG_WITHIN`], unless that
    /// could make a second message.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let shown = format!("{method} {path}");
        let has_key = headers.iter().any(|(name, _)| *name == "idempotency-key");
        let may_repeat = method != Method::POST || has_key;
        let end = Instant::now() + LAG_WITHIN;
        loop {
            let answer = self
                .try_call(method.clone(), path, headers, body.clone())
                .await
                .unwrap_or_else(|error| panic!("{shown}: {error}"));
            if !may_repeat || !answer.lags() || Instant::now() > end {
                return answer;
            }
            tokio::time::sleep(REPEAT_AFTER).await;
        }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Bytes::new()).await
    }

    /// POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.to_string().into(),
        )
        .await
    }

    /// POST with a JSON body and an idempotency key.
    pub(crate) async fn post_with_key(&self, path: &str, body: &Value, key: &str) -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        self.call(Method::POST, path, &headers, body.to_string().into())
            .await
    }

    /// POST without a body, as for `read`.
    pub(crate) async fn post_nothing(&self, path: &str) -> Answer {
        self.call(Method::POST, path, &[], Bytes::new()).await
    }

    /// PUT with a JSON body.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body.to_string().into(),
        )
        .await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Creates a conversation with these participants.
    pub(crate) async fn create(&self, participants: &[&str]) -> Value {
        self.post("/v1/conversations", &json!({"participants": participants}))
            .await
            .expect(201)
    }

    /// Sends a message and returns it.
    pub(crate) async fn say(&self, conversation: &str, text: &str) -> Value {
        self.post(
            &format!("/v1/conversations/{conversation}/messages"),
            &json!({"text": text}),
        )
        .await
        .expect(201)
    }

    /// One page of history, with this query (`""` or `limit=…`).
    pub(crate) async fn history(&self, conversation: &str, query: &str) -> Value {
        self.get(&format!(
            "/v1/conversations/{conversation}/messages?{query}"
        ))
        .await
        .expect(200)
    }

    /// Everything that happened in the conversation, over all pages; fails unless seq is dense from
    /// 1.
    pub(crate) async fn all_events(&self, conversation: &str) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let path = format!(
                "/v1/conversations/{conversation}/events?limit=200&after={}",
                events.len()
            );
            let page = self.get(&path).await.expect(200);
            for item in page.list("items") {
                assert_eq!(
                    item.number("seq"),
                    events.len() as u64 + 1,
                    "seq is not dense in {conversation}"
                );
                events.push(item.clone());
            }
            if page["next"].is_null() {
                return events;
            }
            assert!(
                !page.list("items").is_empty(),
                "an empty page has no next one: {page}"
            );
        }
    }

    /// The receipts of a message, by user.
    pub(crate) async fn receipt_of(&self, message: &Value, user: &str) -> Option<Value> {
        let page = self
            .get(&format!(
                "/v1/messages/{}/receipts?limit=1000",
                message.text("id")
            ))
            .await
            .expect(200);
        page.list("items")
            .iter()
            .find(|receipt| receipt.text("user_id") == user)
            .cloned()
    }

    /// Adds participants.
    pub(crate) async fn add(&self, conversation: &str, users: &[&str]) -> Answer {
        self.post(
            &format!("/v1/conversations/{conversation}/participants"),
            &json!({"participants": users}),
        )
        .await
    }

    /// Removes a participant.
    pub(crate) async fn remove(&self, conversation: &str, user: &str) -> Answer {
        self.delete(&format!(
            "/v1/conversations/{conversation}/participants/{user}"
        ))
        .await
    }
}

impl Answer {
    /// A header as text, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// True when the server had to refuse because its file was behind.
    fn lags(&self) -> bool {
        let problem = serde_json::from_slice::<Value>(&self.body);
        self.status == 503 && problem.is_ok_and(|problem| problem["code"] == "lagging")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON body (null when empty) of an answer with this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(
            !self.header("x-request-id").is_empty(),
            "every answer has a request id: {self:?}"
        );
        if self.body.is_empty() {
            return Value::Null;
        }
        assert!(
            self.header("content-type").starts_with("application/json"),
            "{self:?}"
        );
        self.json()
    }

    /// The problem of a refusal with this status and code; its shape is checked too.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.json()["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");

        let problem = self.json();
        for field in ["type", "title", "detail"] {
            assert!(
                !problem.text(field).is_empty(),
                "{field} is empty: {problem}"
            );
        }

        assert_eq!(problem.number("status"), u64::from(status));
        assert_eq!(problem["retryable"], matches!(status, 429 | 503));
        assert_eq!(problem.text("request_id"), self.header("x-request-id"));
        assert_eq!(
            self.header("www-authenticate") == "Bearer",
            status == 401,
            "{self:?}"
        );
        assert_eq!(
            self.headers.contains_key("retry-after"),
            matches!(status, 429 | 503),
            "{self:?}"
        );

        problem
    }
}
