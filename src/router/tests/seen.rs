//! What a scripted node is asked, as HTTP says it.

use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;
use crate::link::front::{Authorization, Key};
use crate::link::proof::ClusterKey;

pub(super) fn key() -> ClusterKey {
    ClusterKey::new(&[7; 32]).unwrap()
}

/// A request as a node saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// A call, written as the request that it is.
    pub(super) fn called(call: &Call) -> Self {
        let (endpoint, method) = call.operation.place();
        let method = if call.head { "HEAD" } else { method.as_str() };
        let first = call.first.clone().unwrap_or_default();
        let path = endpoint
            .template()
            .replace("{name}", &first)
            .replace("{id}", &first);
        let path = path.replace("{user}", call.second.as_deref().unwrap_or_default());

        let query = if call.query.is_empty() {
            String::new()
        } else {
            format!("?{}", call.query)
        };
        let mut headers = vec![
            ("x-request-id".to_owned(), call.request_id.clone()),
            (
                "rookery-deadline-ms".to_owned(),
                call.deadline_ms.to_string(),
            ),
        ];

        headers.extend(
            call.token
                .iter()
                .map(|token| ("authorization".to_owned(), format!("Bearer {token}"))),
        );
        headers.extend(match &call.key {
            Key::Client(key) => Some(("idempotency-key".to_owned(), key.clone())),
            Key::Stamped(key) => Some(("rookery-stamped-key".to_owned(), key.clone())),
            Key::None | Key::Malformed => None,
        });

        let flags = [
            (call.json, "content-type", "application/json"),
            (call.strict, "rookery-consistency", "strict"),
            (call.too_large, "rookery-body-too-large", "1"),
        ];
        let set = flags.into_iter().filter(|(set, ..)| *set);
        headers.extend(set.map(|(_, name, value)| (name.to_owned(), value.to_owned())));

        Self {
            line: format!("{method} /v1{path}{query} HTTP/1.1"),
            headers,
            body: call.body.to_vec(),
        }
    }

    /// Likewise what asks for a session.
    pub(super) fn opened(open: &Open) -> Self {
        let query = if open.query.is_empty() {
            String::new()
        } else {
            format!("?{}", open.query)
        };

        let mut headers = vec![
            ("x-request-id".to_owned(), open.request_id.clone()),
            (
                "rookery-deadline-ms".to_owned(),
                open.deadline_ms.to_string(),
            ),
            (
                "sec-websocket-protocol".to_owned(),
                open.protocols.join(", "),
            ),
        ];

        if let Authorization::Bearer(token) = &open.authorization {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }

        Self {
            line: format!("GET /v1/ws{query} HTTP/1.1"),
            headers,
            body: Vec::new(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(seen, _)| seen == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Seen {
    pub(super) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(
            problem["request_id"].as_str(),
            self.header("x-request-id"),
            "the ids are one"
        );
        assert_eq!(
            self.header("retry-after").is_some(),
            matches!(self.status(), 429 | 503),
            "{self:?}"
        );

        problem["code"].as_str().unwrap().to_owned()
    }
}

/// An unsigned token: good enough to choose a node.
pub(super) fn token(subject: &str) -> String {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    format!(
        "{}.{}.c2ln",
        part(r#"{"alg":"HS256"}"#),
        part(&format!(r#"{{"sub":"{subject}","exp":4102444800}}"#))
    )
}
