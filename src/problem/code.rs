//! The closed list of codes, and the one mapping of codes to HTTP status. Nothing else in the tree
//! chooses a status.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a request was refused or could not be served. The list is closed; it only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Invalid,
    InvalidName,
    Unauthorized,
    NotParticipant,
    Forbidden,
    NotSender,
    Muted,
    Banned,
    MessageUnknown,
    ParticipantUnknown,
    ReplyToUnknown,
    NameTaken,
    MessageDeleted,
    EditWindowOver,
    TooManyParticipants,
    TooManyBans,
    TooManyConversations,
    ConversationClosed,
    IdempotencyConflict,
    TextTooLong,
    TooLarge,
    UnsupportedMediaType,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    HeadTooLarge,
    RateLimited,
    Unavailable,
    OutcomeUnknown,
    NotReplicated,
    Lagging,
    Stale,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Self; 32] = [
        Self::Invalid,
        Self::InvalidName,
        Self::Unauthorized,
        Self::NotParticipant,
        Self::Forbidden,
        Self::NotSender,
        Self::Muted,
        Self::Banned,
        Self::MessageUnknown,
        Self::ParticipantUnknown,
        Self::ReplyToUnknown,
        Self::NameTaken,
        Self::MessageDeleted,
        Self::EditWindowOver,
        Self::TooManyParticipants,
        Self::TooManyBans,
        Self::TooManyConversations,
        Self::ConversationClosed,
        Self::IdempotencyConflict,
        Self::TextTooLong,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::HeadTooLarge,
        Self::RateLimited,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::NotReplicated,
        Self::Lagging,
        Self::Stale,
    ];

    /// The word clients see in `code`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.facts().1
    }

    /// One short sentence, the same for every problem of this code.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// True when the same request may succeed later without being changed.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// The code with this word, if there is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each code")]
    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Invalid => ("invalid", 400, "The request is not valid"),
            Self::InvalidName => ("invalid_name", 400, "A name breaks the rules for names"),
            Self::Unauthorized => ("unauthorized", 401, "A valid token is needed"),
            Self::NotParticipant => (
                "not_participant",
                403,
                "The caller is no participant of this conversation",
            ),
            Self::Forbidden => ("forbidden", 403, "The caller may not do this"),
            Self::NotSender => ("not_sender", 403, "Only the message's sender may do this"),
            Self::Muted => ("muted", 403, "The caller is muted"),
            Self::Banned => ("banned", 403, "The user is banned"),
            Self::MessageUnknown => ("message_unknown", 404, "There is no such message"),
            Self::ParticipantUnknown => {
                ("participant_unknown", 404, "There is no such participant")
            }
            Self::ReplyToUnknown => (
                "reply_to_unknown",
                404,
                "The message replied to is not in this conversation",
            ),
            Self::NameTaken => ("name_taken", 409, "The name is in use"),
            Self::MessageDeleted => ("message_deleted", 409, "The message was deleted"),
            Self::EditWindowOver => ("edit_window_over", 409, "It can be edited no more"),
            Self::TooManyParticipants => ("too_many_participants", 409, "Too many take part in it"),
            Self::TooManyBans => ("too_many_bans", 409, "Too many are banned from it"),
            Self::TooManyConversations => (
                "too_many_conversations",
                409,
                "The caller is in too many conversations for that",
            ),
            Self::ConversationClosed => {
                ("conversation_closed", 410, "The conversation was deleted")
            }
            Self::IdempotencyConflict => (
                "idempotency_conflict",
                422,
                "The key was used for another request",
            ),
            Self::TextTooLong => ("text_too_long", 413, "The text is too long"),
            Self::TooLarge => ("too_large", 413, "The body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                415,
                "The body must be application/json",
            ),
            Self::NotFound => ("not_found", 404, "There is nothing at this path"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "The method is not allowed here"),
            Self::UpgradeRequired => ("upgrade_required", 426, "A WebSocket is opened here"),
            Self::HeadTooLarge => (
                "head_too_large",
                431,
                "The head of the request is too large",
            ),
            Self::RateLimited => ("rate_limited", 429, "Too many requests"),
            Self::Unavailable => ("unavailable", 503, "Not available now; nothing was written"),
            Self::OutcomeUnknown => (
                "outcome_unknown",
                503,
                "The write may yet appear; retry with the same key",
            ),
            Self::NotReplicated => (
                "not_replicated",
                503,
                "No second copy can be made now; nothing was acknowledged",
            ),
            Self::Lagging => (
                "lagging",
                503,
                "The answer would be older than what was already acknowledged",
            ),
            Self::Stale => ("stale", 503, "A strict answer cannot be proven now"),
        }
    }
}

/// True when the answer to a repeated write also tells what became of the attempts before it. False
/// where it tells no more than that this attempt was not executed (429, 503), and where it depends
/// on what may have changed since an earlier one was: the caller's token (401), their membership or
/// role (403), what they may see (404), that the conversation is still there (410).
#[must_use]
pub(crate) fn settles_earlier_attempts(status: u16) -> bool {
    !matches!(status, 401 | 403 | 404 | 410 | 429) && status < 500
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let line = |code: Self| {
            format!(
                "- `{}` ({}): {}",
                code.as_str(),
                code.status(),
                code.title()
            )
        };
        let lines = Self::ALL.map(line).join("\n");
        json_schema!({
            "description": format!("What was wrong. A client treats a code that it does not know by its status.\n\n{lines}"),
            "type": "string",
            "enum": Self::ALL.map(Self::as_str),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_word() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("nonsense"), None);
    }
}
