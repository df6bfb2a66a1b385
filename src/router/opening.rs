//! A WebSocket that a client asks for: the node that holds its user's sessions opens one, within the request's budget, and
//! only then the client's connection is switched.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout_at};

use crate::ids::{NodeId, Slot};
use crate::problem::{Code, Problem};
use crate::router::attempts::{Attempt, Repeatable, within};
use crate::router::directory::Directory;
use crate::router::forward::{AnswerBody, concluded};
use crate::router::links::Links;
use crate::router::sessions::{Opened, Sockets, Unopened, handshake};

/// How much earlier than at our deadline the node is to answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// Opens sessions for clients.
#[derive(Debug)]
pub(super) struct Opener {
    /// The sockets that are open.
    pub(super) sockets: Arc<Sockets>,
    links: Links,
    directory: Directory,
}

/// A request for a WebSocket.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) head: &'a Parts,
    pub(super) request_id: &'a str,
    pub(super) slot: Slot,
    pub(super) deadline: Instant,
}

impl Opener {
    pub(super) fn new(sockets: Arc<Sockets>, links: Links, directory: Directory) -> Self {
        Self { sockets, links, directory }
    }

    /// Asks a node to open a session, and switches the client's connection if it did.
    ///
    /// # Errors
    /// `unavailable`: too many sockets, or no node could be asked.
    pub(super) async fn open(&self, opening: &Opening<'_>, client: OnUpgrade) -> Result<Response<AnswerBody>, Problem> {
        let place = self.sockets.place()?;
        let asking = Asking { opener: self, opening };
        let ended = within(&self.directory, opening.slot, opening.deadline, &asking).await;
        let status = |answer: &Result<Opened, Problem>| match answer {
            Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
            Err(problem) => StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        };
        let opened = match concluded(ended, false, status)? {
            Ok(opened) => opened,
            // The node has logged it.
            Err(problem) => return Ok(problem.response(opening.request_id).map(Either::Left)),
        };
        let Some(switching) = handshake::switching(&opening.head.headers, opened.protocol) else {
            // What a node let through is a handshake.
            return Err(Problem::new(Code::UpgradeRequired, "open a WebSocket here"));
        };
        self.sockets.serve(opened, client, place);
        Ok(switching.map(|_empty| Either::Left(Full::default())))
    }
}

struct Asking<'a> {
    opener: &'a Opener,
    opening: &'a Opening<'a>,
}

impl Repeatable for Asking<'_> {
    type Answer = Result<Opened, Problem>;

    async fn send(&self, node: &NodeId, left: Duration) -> Attempt<Self::Answer> {
        let Opening { head, request_id, deadline, .. } = self.opening;
        let Some(link) = self.opener.links.to(node) else { return Attempt::Unreachable };
        let mut open = handshake::open(head.uri.query().unwrap_or_default(), &head.headers, request_id);
        open.deadline_ms = u64::try_from(left.saturating_sub(ANSWER_MARGIN).as_millis()).unwrap_or(u64::MAX);
        let followed = self.opener.directory.reach().told(std::time::Instant::now());
        (open.table_version, open.table_age_ms) = (followed.version, followed.age_ms);
        match timeout_at(*deadline, self.opener.sockets.ask(&link, open)).await {
            Ok(Ok(opened)) => Attempt::Answered(Ok(opened)),
            Ok(Err(Unopened::Refused(problem))) if is_declined(&problem) => Attempt::Declined(Err(problem)),
            Ok(Err(Unopened::Refused(problem))) => Attempt::Answered(Err(problem)),
            Ok(Err(Unopened::Elsewhere(owner, version))) => Attempt::Elsewhere { owner, version: Some(version) },
            Ok(Err(Unopened::NotAsked)) => Attempt::Unreachable,
            Ok(Err(Unopened::Broken)) | Err(_) => Attempt::Broken,
        }
    }
}

/// A node that tells a longer wait than the shortest there is knows that nothing changes within this budget.
fn is_declined(problem: &Problem) -> bool {
    problem.code == Code::Unavailable && problem.retry_after_s().is_none_or(|seconds| seconds <= 1)
}
