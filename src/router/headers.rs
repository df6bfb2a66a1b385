//! What the router looks at in the headers of a request, and which headers of a node's answer are a
//! client's. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::protocol::headers;

/// The id that names a request in answers and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// Every header of ours has it; clients see only the stale mark.
const PREFIX: &str = "rookery-";

/// Prefix of the WebSocket subprotocol that carries a token.
const BEARER_PROTOCOL: &str = "rookery.bearer.";

/// The token in `Authorization: Bearer …`.
#[must_use]
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token in the list of WebSocket subprotocols.
#[must_use]
pub(super) fn offered_bearer(headers: &HeaderMap) -> Option<&str> {
    let lists = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .find_map(|offer| offer.trim().strip_prefix(BEARER_PROTOCOL))
}

/// Whether a header of a node's answer is for the client.
#[must_use]
pub(super) fn is_for_client(name: &str) -> bool {
    let is_of_hop = matches!(
        name,
        "connection" | "keep-alive" | "transfer-encoding" | "upgrade" | "te" | "trailer"
    );
    let is_ours = name.starts_with(PREFIX) && name != headers::STALE;
    !is_of_hop && !is_ours
}

/// Sets the headers of an upgrade.
pub(super) fn ask_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in of {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn of_our_headers_only_the_stale_mark_leaves() {
        for name in [
            "location",
            "content-type",
            "retry-after",
            "rookery-stale",
            "allow",
            "www-authenticate",
        ] {
            assert!(is_for_client(name), "{name}");
        }
        for name in [
            "rookery-owner",
            "rookery-table-version",
            "connection",
            "transfer-encoding",
        ] {
            assert!(!is_for_client(name), "{name}");
        }
    }

    #[test]
    fn tokens_are_found_in_the_header_and_in_the_subprotocols() {
        assert_eq!(
            bearer(&headers(&[("authorization", "bearer abc")])),
            Some("abc")
        );
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
        let map = headers(&[("sec-websocket-protocol", "rookery.v1, rookery.bearer.abc")]);
        assert_eq!(offered_bearer(&map), Some("abc"));
        assert_eq!(
            offered_bearer(&headers(&[("sec-websocket-protocol", "rookery.v1")])),
            None
        );
    }
}
