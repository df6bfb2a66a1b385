//! A WebSocket that a client asks for: the node that holds its user's sessions opens one, within
//! the request's budget, and only then the client's connection is switched. A session that has lost
//! its node is taken to another one likewise.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout_at};

use crate::ids::{NodeId, Slot};
use crate::link::front::Open;
use crate::problem::{Code, Problem};
use crate::router::attempts::{Attempt, Repeatable, within};
use crate::router::directory::Directory;
use crate::router::forward::{AnswerBody, concluded};
use crate::router::headers;
use crate::router::links::Links;
use crate::router::sessions::{
    Homeless, Moved, Opened, Rehouses, Sockets, Unopened, Who, handshake,
};

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
    pub(super) fn new(sockets: Arc<Sockets>, links: Links, directory: Directory) -> Arc<Self> {
        let opener = Arc::new(Self {
            sockets: Arc::clone(&sockets),
            links,
            directory,
        });
        let rehouses: Weak<Self> = Arc::downgrade(&opener);
        sockets.rehoused_by(rehouses);
        opener
    }

    /// Asks a node to open a session, and switches the client's connection if it did.
    ///
    /// # Errors
    /// `unavailable`: too many sockets, or no node could be asked.
    pub(super) async fn open(
        &self,
        opening: &Opening<'_>,
        client: OnUpgrade,
    ) -> Result<Response<AnswerBody>, Problem> {
        let place = self.sockets.place()?;
        let asking = Asking {
            opener: self,
            opening,
        };
        let ended = within(&self.directory, opening.slot, opening.deadline, &asking).await;

        let status = |answer: &Result<Opened, Problem>| match answer {
            Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
            Err(problem) => StatusCode::from_u16(problem.code.status())
                .unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
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
        let Opening {
            head,
            request_id,
            deadline,
            ..
        } = self.opening;

        let Some(link) = self.opener.links.to(node) else {
            return Attempt::Unreachable;
        };
        let open = handshake::open(
            head.uri.query().unwrap_or_default(),
            &head.headers,
            request_id,
        );
        let open = self.opener.with_terms_of(open, left);
        let token =
            headers::bearer(&head.headers).or_else(|| headers::offered_bearer(&head.headers));
        let (request_id, token) = (Arc::from(*request_id), Arc::from(token.unwrap_or_default()));

        let who = Who {
            slot: self.opening.slot,
            request_id,
            token,
        };
        went(
            timeout_at(*deadline, self.opener.sockets.ask(&link, open, who))
                .await
                .ok(),
        )
    }
}

/// How asking a node went; none when it gave no answer in time.
fn went<T>(asked: Option<Result<T, Unopened>>) -> Attempt<Result<T, Problem>> {
    match asked {
        Some(Ok(opened)) => Attempt::Answered(Ok(opened)),
        Some(Err(Unopened::Refused(problem))) if is_declined(&problem) => {
            Attempt::Declined(Err(problem))
        }
        Some(Err(Unopened::Refused(problem))) => Attempt::Answered(Err(problem)),
        Some(Err(Unopened::Elsewhere(owner, version))) => Attempt::Elsewhere {
            owner,
            version: Some(version),
        },
        Some(Err(Unopened::NotAsked)) => Attempt::Unreachable,
        Some(Err(Unopened::Broken)) | None => Attempt::Broken,
    }
}

impl Opener {
    /// What is of one attempt only.
    fn with_terms_of(&self, open: Open, left: Duration) -> Open {
        let followed = self.directory.reach().told(std::time::Instant::now());
        let deadline_ms =
            u64::try_from(left.saturating_sub(ANSWER_MARGIN).as_millis()).unwrap_or(u64::MAX);
        Open {
            deadline_ms,
            table_version: followed.version,
            table_age_ms: followed.age_ms,
            ..open
        }
    }
}

impl Rehouses for Opener {
    fn rehouse(&self, homeless: Homeless, lost: NodeId, deadline: Instant) -> BoxFuture<'_, Moved> {
        Box::pin(async move {
            let Some((who, _)) = homeless.leaves() else {
                return Moved::Done;
            };
            let asking = Moving {
                opener: self,
                homeless,
                lost: Mutex::new(Some(lost)),
                deadline,
            };
            let ended = within(&self.directory, who.slot, deadline, &asking).await;
            match ended.answer {
                Some(Ok(())) => Moved::Done,
                Some(Err(problem)) if problem.code == Code::Unauthorized => Moved::Refused,
                Some(Err(_)) | None => Moved::Nowhere,
            }
        })
    }
}

struct Moving<'a> {
    opener: &'a Opener,
    homeless: Homeless,
    /// The node that it had: passed over once.
    lost: Mutex<Option<NodeId>>,
    deadline: Instant,
}

impl Repeatable for Moving<'_> {
    type Answer = Result<(), Problem>;

    async fn send(&self, node: &NodeId, left: Duration) -> Attempt<Self::Answer> {
        // The client may have gone meanwhile.
        let Some((who, attach)) = self.homeless.leaves() else {
            return Attempt::Answered(Ok(()));
        };

        let passed_over = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|lost| lost == node);
        if passed_over.is_some() {
            return Attempt::Unreachable;
        }

        let Some(link) = self.opener.links.to(node) else {
            return Attempt::Unreachable;
        };
        let open = self
            .opener
            .with_terms_of(handshake::goes_on(&who, attach), left);
        went(
            timeout_at(
                self.deadline,
                self.opener.sockets.attach(&link, open, &self.homeless),
            )
            .await
            .ok(),
        )
    }
}

/// A node that tells a longer wait than the shortest there is knows that nothing changes within
/// this budget.
fn is_declined(problem: &Problem) -> bool {
    problem.code == Code::Unavailable && problem.retry_after_s().is_none_or(|seconds| seconds <= 1)
}
