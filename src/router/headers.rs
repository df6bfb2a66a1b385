//! Which headers pass the router, in both directions. Pure.
//!
//! **Invariant.** Nothing that a client sent can look to a node like a header of ours, and nothing of ours but the stale
//! mark leaves with an answer.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::node::hop;
use crate::protocol::headers;

/// The id that names a request in answers and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);
/// The client's own idempotency key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY);

/// Prefix of the WebSocket subprotocol that carries a token.
const BEARER_PROTOCOL: &str = "rookery.bearer.";

/// The token in `Authorization: Bearer …`.
#[must_use]
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token in the list of WebSocket subprotocols.
#[must_use]
pub(super) fn offered_bearer(headers: &HeaderMap) -> Option<&str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).find_map(|offer| offer.trim().strip_prefix(BEARER_PROTOCOL))
}

/// Takes out of a client's request what is between two hops only, what is ours, and what claims a way it came.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_where(headers, |name| {
        (name.starts_with(hop::PREFIX) && name != headers::CONSISTENCY)
            || name.starts_with("x-forwarded-")
            || matches!(name, "forwarded" | "x-real-ip" | "host" | "content-length" | "expect")
    });
}

/// Takes out of a node's answer what is between two hops only and what is ours, but the stale mark.
pub(super) fn strip_answer(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_where(headers, |name| name.starts_with(hop::PREFIX) && name != headers::STALE);
}

/// Sets the headers of an upgrade again, after stripping.
pub(super) fn ask_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|list| list.to_str().ok());
    let named: Vec<HeaderName> =
        lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    remove_where(headers, |name| {
        matches!(name, "connection" | "keep-alive" | "transfer-encoding" | "upgrade" | "te" | "trailer")
            || name.starts_with("proxy-")
    });
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
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
    fn nothing_that_a_client_sends_can_look_like_a_header_of_ours() {
        let mut map = headers(&[
            ("rookery-deadline-ms", "1"),
            ("rookery-stamped-key", "x"),
            ("Rookery-Owner", "evil:1"),
            ("rookery-body-too-large", "1"),
            ("rookery-anything", "1"),
            ("rookery-consistency", "strict"),
            ("x-forwarded-for", "1.2.3.4"),
            ("X-Forwarded-User", "admin"),
            ("forwarded", "for=1"),
            ("authorization", "Bearer t"),
            ("idempotency-key", "k"),
        ]);
        strip_request(&mut map);
        let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "idempotency-key", "rookery-consistency"]);
    }

    #[test]
    fn headers_of_one_hop_stay_on_it() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "x"),
            ("content-type", "application/json"),
        ]);
        strip_request(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["content-type"]);
    }

    #[test]
    fn of_our_headers_only_the_stale_mark_leaves() {
        let mut map = headers(&[
            ("rookery-owner", "n:1"),
            ("rookery-table-version", "3"),
            ("rookery-stale", "5"),
            ("location", "/x"),
        ]);
        strip_answer(&mut map);
        assert!(map.contains_key("rookery-stale") && map.contains_key("location") && map.len() == 2);
    }

    #[test]
    fn tokens_are_found_in_the_header_and_in_the_subprotocols() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
        let map = headers(&[("sec-websocket-protocol", "rookery.v1, rookery.bearer.abc")]);
        assert_eq!(offered_bearer(&map), Some("abc"));
        assert_eq!(offered_bearer(&headers(&[("sec-websocket-protocol", "rookery.v1")])), None);
    }

    #[test]
    fn only_both_headers_together_ask_for_a_websocket() {}
}
