//! Which endpoint a path names, which methods it takes, and what they do. Pure.
//!
//! Paths are matched as they are written, before percent-decoding, so that an encoded slash never makes a segment.

use std::sync::LazyLock;

use http::Method;

/// The label of requests whose path names nothing.
pub const NO_ROUTE: &str = "none";

/// A resource of the client contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its template below")]
pub enum Endpoint {
    Conversations,
    Conversation,
    Participants,
    Participant,
    Messages,
    Events,
    Watermarks,
    Message,
    Receipts,
    Reaction,
    Read,
    WebSocket,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "documented in docs/api.md")]
pub enum Operation {
    CreateConversation,
    ListConversations,
    ShowConversation,
    ListParticipants,
    AddParticipants,
    RemoveParticipant,
    SendMessage,
    ShowHistory,
    ShowEvents,
    ShowWatermarks,
    ShowMessage,
    ShowReceipts,
    React,
    TakeReactionBack,
    MarkRead,
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
pub fn match_path(path: &str) -> Option<Matched<'_>> {
    let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let found = TEMPLATES.at(path).ok()?;
    let mut params = found.params.iter().map(|(_, value)| value);
    Some(Matched { endpoint: *found.value, first: params.next(), second: params.next() })
}

impl Endpoint {
    const ALL: [Self; 12] = [
        Self::Conversations,
        Self::Conversation,
        Self::Participants,
        Self::Participant,
        Self::Messages,
        Self::Events,
        Self::Watermarks,
        Self::Message,
        Self::Receipts,
        Self::Reaction,
        Self::Read,
        Self::WebSocket,
    ];

    /// Its path; also its label in metrics, so of low cardinality.
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::Conversations => "/conversations",
            Self::Conversation => "/conversations/{name}",
            Self::Participants => "/conversations/{name}/participants",
            Self::Participant => "/conversations/{name}/participants/{user}",
            Self::Messages => "/conversations/{name}/messages",
            Self::Events => "/conversations/{name}/events",
            Self::Watermarks => "/conversations/{name}/watermarks",
            Self::Message => "/messages/{id}",
            Self::Receipts => "/messages/{id}/receipts",
            Self::Reaction => "/messages/{id}/reaction",
            Self::Read => "/messages/{id}/read",
            Self::WebSocket => "/ws",
        }
    }

    /// The value of `Allow`.
    #[must_use]
    pub fn allow(self) -> &'static str {
        match self {
            Self::Conversations | Self::Participants | Self::Messages => "GET, HEAD, POST",
            Self::Conversation | Self::Events | Self::Watermarks | Self::Message | Self::Receipts => "GET, HEAD",
            Self::Participant => "DELETE",
            Self::Reaction => "DELETE, PUT",
            Self::Read => "POST",
            Self::WebSocket => "GET",
        }
    }

    /// What a method does here; HEAD does what GET does. `None` for what [`Endpoint::allow`] does not name, and for the
    /// WebSocket, which is no request with an answer.
    #[must_use]
    pub fn operation(self, method: &Method) -> Option<Operation> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        Some(match (self, method.as_str()) {
            (Self::Conversations, "POST") => Operation::CreateConversation,
            (Self::Conversations, "GET") => Operation::ListConversations,
            (Self::Conversation, "GET") => Operation::ShowConversation,
            (Self::Participants, "GET") => Operation::ListParticipants,
            (Self::Participants, "POST") => Operation::AddParticipants,
            (Self::Participant, "DELETE") => Operation::RemoveParticipant,
            (Self::Messages, "POST") => Operation::SendMessage,
            (Self::Messages, "GET") => Operation::ShowHistory,
            (Self::Events, "GET") => Operation::ShowEvents,
            (Self::Watermarks, "GET") => Operation::ShowWatermarks,
            (Self::Message, "GET") => Operation::ShowMessage,
            (Self::Receipts, "GET") => Operation::ShowReceipts,
            (Self::Reaction, "PUT") => Operation::React,
            (Self::Reaction, "DELETE") => Operation::TakeReactionBack,
            (Self::Read, "POST") => Operation::MarkRead,
            _ => return None,
        })
    }
}

impl Operation {
    /// Whether the contract shows a body for it; any other body is read and ignored.
    #[must_use]
    pub fn takes_body(self) -> bool {
        matches!(self, Self::CreateConversation | Self::AddParticipants | Self::SendMessage | Self::React)
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn writes(self) -> bool {
        self.takes_body() || matches!(self, Self::RemoveParticipant | Self::TakeReactionBack | Self::MarkRead)
    }
}

static TEMPLATES: LazyLock<matchit::Router<Endpoint>> = LazyLock::new(|| {
    let mut templates = matchit::Router::new();
    let with_slash = [("/ws/", Endpoint::WebSocket)];
    for (template, endpoint) in
        Endpoint::ALL.map(|endpoint| (endpoint.template(), endpoint)).into_iter().chain(with_slash)
    {
        #[expect(clippy::expect_used, reason = "the templates are constant, and every test of this file inserts them")]
        templates.insert(template, endpoint).expect("templates do not clash");
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
            assert_eq!(endpoint(&format!("{path}/")).is_some(), slash_is_taken, "{path}/");
        }
    }

    #[test]
    fn params_are_given_as_written() {
        let matched = match_path("/v1/conversations/a%2Fb/participants/x%40y").expect("a match");
        assert_eq!(matched.endpoint, Endpoint::Participant);
        assert_eq!((matched.first, matched.second), (Some("a%2Fb"), Some("x%40y")));
    }

    #[test]
    fn what_names_nothing_is_nothing() {
        for path in ["", "/", "/v1", "/v1/", "*", "/v1conversations", "/conversations//messages", "//conversations"] {
            assert_eq!(endpoint(path), None, "{path}");
        }
        assert_eq!(endpoint("/v1/conversations/a/participants/b/c"), None);
    }

    #[test]
    fn allow_names_the_methods_that_do_something() {
        for one in Endpoint::ALL {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
                let allowed = one.allow().split(", ").any(|word| word == method.as_str());
                let does = one.operation(&method).is_some() || (one, &method) == (Endpoint::WebSocket, &Method::GET);
                assert_eq!(allowed, does, "{one:?} {method}");
            }
        }
    }
}
