//! Answers: what went well, what was refused, and what belongs to another node.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Body;
use serde::Serialize;

use crate::ids::{NodeId, ShardId};
use crate::node::hop;
use crate::node::table::Table;
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
    /// For the client: 405 with this `Allow`.
    Method(&'static str),
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
            Self::Method(_) => of(Code::MethodNotAllowed),
            Self::Elsewhere(_) => (StatusCode::MISDIRECTED_REQUEST.as_u16(), Code::Unavailable.as_str()),
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
        Self::with(if replayed { StatusCode::OK } else { StatusCode::CREATED }, body)
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, json: None, location: None, stale_ms: None }
    }

    fn with<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, Refusal> {
        let json = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "answer cannot be encoded");
            Problem::unavailable("the answer cannot be given now")
        })?;
        Ok(Self { status, json: Some(json), location: None, stale_ms: None })
    }

    /// Tells where the thing made is.
    pub(super) fn at(self, path: String) -> Self {
        Self { location: Some(path), ..self }
    }

    /// Tells how sure the answer is; refused when that is not sure enough.
    pub(super) fn with_freshness(self, freshness: Freshness, strict: bool) -> Result<Self, Refusal> {
        match freshness {
            Freshness::Strict => Ok(self),
            Freshness::Stale { .. } if strict => {
                Err(Problem::new(Code::Stale, "the owner cannot prove that nothing is missing; try again").into())
            }
            Freshness::Stale { ms } => Ok(Self { stale_ms: Some(ms), ..self }),
        }
    }

    pub(super) fn response(self, request_id: &str) -> Response<Full<Bytes>> {
        let has_body = self.json.is_some();
        let mut response = Response::new(Full::new(Bytes::from(self.json.unwrap_or_default())));
        *response.status_mut() = self.status;
        if has_body {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(path) = self.location {
            set(&mut response, header::LOCATION, &path);
        }
        if let Some(ms) = self.stale_ms {
            set(&mut response, HeaderName::from_static(headers::STALE), &ms.to_string());
        }
        set_request_id(&mut response, request_id);
        response
    }
}

/// 405 with what is allowed.
pub(super) fn method_not_allowed(allow: &'static str, request_id: &str) -> Response<Full<Bytes>> {
    let problem = Problem::new(Code::MethodNotAllowed, format!("allowed here: {allow}"));
    let mut response = problem.response(request_id);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 421 with a hint. `node` is this node: it is never named as the owner to go to.
pub(super) fn elsewhere(shard: ShardId, request_id: &str, table: &Table, node: &NodeId) -> Response<Full<Bytes>> {
    let mut response = not_here(request_id, table);
    let owner = table.owner(shard).filter(|owner| *owner != node);
    if let Some(addresses) = owner.and_then(|owner| table.addresses(owner)) {
        set(&mut response, HeaderName::from_static(hop::OWNER), &addresses.http);
    }
    response
}

/// 421 that names nobody.
pub(super) fn not_here(request_id: &str, table: &Table) -> Response<Full<Bytes>> {
    let mut response = Problem::unavailable("another node owns this").response(request_id);
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    set(&mut response, HeaderName::from_static(hop::TABLE_VERSION), &table.version.to_string());
    response
}

/// The answer to HEAD: the same headers, the length of the body among them, without the body.
pub(super) fn without_body(response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Full::new(Bytes::new()))
}

pub(super) fn set_request_id(response: &mut Response<Full<Bytes>>, request_id: &str) {
    set(response, HeaderName::from_static(headers::REQUEST_ID), request_id);
}

/// Of an answer that the contract of the shard does not allow: a bug, told as far as a client may know.
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
