//! One request to the node that owns its shard, over the link to it, and its answer back.
//!
//! **Invariants.** A node gets at most one budget of a request's time, told to it with every
//! attempt. A retry carries the same idempotency key as the attempt before it. An answer is whole
//! before any of it goes to the client, so a node that dies while answering costs a retry, not a
//! connection. Long answers on their way to clients take no more memory than they may.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::ids::{NodeId, Slot};
use crate::link::Failure;
use crate::link::front::Call;
use crate::link::front::calls::{Answer, Told};
use crate::problem::{Code, Problem, settles_earlier_attempts};
use crate::router::attempts::{Attempt, Ended, Repeatable, within};
use crate::router::directory::Directory;
use crate::router::headers::is_for_client;
use crate::router::links::Links;

/// Answers up to here take no share of the memory for long ones.
const SHORT_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The memory for long answers is counted in these units.
const UNIT_BYTES: usize = 1024;

/// The body of an answer: in one piece, or in several.
pub(super) type AnswerBody = Either<Full<Bytes>, Pieces>;

/// A request as it goes to a node, the same at every attempt but for its deadline.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) call: Call,
    pub(super) slot: Slot,
    pub(super) deadline: Instant,
}

/// What the client is told at the end of the attempts.
///
/// # Errors
/// `outcome_unknown` when a write may have been executed and no answer after it settles that,
/// `unavailable` when surely nothing was.
pub(super) fn concluded<T>(
    ended: Ended<T>,
    is_write: bool,
    status: impl Fn(&T) -> StatusCode,
) -> Result<T, Problem> {
    let in_doubt = ended.in_doubt && is_write;
    match ended.answer {
        Some(answer) if !in_doubt || settles_earlier_attempts(status(&answer).as_u16()) => {
            Ok(answer)
        }
        _ if in_doubt => Err(Problem::new(
            Code::OutcomeUnknown,
            "the node that has this did not answer; retry with the same idempotency key",
        )),
        _ => Err(Problem::unavailable(
            "no node could answer in time; nothing was written",
        )),
    }
}

/// Sends requests to nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    links: Links,
    directory: Directory,
    /// For long answers on their way to clients.
    memory: Arc<Semaphore>,
}

impl Forwarder {
    /// `long_bytes_max`: of long answers that clients have not taken; a read whose answer finds no
    /// place is refused.
    pub(super) fn new(links: Links, directory: Directory, long_bytes_max: usize) -> Self {
        let units = (long_bytes_max / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            links,
            directory,
            memory: Arc::new(Semaphore::new(units)),
        }
    }

    /// Forwards within the request's deadline. Dropping the future breaks off the attempt in
    /// flight; a write may have been executed then.
    ///
    /// # Errors
    /// As [`concluded`].
    pub(super) async fn forward(
        &self,
        outgoing: &Outgoing,
    ) -> Result<Response<AnswerBody>, Problem> {
        let request = Linked {
            links: &self.links,
            directory: &self.directory,
            outgoing,
        };
        let ended = within(&self.directory, outgoing.slot, outgoing.deadline, &request).await;
        let is_write = outgoing.call.operation.writes();
        let status = |told: &Told| {
            StatusCode::from_u16(told.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        };
        let told = concluded(ended, is_write, status)?;
        self.response(told, is_write)
    }

    fn response(&self, told: Told, is_write: bool) -> Result<Response<AnswerBody>, Problem> {
        let left: usize = told.body.iter().map(Bytes::len).sum();
        let mut pieces = VecDeque::from(told.body);
        let body = if left <= SHORT_ANSWER_BYTES_MAX && pieces.len() <= 1 {
            Either::Left(Full::new(pieces.pop_front().unwrap_or_default()))
        } else {
            let units = u32::try_from(left.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
            let held = Arc::clone(&self.memory).try_acquire_many_owned(units).ok();
            // The answer to a write says what is; it is bounded by what a write may name.
            if held.is_none() && !is_write && left > SHORT_ANSWER_BYTES_MAX {
                return Err(Problem::unavailable(
                    "this router holds as many long answers as it may; try again",
                ));
            }
            Either::Right(Pieces {
                pieces,
                left,
                _held: held,
            })
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(told.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        for (name, value) in told
            .headers
            .into_iter()
            .filter(|(name, _)| is_for_client(name))
        {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                response.headers_mut().append(name, value);
            }
        }

        Ok(response)
    }
}

struct Linked<'a> {
    links: &'a Links,
    directory: &'a Directory,
    outgoing: &'a Outgoing,
}

impl Repeatable for Linked<'_> {
    type Answer = Told;

    async fn send(&self, node: &NodeId, _left: Duration) -> Attempt<Told> {
        let Some(link) = self.links.to(node) else {
            return Attempt::Unreachable;
        };
        let mut call = self.outgoing.call.clone();
        let followed = self.directory.reach().told(std::time::Instant::now());
        (call.table_version, call.table_age_ms) = (followed.version, followed.age_ms);

        match link.call(call, self.outgoing.deadline.into_std()).await {
            Ok(Answer::Told(told)) if is_declined(&told) => Attempt::Declined(told),
            Ok(Answer::Told(told)) => Attempt::Answered(told),
            Ok(Answer::Elsewhere { owner, version }) => Attempt::Elsewhere {
                owner,
                version: Some(version),
            },
            Err(Failure::NotSent(_) | Failure::Full | Failure::TooLarge) => Attempt::Unreachable,
            Err(Failure::Lost) => Attempt::Broken,
        }
    }
}

/// Whether the node can only not now. One that tells a longer wait than the shortest there is knows
/// that nothing changes within this budget.
fn is_declined(told: &Told) -> bool {
    #[derive(Deserialize)]
    struct Coded {
        code: String,
    }

    if told.status != StatusCode::SERVICE_UNAVAILABLE.as_u16() {
        return false;
    }
    let wait = told
        .headers
        .iter()
        .find(|(name, _)| name == header::RETRY_AFTER.as_str());
    let is_soon = wait
        .and_then(|(_, value)| value.parse::<u64>().ok())
        .is_none_or(|seconds| seconds <= 1);
    let problem = told.body.concat();

    let is_unavailable = || {
        serde_json::from_slice::<Coded>(&problem)
            .is_ok_and(|problem| problem.code == Code::Unavailable.as_str())
    };
    is_soon && is_unavailable()
}

/// A long answer, and its place in memory until it is taken.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: usize,
    _held: Option<OwnedSemaphorePermit>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, Bytes::len);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left).unwrap_or(u64::MAX))
    }
}
