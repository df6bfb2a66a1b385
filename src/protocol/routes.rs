//! The paths and methods of the client contract, in one table: the router, the nodes and the
//! OpenAPI document all go by it. Pure.
//!
//! Paths are matched as they are written, before percent-decoding, so that an encoded slash never
//! makes a segment.

use std::sync::LazyLock;

use http::Method;
use serde::{Deserialize, Serialize};

/// The label of requests whose path names nothing.
pub(crate) const NO_ROUTE: &str = "none";

/// What every path may start with.
pub(crate) const PREFIX: &str = "/v1";

/// A resource of the client contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Conversations,
    Direct,
    Conversation,
    Participants,
    Participant,
    Bans,
    Ban,
    OwnView,
    Messages,
    Events,
    Watermarks,
    Presence,
    Message,
    Receipts,
    Reactions,
    Reaction,
    Read,
    WebSocket,
    Document,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    CreateConversation,
    OpenDirect,
    ListConversations,
    ShowConversation,
    ChangeConversation,
    DeleteConversation,
    ListParticipants,
    AddParticipants,
    SetParticipant,
    RemoveParticipant,
    ListBans,
    Ban,
    EndBan,
    SetOwnView,
    SendMessage,
    ShowHistory,
    ShowEvents,
    ShowWatermarks,
    ShowPresence,
    ShowMessage,
    EditMessage,
    DeleteMessage,
    ShowReceipts,
    ListReactions,
    React,
    TakeReactionBack,
    MarkRead,
    OpenSession,
    ShowDocument,
}

/// A path that names something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'path> {
    /// What it names.
    pub endpoint: Endpoint,
    /// `{name}` or `{id}`, still percent-encoded.
    pub first: Option<&'path str>,
    /// `{user}`, still percent-encoded.
    pub second: Option<&'path str>,
}

/// The endpoint of a path, with or without the prefix `/v1`.
#[must_use]
pub(crate) fn match_path(path: &str) -> Option<Matched<'_>> {
    let path = path
        .strip_prefix(PREFIX)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let found = TEMPLATES.at(path).ok()?;
    let mut params = found.params.iter().map(|(_, value)| value);
    Some(Matched {
        endpoint: *found.value,
        first: params.next(),
        second: params.next(),
    })
}

impl Endpoint {
    /// Every one there is.
    pub const ALL: [Self; 19] = [
        Self::Conversations,
        Self::Direct,
        Self::Conversation,
        Self::Participants,
        Self::Participant,
        Self::Bans,
        Self::Ban,
        Self::OwnView,
        Self::Messages,
        Self::Events,
        Self::Watermarks,
        Self::Presence,
        Self::Message,
        Self::Receipts,
        Self::Reactions,
        Self::Reaction,
        Self::Read,
        Self::WebSocket,
        Self::Document,
    ];

    /// Its path; also its label in metrics, so of low cardinality.
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::Conversations => "/conversations",
            Self::Direct => "/direct",
            Self::Conversation => "/conversations/{name}",
            Self::Participants => "/conversations/{name}/participants",
            Self::Participant => "/conversations/{name}/participants/{user}",
            Self::Bans => "/conversations/{name}/bans",
            Self::Ban => "/conversations/{name}/bans/{user}",
            Self::OwnView => "/conversations/{name}/me",
            Self::Messages => "/conversations/{name}/messages",
            Self::Events => "/conversations/{name}/events",
            Self::Watermarks => "/conversations/{name}/watermarks",
            Self::Presence => "/conversations/{name}/presence",
            Self::Message => "/messages/{id}",
            Self::Receipts => "/messages/{id}/receipts",
            Self::Reactions => "/messages/{id}/reactions",
            Self::Reaction => "/messages/{id}/reaction",
            Self::Read => "/messages/{id}/read",
            Self::WebSocket => "/ws",
            Self::Document => "/openapi.json",
        }
    }

    /// The value of `Allow`: every method of this path, in alphabetical order.
    #[must_use]
    pub fn allow(self) -> &'static str {
        ALLOWED
            .iter()
            .find(|(endpoint, _)| *endpoint == self)
            .map_or("", |(_, methods)| methods)
    }

    /// What a method does here; HEAD does what GET does, except for the WebSocket, whose GET has no
    /// answer to take the body from. `None` for what [`Endpoint::allow`] does not name.
    #[must_use]
    pub fn operation(self, method: &Method) -> Option<Operation> {
        let is_head = method == Method::HEAD;
        let method = if is_head { &Method::GET } else { method };
        let found = Operation::ALL
            .into_iter()
            .find(|operation| operation.place() == (self, method));
        found.filter(|operation| !is_head || *operation != Operation::OpenSession)
    }
}

impl Operation {
    /// Every one there is.
    pub const ALL: [Self; 29] = [
        Self::CreateConversation,
        Self::OpenDirect,
        Self::ListConversations,
        Self::ShowConversation,
        Self::ChangeConversation,
        Self::DeleteConversation,
        Self::ListParticipants,
        Self::AddParticipants,
        Self::SetParticipant,
        Self::RemoveParticipant,
        Self::ListBans,
        Self::Ban,
        Self::EndBan,
        Self::SetOwnView,
        Self::SendMessage,
        Self::ShowHistory,
        Self::ShowEvents,
        Self::ShowWatermarks,
        Self::ShowPresence,
        Self::ShowMessage,
        Self::EditMessage,
        Self::DeleteMessage,
        Self::ShowReceipts,
        Self::ListReactions,
        Self::React,
        Self::TakeReactionBack,
        Self::MarkRead,
        Self::OpenSession,
        Self::ShowDocument,
    ];

    /// Where it is asked for, and how.
    #[must_use]
    pub fn place(self) -> (Endpoint, &'static Method) {
        match self {
            Self::CreateConversation => (Endpoint::Conversations, &Method::POST),
            Self::OpenDirect => (Endpoint::Direct, &Method::POST),
            Self::ListConversations => (Endpoint::Conversations, &Method::GET),
            Self::ShowConversation => (Endpoint::Conversation, &Method::GET),
            Self::ChangeConversation => (Endpoint::Conversation, &Method::PATCH),
            Self::DeleteConversation => (Endpoint::Conversation, &Method::DELETE),
            Self::ListParticipants => (Endpoint::Participants, &Method::GET),
            Self::AddParticipants => (Endpoint::Participants, &Method::POST),
            Self::SetParticipant => (Endpoint::Participant, &Method::PUT),
            Self::RemoveParticipant => (Endpoint::Participant, &Method::DELETE),
            Self::ListBans => (Endpoint::Bans, &Method::GET),
            Self::Ban => (Endpoint::Ban, &Method::PUT),
            Self::EndBan => (Endpoint::Ban, &Method::DELETE),
            Self::SetOwnView => (Endpoint::OwnView, &Method::PUT),
            Self::SendMessage => (Endpoint::Messages, &Method::POST),
            Self::ShowHistory => (Endpoint::Messages, &Method::GET),
            Self::ShowEvents => (Endpoint::Events, &Method::GET),
            Self::ShowWatermarks => (Endpoint::Watermarks, &Method::GET),
            Self::ShowPresence => (Endpoint::Presence, &Method::GET),
            Self::ShowMessage => (Endpoint::Message, &Method::GET),
            Self::EditMessage => (Endpoint::Message, &Method::PATCH),
            Self::DeleteMessage => (Endpoint::Message, &Method::DELETE),
            Self::ShowReceipts => (Endpoint::Receipts, &Method::GET),
            Self::ListReactions => (Endpoint::Reactions, &Method::GET),
            Self::React => (Endpoint::Reaction, &Method::PUT),
            Self::TakeReactionBack => (Endpoint::Reaction, &Method::DELETE),
            Self::MarkRead => (Endpoint::Read, &Method::POST),
            Self::OpenSession => (Endpoint::WebSocket, &Method::GET),
            Self::ShowDocument => (Endpoint::Document, &Method::GET),
        }
    }

    /// Whether the contract shows a body for it; any other body is read and ignored.
    #[must_use]
    pub fn takes_body(self) -> bool {
        self.facts().body.is_some()
    }

    /// Whether that body has to be there.
    #[must_use]
    pub fn needs_body(self) -> bool {
        self.takes_body() && self != Self::Ban
    }

    /// Whether a router stamps it with a key when it has none: doing it twice would do more than
    /// doing it once.
    #[must_use]
    pub fn is_stamped(self) -> bool {
        self.place().1 == Method::POST || self == Self::EditMessage
    }

    /// The version of records that every node of a cluster has to read before it is asked for.
    #[must_use]
    pub fn records(self) -> u32 {
        match self {
            Self::EditMessage | Self::DeleteMessage => 2,
            Self::ChangeConversation
            | Self::SetParticipant
            | Self::ListBans
            | Self::Ban
            | Self::EndBan => 3,
            Self::DeleteConversation => 4,
            Self::OpenDirect | Self::SetOwnView => 5,
            _ => 1,
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn writes(self) -> bool {
        self.place().1 != Method::GET
    }
}

/// The value of `Allow` of each endpoint.
static ALLOWED: LazyLock<[(Endpoint, String); 19]> = LazyLock::new(|| {
    Endpoint::ALL.map(|endpoint| {
        let methods = [
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::PATCH,
            Method::POST,
            Method::PUT,
        ];
        let allowed = methods
            .iter()
            .filter(|method| endpoint.operation(method).is_some())
            .map(Method::as_str);
        (endpoint, allowed.collect::<Vec<_>>().join(", "))
    })
});

static TEMPLATES: LazyLock<matchit::Router<Endpoint>> = LazyLock::new(|| {
    let mut templates = matchit::Router::new();
    let with_slash = [("/ws/", Endpoint::WebSocket)];
    for (template, endpoint) in Endpoint::ALL
        .map(|endpoint| (endpoint.template(), endpoint))
        .into_iter()
        .chain(with_slash)
    {
        #[expect(
            clippy::expect_used,
            reason = "the templates are constant, and every test of this file inserts them"
        )]
        templates
            .insert(template, endpoint)
            .expect("templates do not clash");
    }
    templates
});

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(path: &str) -> Option<Endpoint> {
        match_path(path).map(|matched| matched.endpoint)
    }

    #[test]
    fn every_template_matches_itself_with_and_without_the_prefix() {
        for one in Endpoint::ALL {
            let path = one.template().replace(['{', '}'], "");
            assert_eq!(endpoint(&path), Some(one));
            assert_eq!(endpoint(&format!("/v1{path}")), Some(one));
            assert_eq!(endpoint(&format!("/v1/v1{path}")), None);
            assert_eq!(endpoint(&format!("/v2{path}")), None);
            let slash_is_taken = one == Endpoint::WebSocket;
            assert_eq!(
                endpoint(&format!("{path}/")).is_some(),
                slash_is_taken,
                "{path}/"
            );
        }
    }

    #[test]
    fn params_are_given_as_written() {
        let matched = match_path("/v1/conversations/a%2Fb/participants/x%40y").expect("a match");
        assert_eq!(matched.endpoint, Endpoint::Participant);
        assert_eq!(
            (matched.first, matched.second),
            (Some("a%2Fb"), Some("x%40y"))
        );
    }

    #[test]
    fn what_names_nothing_is_nothing() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "*",
            "/v1conversations",
            "/conversations//messages",
            "//conversations",
        ] {
            assert_eq!(endpoint(path), None, "{path}");
        }
        assert_eq!(endpoint("/v1/conversations/a/participants/b/c"), None);
    }

    #[test]
    fn allow_names_the_methods_that_do_something() {
        for one in Endpoint::ALL {
            let methods = [
                Method::GET,
                Method::HEAD,
                Method::PATCH,
                Method::POST,
                Method::PUT,
                Method::DELETE,
            ];
            for method in methods.into_iter().chain([Method::OPTIONS]) {
                let allowed = one.allow().split(", ").any(|word| word == method.as_str());
                assert_eq!(
                    allowed,
                    one.operation(&method).is_some(),
                    "{one:?} {method}"
                );
            }
            let is_socket = one == Endpoint::WebSocket;
            assert_eq!(
                one.allow().contains("HEAD"),
                one.allow().contains("GET") && !is_socket,
                "{one:?}"
            );
        }

        assert_eq!(Endpoint::Reaction.allow(), "DELETE, PUT");
        assert_eq!(Endpoint::Messages.allow(), "GET, HEAD, POST");
        assert_eq!(Endpoint::Message.allow(), "DELETE, GET, HEAD, PATCH");
    }

    #[test]
    fn no_two_operations_have_one_place_and_every_endpoint_has_one() {
        for (at, one) in Operation::ALL.into_iter().enumerate() {
            for other in &Operation::ALL[at + 1..] {
                assert_ne!(one.place(), other.place());
            }
        }
        for endpoint in Endpoint::ALL {
            assert!(
                Operation::ALL
                    .iter()
                    .any(|operation| operation.place().0 == endpoint),
                "{endpoint:?}"
            );
        }
    }
}
