//! Path → what to hash. Pure: no table, no node, no token; the node checks names and ids again, in
//! the order of the client contract, so a bad name only has to reach *some* node here.
//!
//! **Invariant.** Two requests that a node takes to name the same conversation hash to the same
//! slot, whether or not the client percent-encoded the name.

use std::borrow::Cow;

use hyper::Method;

use crate::ids::{MessageId, Slot};
use crate::protocol::routes::{Endpoint, match_path};

/// What decides the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// This slot: of the conversation in the path, or carried by the message id in it.
    Slot(Slot),
    /// The slot of the token's `sub`.
    Subject,
    /// No node: the router answers by itself.
    Router,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Which path it is.
    pub endpoint: Endpoint,
    /// What decides the node.
    pub target: Target,
}

/// The route of a path (without query), or `None` when there is nothing at it.
#[must_use]
pub(crate) fn find(path: &str) -> Option<Route> {
    let matched = match_path(path)?;
    let first = matched.first.unwrap_or_default();
    let target = match matched.endpoint {
        Endpoint::Conversations | Endpoint::Direct | Endpoint::WebSocket => Target::Subject,
        Endpoint::Conversation
        | Endpoint::Participants
        | Endpoint::Participant
        | Endpoint::Bans
        | Endpoint::Ban
        | Endpoint::OwnView
        | Endpoint::Messages
        | Endpoint::Events
        | Endpoint::Watermarks
        | Endpoint::Presence => of_name(first),
        Endpoint::Message
        | Endpoint::Receipts
        | Endpoint::Reactions
        | Endpoint::Reaction
        | Endpoint::Read => of_message(first),
        Endpoint::Document => Target::Router,
    };

    Some(Route {
        endpoint: matched.endpoint,
        target,
    })
}

fn of_name(segment: &str) -> Target {
    Target::Slot(Slot::of(&decoded(segment)))
}

fn of_message(segment: &str) -> Target {
    let bytes = decoded(segment);
    let id = std::str::from_utf8(&bytes).ok().and_then(MessageId::parse);
    Target::Slot(id.map_or_else(|| Slot::of(&bytes), |id| id.slot()))
}

/// The bytes of a segment with `%XX` resolved; an escape that is none stays as it is.
fn decoded(segment: &str) -> Cow<'_, [u8]> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment.as_bytes());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let (Some((high, low)), Some(after)) = (escaped, rest.get(3..)) {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }

    Cow::Owned(bytes)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// A request's method as the label of metrics: one of few, whatever a client sends.
#[must_use]
pub(crate) fn verb(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "PATCH", "POST", "PUT", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATHS: [(&str, Endpoint); 14] = [
        ("/conversations", Endpoint::Conversations),
        ("/conversations/general", Endpoint::Conversation),
        (
            "/conversations/general/participants",
            Endpoint::Participants,
        ),
        (
            "/conversations/general/participants/bob",
            Endpoint::Participant,
        ),
        ("/conversations/general/messages", Endpoint::Messages),
        ("/conversations/general/events", Endpoint::Events),
        ("/conversations/general/watermarks", Endpoint::Watermarks),
        ("/conversations/general/presence", Endpoint::Presence),
        ("/messages/x", Endpoint::Message),
        ("/messages/x/receipts", Endpoint::Receipts),
        ("/messages/x/reactions", Endpoint::Reactions),
        ("/messages/x/reaction", Endpoint::Reaction),
        ("/messages/x/read", Endpoint::Read),
        ("/openapi.json", Endpoint::Document),
    ];

    #[test]
    fn methods_that_clients_make_up_are_one_label_of_metrics() {
        assert_eq!(
            [
                verb(&Method::POST),
                verb(&Method::HEAD),
                verb(&Method::DELETE)
            ],
            ["POST", "HEAD", "DELETE"]
        );
        assert_eq!(
            verb(&Method::from_bytes(b"MADE-UP").expect("a method")),
            "other"
        );
    }

    #[test]
    fn every_path_is_found_with_and_without_the_prefix_but_not_with_a_trailing_slash() {
        for (path, endpoint) in PATHS {
            assert_eq!(
                find(path).map(|route| route.endpoint),
                Some(endpoint),
                "{path}"
            );
            assert_eq!(find(&format!("/v1{path}")), find(path), "{path}");
            assert_eq!(find(&format!("{path}/")), None, "{path}");
            assert_eq!(find(&format!("/v2{path}")), None, "{path}");
            assert_eq!(find(&format!("/v1/v1{path}")), None, "{path}");
        }
        for path in ["/ws", "/ws/", "/v1/ws", "/v1/ws/"] {
            assert_eq!(
                find(path),
                Some(Route {
                    endpoint: Endpoint::WebSocket,
                    target: Target::Subject
                }),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_path_is_not_found() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "//ws",
            "/ws//",
            "/ws/x",
            "/conversations/",
            "/conversations//messages",
            "/conversations/a/participants/",
            "/conversations/a/participants/b/c",
            "/conversations/a/b/c/d/e/f",
            "/messages",
            "/messages/",
            "/messages//read",
            "/metrics",
            "/livez",
            "/readyz",
            "/cluster",
            "/v1conversations",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn a_message_id_leads_to_the_slot_that_it_carries_and_anything_else_somewhere() {
        let id = MessageId::new(1, Slot(0xabcd), 7);
        assert_eq!(
            find(&format!("/v1/messages/{id}/read")).map(|r| r.target),
            Some(Target::Slot(Slot(0xabcd)))
        );
        let upper = id.to_string().to_uppercase();
        assert_eq!(
            find(&format!("/v1/messages/{upper}")).map(|r| r.target),
            Some(Target::Slot(Slot(0xabcd)))
        );
        assert!(matches!(
            find("/v1/messages/none").map(|r| r.target),
            Some(Target::Slot(_))
        ));
    }

    #[test]
    fn an_invalid_name_still_has_a_slot_so_that_the_node_can_refuse_in_the_right_order() {
        for name in ["..", "a%20b", "%", "%zz", "%2", "%2f", "%ff"] {
            let found = find(&format!("/conversations/{name}/messages")).expect(name);
            assert!(matches!(found.target, Target::Slot(_)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn percent_encoding_never_changes_where_a_name_leads(name in "[A-Za-z0-9._@:-]{1,128}", mask in any::<u128>()) {
            let mut encoded = String::new();
            for (at, byte) in name.bytes().enumerate() {
                match mask >> (at % 64) & 3 {
                    0 => encoded.push_str(&format!("%{byte:02X}")),
                    1 => encoded.push_str(&format!("%{byte:02x}")),
                    _ => encoded.push(char::from(byte)),
                }
            }
            let found = find(&format!("/conversations/{encoded}")).unwrap();
            prop_assert_eq!(found.target, Target::Slot(Slot::of(name.as_bytes())));
        }

        #[test]
        fn the_alias_leads_where_the_path_with_the_prefix_leads(path in "/[/a-z%.0-9]{0,40}") {
            prop_assume!(!path.starts_with("/v1/"));
            prop_assert_eq!(find(&path), find(&format!("/v1{path}")));
        }
    }
}
