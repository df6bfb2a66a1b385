//! What a request to open a WebSocket must look like: the same check at the router, which a client
//! meets first, and at the node, which upgrades.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header;

use crate::problem::{Code, Problem};

/// The version of the WebSocket protocol that is spoken here (RFC 6455).
pub(crate) const VERSION: &str = "13";

/// Bytes of a `Sec-WebSocket-Key` after decoding (RFC 6455, section 4.1).
const KEY_BYTES: usize = 16;

/// Query parameters by which clients elsewhere send tokens.
const TOKEN_PARAMETERS: [&str; 3] = ["token", "access_token", "jwt"];

/// Refuses a token in the query.
///
/// # Errors
/// `invalid`, with the places where a token belongs.
pub(crate) fn no_token_in_query(query: &str) -> Result<(), Problem> {
    let parameters = query.split('&');
    let mut names = parameters.map(|part| {
        part.split('=')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    });
    if names.any(|name| TOKEN_PARAMETERS.contains(&name.as_str())) {
        let detail = "a token in the query lands in logs: send it in Authorization, or in the subprotocol rookery.bearer.<JWT>";
        return Err(Problem::new(Code::Invalid, detail));
    }
    Ok(())
}

/// True when the client asks to switch to WebSocket.
#[must_use]
pub(crate) fn asks_websocket(headers: &HeaderMap) -> bool {
    has_word(headers, header::CONNECTION, "upgrade")
        && has_word(headers, header::UPGRADE, "websocket")
}

/// Checks the handshake as RFC 6455, section 4.2.1, asks.
///
/// # Errors
/// `upgrade_required` for what asks for no WebSocket, or for another version of it; `invalid` for a
/// key that is none.
pub(crate) fn check_handshake(headers: &HeaderMap) -> Result<(), Problem> {
    if !asks_websocket(headers) {
        let detail = "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket, as WebSocket clients do";
        return Err(Problem::new(Code::UpgradeRequired, detail));
    }

    if !is_exactly(headers, header::SEC_WEBSOCKET_VERSION, |version| {
        version == VERSION
    }) {
        return Err(Problem::new(
            Code::UpgradeRequired,
            "the Sec-WebSocket-Version that is spoken here is 13",
        ));
    }

    let is_key = |key: &str| {
        STANDARD
            .decode(key)
            .is_ok_and(|bytes| bytes.len() == KEY_BYTES)
    };

    if !is_exactly(headers, header::SEC_WEBSOCKET_KEY, is_key) {
        return Err(Problem::new(
            Code::Invalid,
            "one Sec-WebSocket-Key is needed: 16 bytes in base64",
        ));
    }

    Ok(())
}

/// Whether a header that lists words has this one, however it is written.
fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|given| given.trim().eq_ignore_ascii_case(word))
}

/// Whether a header is there once, with a value that is good.
fn is_exactly(
    headers: &HeaderMap,
    name: header::HeaderName,
    is_good: impl Fn(&str) -> bool,
) -> bool {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    first.is_some_and(|value| is_good(value.trim())) && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers<'a>(pairs: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        headers
    }

    fn with(changed: &'static str, value: &str) -> Result<(), Code> {
        let pairs = GOOD.map(|(name, good)| (name, if name == changed { value } else { good }));
        check_handshake(&headers(pairs)).map_err(|problem| problem.code)
    }

    #[test]
    fn who_asks_for_a_websocket_says_so_in_both_headers_however_they_are_written() {
        assert!(asks_websocket(&headers([
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket")
        ])));
        assert!(!asks_websocket(&headers([("upgrade", "websocket")])));
        assert!(!asks_websocket(&headers([
            ("connection", "upgrade"),
            ("upgrade", "h2c")
        ])));
    }

    #[test]
    fn what_asks_for_no_websocket_or_another_version_is_told_to_upgrade() {
        assert_eq!(check_handshake(&headers(GOOD)), Ok(()));

        for (name, value) in [
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-version", ""),
        ] {
            assert_eq!(
                with(name, value),
                Err(Code::UpgradeRequired),
                "{name}: {value}"
            );
        }

        assert_eq!(
            check_handshake(&HeaderMap::new()).expect_err("plain").code,
            Code::UpgradeRequired
        );
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64_and_there_is_one() {
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZTEy",
        ] {
            assert_eq!(with("sec-websocket-key", key), Err(Code::Invalid), "{key}");
        }

        let mut twice = headers(GOOD);
        twice.append(
            "sec-websocket-key",
            HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
        );

        assert_eq!(
            check_handshake(&twice).expect_err("two").code,
            Code::Invalid
        );
    }

    #[test]
    fn a_token_in_the_query_is_refused_with_the_places_where_it_belongs() {
        for query in ["token=a", "resume=wait&access_token=a", "JWT"] {
            let problem = no_token_in_query(query).expect_err(query);
            assert!(
                problem.code == Code::Invalid && problem.detail.contains("Authorization"),
                "{query}"
            );
        }
        assert_eq!(no_token_in_query("resume=wait"), Ok(()));
    }
}
