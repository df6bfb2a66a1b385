//! The head of an HTTP request as a [`Call`]. Pure: what it means is decided by the node.

use std::str::from_utf8;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::link::front::{Call, Key};
use crate::protocol::headers::{CONSISTENCY, IDEMPOTENCY_KEY};
use crate::protocol::routes::{Matched, Operation};

impl Call {
    /// The call of a request whose path matched, and asks for this. Its number, its deadline and
    /// what is told of the table are set when it is sent.
    #[must_use]
    pub fn of(
        head: &Parts,
        matched: Matched<'_>,
        operation: Operation,
        request_id: &str,
        body: Bytes,
    ) -> Self {
        let headers = &head.headers;
        Self {
            id: 0,
            deadline_ms: 0,
            table_version: 0,
            table_age_ms: None,
            request_id: request_id.to_owned(),
            operation,
            first: matched.first.map(str::to_owned),
            second: matched.second.map(str::to_owned),
            query: head.uri.query().unwrap_or_default().to_owned(),
            head: head.method == Method::HEAD,
            token: bearer(headers).map(str::to_owned),
            key: key(headers),
            json: is_json(headers),
            encoded: !is_unencoded(headers),
            strict: text_of(headers, CONSISTENCY)
                .is_some_and(|value| value.eq_ignore_ascii_case("strict")),
            body,
            too_large: false,
        }
    }
}

/// The token of `Authorization: Bearer`. No other place is looked at, and two headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let value = given.next().filter(|_| given.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The client's key; what is in it, the node checks.
fn key(headers: &HeaderMap) -> Key {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (given.next(), given.next()) {
        (None, _) => Key::None,
        (Some(_), Some(_)) => Key::Malformed,
        (Some(value), None) => {
            from_utf8(value.as_bytes()).map_or(Key::Malformed, |text| Key::Client(text.to_owned()))
        }
    }
}

/// Whether the body is said to be JSON; parameters do not matter.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = text_of(headers, header::CONTENT_TYPE.as_str())
        .map(|value| value.split(';').next().unwrap_or(value));
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether a body comes as it is: no compression is undone here.
fn is_unencoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.into_iter().all(|encoding| {
        encoding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                *name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header"),
            );
        }
        headers
    }

    #[test]
    fn the_token_comes_from_one_authorization_header() {
        assert_eq!(
            bearer(&headers(&[("authorization", "Bearer abc")])),
            Some("abc")
        );
        assert_eq!(
            bearer(&headers(&[("authorization", "bearer abc")])),
            Some("abc")
        );
        assert_eq!(bearer(&headers(&[])), None);
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
        assert_eq!(bearer(&headers(&[("authorization", "Bearer")])), None);
        assert_eq!(
            bearer(&headers(&[
                ("authorization", "Bearer a"),
                ("authorization", "Bearer b")
            ])),
            None
        );
    }

    #[test]
    fn a_key_is_one_header_with_a_text() {
        assert_eq!(key(&headers(&[])), Key::None);
        assert_eq!(
            key(&headers(&[("idempotency-key", "ä 1")])),
            Key::Client("ä 1".to_owned())
        );
        assert_eq!(
            key(&headers(&[
                ("idempotency-key", "a"),
                ("idempotency-key", "a")
            ])),
            Key::Malformed
        );

        let binary = HeaderValue::from_bytes(&[0xff]).expect("a header");
        assert_eq!(
            key(&HeaderMap::from_iter([(
                header::HeaderName::from_static(IDEMPOTENCY_KEY),
                binary
            )])),
            Key::Malformed
        );
    }

    #[test]
    fn the_content_type_is_compared_without_its_parameters() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            " application/json ;x",
        ] {
            assert!(is_json(&headers(&[("content-type", good)])), "{good}");
        }

        for bad in [
            "text/plain",
            "application/jsonx",
            "application/problem+json",
            "",
        ] {
            assert!(!is_json(&headers(&[("content-type", bad)])), "{bad}");
        }

        assert!(!is_json(&headers(&[])));
    }

    #[test]
    fn a_body_is_taken_as_it_is_or_not_at_all() {
        for good in [
            &[][..],
            &[("content-encoding", "identity")],
            &[("content-encoding", " Identity ")],
        ] {
            assert!(is_unencoded(&headers(good)), "{good:?}");
        }
        for bad in ["gzip", "identity, gzip", "br", ""] {
            assert!(
                !is_unencoded(&headers(&[("content-encoding", bad)])),
                "{bad}"
            );
        }
    }
}
