//! The headers of the client contract, beside those that HTTP defines.

use http::HeaderMap;
use uuid::Uuid;

/// Names a request, in its answer and in logs: the client's if it can be repeated, else a new one.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// The key under which a write may be repeated without a second effect.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of a request: `strict` refuses a stale answer.
pub(crate) const CONSISTENCY: &str = "rookery-consistency";
/// Header of an answer: milliseconds by which it may be stale.
pub(crate) const STALE: &str = "rookery-stale";

/// Longest request id taken from a client, in bytes.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 64;

/// The client's request id if it is 1 to 64 of `A-Za-z0-9._-`, else a new one.
#[must_use]
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let fits = |id: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed)
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    given
        .filter(fits)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_id_is_repeated_only_if_it_is_harmless() {
        let of = |bytes: &[u8]| {
            let value = HeaderValue::from_bytes(bytes).expect("a header");
            request_id(&HeaderMap::from_iter([(
                http::HeaderName::from_static(REQUEST_ID),
                value,
            )]))
        };
        assert_eq!(of(b"a.B_c-1"), "a.B_c-1");
        let long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
        for bad in ["", "a b", "a/b", "a\tb", "ä", long.as_str()] {
            let id = of(bad.as_bytes());
            assert!(id != bad && id.len() == 36, "{id}");
        }
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }
}
