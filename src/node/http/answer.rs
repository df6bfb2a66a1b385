//! Answers: what went well, what was refused, and what belongs to another node.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use serde::Serialize;

use crate::ids::ShardId;
use crate::link::front::calls::Told;
use crate::problem::{Code, Problem};
use crate::protocol::headers;
use crate::shard::command::{Freshness, ShardError};

/// An answer that is no refusal.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    json: Option<Vec<u8>>,
    location: Option<String>,
    stale_ms: Option<u64>,
}

/// Why there is no such answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// For the client.
    Problem(Problem),
    /// For the router: this node does not own the shard.
    Elsewhere(ShardId),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Refusal {
    /// The status and the code that it is answered with.
    pub(super) fn told(&self) -> (u16, &'static str) {
        let of = |code: Code| (code.status(), code.as_str());
        match self {
            Self::Problem(problem) => of(problem.code),
            Self::Elsewhere(_) => (
                StatusCode::MISDIRECTED_REQUEST.as_u16(),
                Code::Unavailable.as_str(),
            ),
        }
    }

    pub(super) fn from_shard(shard: ShardId) -> impl FnOnce(ShardError) -> Self {
        move |error| match error {
            ShardError::Problem(problem) => Self::Problem(problem),
            ShardError::NotOwner => Self::Elsewhere(shard),
        }
    }
}

impl Answer {
    /// 200 with a body.
    pub(super) fn ok<T: Serialize>(body: &T) -> Result<Self, Refusal> {
        Self::with(StatusCode::OK, body)
    }

    /// 201 with a body, or 200 when the same request had made it before.
    pub(super) fn made<T: Serialize>(body: &T, replayed: bool) -> Result<Self, Refusal> {
        Self::with(
            if replayed {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            },
            body,
        )
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            json: None,
            location: None,
            stale_ms: None,
        }
    }

    fn with<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, Refusal> {
        let json = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "answer cannot be encoded");
            Problem::unavailable("the answer cannot be given now")
        })?;
        Ok(Self {
            status,
            json: Some(json),
            location: None,
            stale_ms: None,
        })
    }

    /// Tells where the thing made is.
    pub(super) fn at(self, path: String) -> Self {
        Self {
            location: Some(path),
            ..self
        }
    }

    /// Tells how sure the answer is; refused when that is not sure enough.
    pub(super) fn with_freshness(
        self,
        freshness: Freshness,
        strict: bool,
    ) -> Result<Self, Refusal> {
        match freshness {
            Freshness::Strict => Ok(self),
            Freshness::Stale { .. } if strict => Err(Problem::new(
                Code::Stale,
                "the owner cannot prove that nothing is missing; try again",
            )
            .into()),
            Freshness::Stale { ms } => Ok(Self {
                stale_ms: Some(ms),
                ..self
            }),
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let has_body = self.json.is_some();
        let mut response = Response::new(Full::new(Bytes::from(self.json.unwrap_or_default())));
        *response.status_mut() = self.status;

        if has_body {
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }

        if let Some(path) = self.location {
            set(&mut response, header::LOCATION, &path);
        }

        if let Some(ms) = self.stale_ms {
            set(
                &mut response,
                HeaderName::from_static(headers::STALE),
                &ms.to_string(),
            );
        }

        response
    }
}

/// An answer as it goes to the router, which names the request itself.
pub(super) fn told(response: Response<Full<Bytes>>) -> Told {
    let (head, mut body) = response.into_parts();
    let body = body
        .frame()
        .now_or_never()
        .flatten()
        .and_then(|frame| frame.ok()?.into_data().ok());
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| *name != headers::REQUEST_ID);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();

    Told {
        status: head.status.as_u16(),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: body.into_iter().collect(),
    }
}

/// The answer to HEAD: the same headers, the length of the body among them, without the body.
pub(super) fn without_body(response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Full::new(Bytes::new()))
}

/// The refusal for an answer that the contract of the shard does not allow: a bug, told as far as a
/// client may know.
pub(super) fn unexpected(what: &'static str) -> Refusal {
    tracing::error!(what, "shard answered something else than was asked");
    Problem::unavailable("the answer cannot be given now").into()
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(error) => tracing::error!(%name, %error, "header cannot be encoded"),
    }
}
