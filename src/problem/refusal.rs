//! A refusal: what is wrong, as clients see it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::code::Code;

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

#[cfg(test)]
mod tests {
    use super::*;

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
