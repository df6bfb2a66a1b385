//! Errors as clients see them: the closed list of codes, the one mapping of codes to HTTP status,
//! and the close codes of a WebSocket. Nothing else in the tree chooses a status.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
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
    MessageUnknown,
    ReplyToUnknown,
    NameTaken,
    MessageDeleted,
    EditWindowOver,
    TooManyParticipants,
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
    pub const ALL: [Self; 26] = [
        Self::Invalid,
        Self::InvalidName,
        Self::Unauthorized,
        Self::NotParticipant,
        Self::Forbidden,
        Self::NotSender,
        Self::MessageUnknown,
        Self::ReplyToUnknown,
        Self::NameTaken,
        Self::MessageDeleted,
        Self::EditWindowOver,
        Self::TooManyParticipants,
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
            Self::MessageUnknown => ("message_unknown", 404, "There is no such message"),
            Self::ReplyToUnknown => (
                "reply_to_unknown",
                404,
                "The message replied to is not in this conversation",
            ),
            Self::NameTaken => ("name_taken", 409, "The name is in use"),
            Self::MessageDeleted => ("message_deleted", 409, "The message was deleted"),
            Self::EditWindowOver => ("edit_window_over", 409, "It can be edited no more"),
            Self::TooManyParticipants => ("too_many_participants", 409, "Too many take part in it"),
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
/// role (403), what they may see (404).
#[must_use]
pub(crate) fn settles_earlier_attempts(status: u16) -> bool {
    !matches!(status, 401 | 403 | 404 | 429) && status < 500
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

/// Longest `detail`, in characters. A detail may quote what a client sent, and an answer must not
/// grow with that.
const DETAIL_CHARS_MAX: usize = 400;

/// A refusal: a code, what is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}: {detail}", code.as_str())]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// One sentence for the person who reads it; says what to do.
    pub detail: Cow<'static, str>,
    /// When to try again; 429 and 503 always tell one (1 s if not set).
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with its explanation; one that is too long is cut, and ends with an ellipsis.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut detail = detail.into();
        if let Some((cut, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            let detail = detail.to_mut();
            detail.truncate(cut);
            detail.push('…');
        }
        Self {
            code,
            detail,
            retry_after: None,
        }
    }

    /// Shorthand for `unavailable`: surely nothing was written.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// Whole seconds for `Retry-After`, on the codes that carry it.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.code
            .retryable()
            .then(|| self.retry_after.map_or(1, |wait| wait.as_secs().max(1)))
    }

    /// The whole HTTP answer: status, body, `X-Request-Id`, and the headers that belong to the
    /// code.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response<Full<Bytes>> {
        let body = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert("x-request-id", id);
        }
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.code == Code::UpgradeRequired {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
        }
        response
    }

    /// The body of `application/problem+json` (RFC 9457), also the `problem` of a WebSocket error.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: "about:blank",
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id,
            retryable: self.code.retryable(),
        }
    }
}

/// RFC 9457 problem object with our extension members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the code tells more.
    pub r#type: &'static str,
    /// The same for every problem of this code.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// For the person who reads it: what is wrong, and what to do about it.
    pub detail: &'a str,
    /// For the program.
    #[schemars(with = "Code")]
    pub code: &'static str,
    /// That of the header `X-Request-Id`.
    pub request_id: &'a str,
    /// The same request may succeed later without being changed.
    pub retryable: bool,
}

/// Why a session is closed: code and reason of the Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// 1001: the process ends.
    GoingAway,
    /// 1003: a binary frame came.
    UnsupportedData,
    /// 1009: a frame or message over the limit, or a fragmented flood.
    TooBig,
    /// 1012: the node drains; reconnect after the told delay.
    ServiceRestart,
    /// 1013: overloaded; back off.
    TryAgainLater,
    /// 4400: the WebSocket protocol was broken.
    ProtocolError,
    /// 4401: token expired or refused.
    Unauthorized,
    /// 4420: the socket took nothing for 10 s.
    SlowConsumer,
    /// 4429: too many sessions or frames.
    TooMany,
}

impl CloseCode {
    /// Every code there is.
    pub const ALL: [Self; 9] = [
        Self::GoingAway,
        Self::UnsupportedData,
        Self::TooBig,
        Self::ServiceRestart,
        Self::TryAgainLater,
        Self::ProtocolError,
        Self::Unauthorized,
        Self::SlowConsumer,
        Self::TooMany,
    ];

    /// Number and reason text of the Close frame.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str) {
        match self {
            Self::GoingAway => (1001, "going away"),
            Self::UnsupportedData => (1003, "binary frames are not accepted"),
            Self::TooBig => (1009, "frame too large"),
            Self::ServiceRestart => (1012, "service restart"),
            Self::TryAgainLater => (1013, "overloaded"),
            Self::ProtocolError => (4400, "protocol error"),
            Self::Unauthorized => (4401, "unauthorized"),
            Self::SlowConsumer => (4420, "slow consumer"),
            Self::TooMany => (4429, "too many"),
        }
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

    #[test]
    fn a_detail_that_quotes_a_long_input_is_cut_at_a_whole_character() {
        let quoted = format!("unknown field `{}`", "ä".repeat(100_000));
        let problem = Problem::new(Code::Invalid, quoted.clone());
        assert_eq!(problem.detail.chars().count(), DETAIL_CHARS_MAX + 1);
        assert!(
            problem.detail.ends_with('…')
                && quoted.starts_with(problem.detail.trim_end_matches('…'))
        );
        assert_eq!(Problem::new(Code::Invalid, "short").detail, "short");
    }

    #[test]
    fn what_may_be_retried_tells_when() {
        for code in Code::ALL {
            assert_eq!(
                Problem::new(code, "x").retry_after_s().is_some(),
                matches!(code.status(), 429 | 503)
            );
        }
    }
}
