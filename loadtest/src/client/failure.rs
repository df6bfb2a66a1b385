//! Why a request did not succeed, in the words that reports count by.

use http::StatusCode;
use serde::Deserialize;

/// What went wrong below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No connection: nothing was sent.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection ended before the answer.
    Broken,
}

/// A request without success. Ordered and compared by what is counted, which is not the detail.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// The `code` of the problem; `no_code` when the answer has none; or what broke below HTTP.
    pub(crate) code: String,
    /// For people.
    pub(crate) detail: String,
}

/// The part of a problem document that is used here.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

/// Codes by which the server says that nothing was written.
const UNWRITTEN: [&str; 17] = [
    "invalid",
    "invalid_name",
    "unauthorized",
    "not_participant",
    "forbidden",
    "reply_to_unknown",
    "idempotency_conflict",
    "text_too_long",
    "too_large",
    "unsupported_media_type",
    "not_found",
    "method_not_allowed",
    "rate_limited",
    "unavailable",
    "message_unknown",
    "not_sender",
    "name_taken",
];

impl Failure {
    /// Something below HTTP.
    pub(crate) fn transport(fault: Fault, detail: String) -> Self {
        let code = match fault {
            Fault::Connect => "connect",
            Fault::Timeout => "timeout",
            Fault::Broken => "broken",
        };
        Self {
            status: None,
            code: code.to_owned(),
            detail,
        }
    }

    /// An answer that is no success.
    pub(crate) fn answered(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Self {
                status: Some(status.as_u16()),
                code: problem.code,
                detail: problem.detail,
            },
            Err(_) => Self {
                status: Some(status.as_u16()),
                code: "no_code".to_owned(),
                detail: String::from_utf8_lossy(body).chars().take(200).collect(),
            },
        }
    }

    /// True when the server promised, or it is clear, that the write did not happen and will not.
    pub(crate) fn is_unwritten(&self) -> bool {
        match self.status {
            None => self.code == "connect",
            Some(_) => UNWRITTEN.contains(&self.code.as_str()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(out, "{status} {}", self.code)?,
            None => write!(out, "{}", self.code)?,
        }
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(out, " ({})", self.detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_by_its_code_and_else_by_its_status() {
        let problem = Failure::answered(
            StatusCode::SERVICE_UNAVAILABLE,
            br#"{"code":"outcome_unknown","detail":"x"}"#,
        );
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (Some(503), "outcome_unknown")
        );
        let other = Failure::answered(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((other.status, other.code.as_str()), (Some(502), "no_code"));
    }

    #[test]
    fn only_what_surely_did_not_happen_counts_as_unwritten() {
        let answered = |code: &str| {
            Failure::answered(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(r#"{{"code":"{code}"}}"#).as_bytes(),
            )
            .is_unwritten()
        };
        assert!(answered("unavailable") && answered("rate_limited"));
        assert!(
            !answered("outcome_unknown") && !answered("not_replicated") && !answered("lagging")
        );
        assert!(Failure::transport(Fault::Connect, String::new()).is_unwritten());
        assert!(!Failure::transport(Fault::Timeout, String::new()).is_unwritten());
        assert!(!Failure::transport(Fault::Broken, String::new()).is_unwritten());
    }
}
