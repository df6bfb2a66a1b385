//! One request to the node that owns its shard, over pooled connections, and its answer back.
//!
//! **Invariants.** A node gets at most one budget of a request's time, told to it with every attempt. A retry carries the
//! same idempotency key as the attempt before it. An answer small enough is whole before any of it goes to the client, so
//! a node that dies while answering costs a retry, not a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::ids::Slot;
use crate::node::hop;
use crate::node::table::reach::{Reach, Told};
use crate::problem::{Code, Problem, settles_earlier_attempts};
use crate::router::attempts::{Attempt, Ended, Repeatable, within};
use crate::router::directory::Directory;
use crate::router::headers;

/// Longest wait for a connection to a node.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What a node is told to be done earlier than the router's own deadline, so that its refusal still arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// Answers up to here are read whole before they go on; longer ones are relayed as they come.
const WHOLE_ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// A node that gives nothing more of an answer for so long has broken it off.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Idle connections kept to each node; more are closed after use.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// Idle connections to nodes are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of an answer: whole, or relayed as it comes.
pub(super) type AnswerBody = Either<Full<Bytes>, Relayed>;

/// A request as it goes to a node, the same at every attempt but for its deadline.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) slot: Slot,
    pub(super) deadline: Instant,
    /// Tells nodes which table this router follows.
    pub(super) reach: Arc<Reach>,
}

impl Outgoing {
    /// The headers of an attempt that has so much time left.
    pub(super) fn headers_for(&self, left: Duration) -> HeaderMap {
        let told = left.saturating_sub(ANSWER_MARGIN).max(Duration::from_millis(1));
        let mut all = self.headers.clone();
        let milliseconds = u64::try_from(told.as_millis()).unwrap_or(u64::MAX);
        all.insert(HeaderName::from_static(hop::DEADLINE_MS), HeaderValue::from(milliseconds));
        let Told { version, age_ms } = self.reach.told(std::time::Instant::now());
        all.insert(HeaderName::from_static(hop::TABLE_VERSION), HeaderValue::from(version));
        if let Some(age_ms) = age_ms {
            all.insert(HeaderName::from_static(hop::TABLE_AGE_MS), HeaderValue::from(age_ms));
        }
        all
    }

    fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// What the client is told at the end of the attempts.
    ///
    /// # Errors
    /// `outcome_unknown` when a write may have been executed and no answer after it settles that,
    /// `unavailable` when surely nothing was.
    pub(super) fn concluded<T>(&self, ended: Ended<T>, status: impl Fn(&T) -> StatusCode) -> Result<T, Problem> {
        let in_doubt = ended.in_doubt && self.is_write();
        match ended.answer {
            Some(answer) if !in_doubt || settles_earlier_attempts(status(&answer).as_u16()) => Ok(answer),
            _ if in_doubt => Err(Problem::new(
                Code::OutcomeUnknown,
                "the node that has this did not answer; retry with the same idempotency key",
            )),
            _ => Err(Problem::unavailable("no node could answer in time; nothing was written")),
        }
    }
}

/// Sends requests to nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    client: Client<HttpConnector, Full<Bytes>>,
    directory: Directory,
}

impl Forwarder {
    pub(super) fn new(directory: Directory) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Self { client, directory }
    }

    /// Forwards within the request's deadline. Dropping the future breaks off the attempt in flight; a write may have
    /// been executed then.
    ///
    /// # Errors
    /// As [`Outgoing::concluded`].
    pub(super) async fn forward(&self, outgoing: &Outgoing) -> Result<Response<AnswerBody>, Problem> {
        let request = Pooled { client: &self.client, outgoing };
        let ended = within(&self.directory, outgoing.slot, outgoing.deadline, &request).await;
        outgoing.concluded(ended, Response::status)
    }
}

struct Pooled<'a> {
    client: &'a Client<HttpConnector, Full<Bytes>>,
    outgoing: &'a Outgoing,
}

impl Repeatable for Pooled<'_> {
    type Answer = Response<AnswerBody>;

    async fn send(&self, address: &str, left: Duration) -> Attempt<Response<AnswerBody>> {
        let outgoing = self.outgoing;
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(address).path_and_query(outgoing.path.clone());
        let Ok(uri) = uri.build() else { return Attempt::Unreachable };
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = outgoing.headers_for(left);
        match timeout_at(outgoing.deadline, self.client.request(request)).await {
            Ok(Ok(response)) => classify(response, outgoing.deadline).await,
            Ok(Err(error)) if error.is_connect() => Attempt::Unreachable,
            Ok(Err(_)) | Err(_) => Attempt::Broken,
        }
    }
}

/// Sorts a node's answer: the client's, or a reason to try again. Reads it whole if it is small.
pub(super) async fn classify(response: Response<Incoming>, deadline: Instant) -> Attempt<Response<AnswerBody>> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::MISDIRECTED_REQUEST {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let owner = text(hop::OWNER).map(str::to_owned);
        let version = text(hop::TABLE_VERSION).and_then(|version| version.parse().ok());
        // Read to its end for the sake of the pooled connection; its content means nothing.
        drop(whole(body, deadline).await);
        return Attempt::Elsewhere { owner, version };
    }
    headers::strip_answer(&mut parts.headers);
    let small = body.size_hint().upper().is_some_and(|upper| upper <= WHOLE_ANSWER_BYTES_MAX);
    if !small {
        return Attempt::Answered(Response::from_parts(parts, Either::Right(Relayed::new(body))));
    }
    let Some(bytes) = whole(body, deadline).await else { return Attempt::Broken };
    // A node that tells a longer wait than the shortest there is knows that nothing changes within this budget.
    let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_soon = retry_after.is_none_or(|seconds| seconds <= 1);
    let declined = parts.status == StatusCode::SERVICE_UNAVAILABLE && is_soon && is_unavailable(&bytes);
    let answer = Response::from_parts(parts, Either::Left(Full::new(bytes)));
    if declined { Attempt::Declined(answer) } else { Attempt::Answered(answer) }
}

async fn whole(body: Incoming, deadline: Instant) -> Option<Bytes> {
    let limit = usize::try_from(WHOLE_ANSWER_BYTES_MAX).unwrap_or(usize::MAX);
    let collected = timeout_at(deadline, Limited::new(body, limit).collect()).await.ok()?.ok()?;
    Some(collected.to_bytes())
}

fn is_unavailable(problem: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Coded {
        code: String,
    }
    serde_json::from_slice::<Coded>(problem).is_ok_and(|problem| problem.code == Code::Unavailable.as_str())
}

/// A long answer of a node, relayed as it comes, and broken off when the node gives nothing for a while. A client that
/// takes nothing is not the node's fault and not timed here.
#[derive(Debug)]
pub(super) struct Relayed {
    inner: Incoming,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Relayed {
    fn new(inner: Incoming) -> Self {
        Self { inner, waiting: None }
    }
}

/// The node broke an answer off.
#[derive(Debug, thiserror::Error)]
#[error("the node broke the answer off")]
pub(super) struct BrokenOff;

impl Body for Relayed {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_broken| BrokenOff)));
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(ANSWER_PATIENCE)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(BrokenOff)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
