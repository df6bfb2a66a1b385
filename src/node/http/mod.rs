//! The REST face of the shards that this node owns: requests in, problems or answers out. Served to routers.
//!
//! - Every request gets one answer of the client contract; nothing that a client sends ends in a 500 or a panic.
//! - The checks are made in the order of `docs/api.md`; the token is verified here, whoever forwarded the request.
//! - What belongs to another node is answered 421 with a hint, and surely nothing was done.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use tracing::Instrument;

use crate::auth::Verifier;
use crate::ids::{NodeId, ShardId, Slot, UserId};
use crate::node::hop;
use crate::node::http::answer::{Answer, Refusal};
use crate::node::http::proofs::Proofs;
use crate::node::http::rate::PerUser;
use crate::node::http::request::Call;
use crate::node::http::shards::Shards;
use crate::node::owners::Owners;
use crate::node::session::{self, Hub};
use crate::node::table::reach::Reach;
use crate::problem::{Code, Problem};
use crate::protocol::headers;
use crate::protocol::routes::{self, Endpoint, Matched, NO_ROUTE, Operation};
use crate::shard::command::{Command, Done, Found, Freshness, Query};
use crate::telemetry::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS};

mod answer;

mod body;

mod conversations;

mod messages;

mod participants;

mod proofs;

mod rate;

mod request;

mod serve;

mod shards;

#[cfg(test)]
mod tests;

pub use serve::serve;

/// Value of the label `role` of our metrics.
const ROLE: &str = "node";

/// Given to a shard beyond the deadline it was told, before it is given up.
const OVERTIME: Duration = Duration::from_millis(500);

/// Creates of one user under one key wait for each other; so many wait independently.
const CREATE_LOCKS: usize = 1_024;

/// Settings of the REST face.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node, which is never named as the owner to go to.
    pub node: NodeId,
    /// Connections at once; one more takes the place of the one that has been idle longest, and is refused when none is. A
    /// session's socket is not counted here.
    pub connections_max: usize,
    /// A connection on which no whole request head arrives for this long is closed, an idle one too: routers must drop
    /// their idle connections earlier.
    pub head_timeout: Duration,
    /// A body must have arrived within this.
    pub body_timeout: Duration,
    /// How long begun requests may take to end after the shutdown.
    pub shutdown_timeout: Duration,
    /// Requests of one user per second, sustained; 0 is no limit.
    pub requests_per_second: u32,
    /// Requests of one user at once.
    pub burst: u32,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            connections_max: 4_096,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            requests_per_second: 1_000,
            burst: 2_000,
        }
    }
}

/// Everything that requests need. One for the node.
pub struct Http {
    rest: Rest,
    hub: Arc<Hub>,
    reach: Arc<Reach>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Http {
    /// The REST face over these owners; requests for sessions go to `hub`.
    #[must_use]
    pub fn new(owners: Owners, hub: Arc<Hub>, verifier: Verifier, config: Config) -> Self {
        let reach = Arc::clone(owners.reach());
        Self { rest: Rest::new(Arc::new(owners), verifier, config), hub, reach }
    }

    /// Answers a request; one for a session is upgraded.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(told) = request::told(request.headers()) {
            self.reach.hear(told, Instant::now());
        }
        let matched = routes::match_path(request.uri().path());
        let for_session = matched.is_some_and(|matched| matched.endpoint == Endpoint::WebSocket);
        if !(for_session && request.method() == Method::GET) {
            return self.rest.handle(request).await;
        }
        let request_id = headers::request_id(request.headers());
        let started = Instant::now();
        let mut response = if self.hub.is_away() {
            // Another node of the row may take it.
            answer::not_here(&request_id, &self.rest.shards.table())
        } else {
            session::accept(&self.hub, request, &request_id)
        };
        answer::set_request_id(&mut response, &request_id);
        observe(Endpoint::WebSocket.template(), response.status().as_u16(), started.elapsed());
        response
    }
}

/// The part that needs no socket.
struct Rest {
    shards: Arc<dyn Shards>,
    verifier: Verifier,
    config: Config,
    rate: PerUser,
    creating: Vec<tokio::sync::Mutex<()>>,
    proofs: Proofs,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A request whose head is good.
struct Admitted<'a> {
    matched: Matched<'a>,
    operation: Operation,
    user: UserId,
}

impl Rest {
    fn new(shards: Arc<dyn Shards>, verifier: Verifier, config: Config) -> Self {
        let rate = PerUser::new(config.requests_per_second, config.burst);
        let creating = std::iter::repeat_with(|| tokio::sync::Mutex::new(())).take(CREATE_LOCKS).collect();
        Self { shards, verifier, config, rate, creating, proofs: Proofs::new(Instant::now()) }
    }

    async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin + Send,
        B::Error: fmt::Display,
    {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let request_id = headers::request_id(&head.headers);
        let matched = routes::match_path(head.uri.path());
        let route = matched.map_or(NO_ROUTE, |matched| matched.endpoint.template());
        let span = tracing::info_span!("request", id = request_id);
        async {
            let mut user = None;
            let admitted = self.admit(&head, matched, &mut user);
            // Read before any refusal: an answer to a client that is still writing may not arrive.
            let mut received = body::read(body, self.config.body_timeout).await;
            if head.headers.contains_key(hop::BODY_TOO_LARGE) {
                // The router has thrown it away, and leaves the answer to us, in its place in the order of checks.
                received.bytes = Err(body::too_large());
            }
            let answered = match admitted {
                Ok(admitted) => match received.bytes {
                    Ok(bytes) => self.answer_in_time(&head, admitted, bytes).await,
                    Err(problem) => Err(problem.into()),
                },
                Err(refused) => Err(refused),
            };
            let mut response = match answered {
                Ok(answer) => answer.response(&request_id),
                Err(refused) => {
                    tell_refused(&refused, (&head.method, route), user.as_ref(), started.elapsed());
                    self.refuse(refused, &request_id)
                }
            };
            if !received.ended {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if head.method == Method::HEAD {
                response = answer::without_body(response);
            }
            let status = response.status().as_u16();
            let elapsed = started.elapsed();
            observe(route, status, elapsed);
            tracing::debug!(method = %head.method, route, status, ?elapsed, "request answered");
            response
        }
        .instrument(span)
        .await
    }

    /// The checks that need nothing but the head. Puts down who asks as soon as that is known.
    fn admit<'a>(
        &self,
        head: &Parts,
        matched: Option<Matched<'a>>,
        asker: &mut Option<UserId>,
    ) -> Result<Admitted<'a>, Refusal> {
        // The document is the routers'.
        let Some(matched) = matched.filter(|matched| matched.endpoint != Endpoint::Document) else {
            return Err(Problem::new(Code::NotFound, "see the documentation for the paths there are").into());
        };
        let Some(operation) = matched.endpoint.operation(&head.method) else {
            return Err(Refusal::Method(matched.endpoint.allow()));
        };
        let Some(token) = request::bearer(&head.headers) else {
            return Err(Problem::new(Code::Unauthorized, "send Authorization: Bearer with a token").into());
        };
        let identity = self.verifier.verify(token);
        let user = identity.map_err(|refused| Problem::new(Code::Unauthorized, refused.0))?.user;
        *asker = Some(user.clone());
        self.rate.take(&user).map_err(|wait| {
            let mut problem = Problem::new(Code::RateLimited, "too many requests of this user; slow down");
            problem.retry_after = Some(Duration::from_secs(wait.as_secs().saturating_add(1)));
            problem
        })?;
        Ok(Admitted { matched, operation, user })
    }

    /// Answers, whatever happens below: not later than a little after the deadline, and also when there is a bug.
    async fn answer_in_time(&self, head: &Parts, admitted: Admitted<'_>, body: Bytes) -> Result<Answer, Refusal> {
        let writes = admitted.operation.writes();
        let deadline = request::deadline(&head.headers);
        let answering = AssertUnwindSafe(self.answer(head, admitted, body, deadline)).catch_unwind();
        let why = match tokio::time::timeout_at((deadline + OVERTIME).into(), answering).await {
            Ok(Ok(answered)) => return answered,
            Ok(Err(_panic)) => "request ended in a panic",
            Err(_elapsed) => "request was not answered by its deadline",
        };
        tracing::error!("{why}");
        let problem = if writes {
            Problem::new(Code::OutcomeUnknown, "no answer in time; retry with the same key")
        } else {
            Problem::unavailable("no answer in time")
        };
        Err(problem.into())
    }

    async fn answer(
        &self,
        head: &Parts,
        admitted: Admitted<'_>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let Admitted { matched, operation, user } = admitted;
        if operation.writes() && !request::is_unencoded(&head.headers) {
            let detail = "a body is taken as it is: send it without Content-Encoding";
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
        }
        if operation.takes_body() && (body.is_empty() || !request::is_json(&head.headers)) {
            let detail = "a body with the Content-Type application/json is needed";
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
        }
        let call = Call { head, user, operation, params: (matched.first, matched.second), body, deadline };
        if operation.writes() {
            // Also where it is not needed: a client that sends a broken key has to know.
            call.idempotency_key()?;
        }
        match operation {
            Operation::CreateConversation => self.create_conversation(&call).await,
            Operation::ListConversations => self.list_conversations(&call).await,
            Operation::ShowConversation => self.show_conversation(&call).await,
            Operation::ListParticipants => self.list_participants(&call).await,
            Operation::AddParticipants => self.add_participants(&call).await,
            Operation::RemoveParticipant => self.remove_participant(&call).await,
            Operation::ShowWatermarks => self.show_watermarks(&call).await,
            Operation::SendMessage => self.send_message(&call).await,
            Operation::ShowHistory => self.show_history(&call).await,
            Operation::ShowEvents => self.show_events(&call).await,
            Operation::ShowMessage => self.show_message(&call).await,
            Operation::ShowReceipts => self.show_receipts(&call).await,
            Operation::React => self.react(&call).await,
            Operation::TakeReactionBack => self.take_reaction_back(&call).await,
            Operation::MarkRead => self.mark_read(&call).await,
            Operation::OpenSession | Operation::ShowDocument => Err(answer::unexpected("no request of a node's")),
        }
    }

    fn refuse(&self, refused: Refusal, request_id: &str) -> Response<Full<Bytes>> {
        match refused {
            Refusal::Problem(problem) => problem.response(request_id),
            Refusal::Method(allow) => answer::method_not_allowed(allow, request_id),
            Refusal::Elsewhere(shard) => answer::elsewhere(shard, request_id, &self.shards.table(), &self.config.node),
        }
    }

    fn shard_of(&self, slot: Slot) -> ShardId {
        self.shards.map().shard_of(slot)
    }

    /// Writes at the local owner of `slot`.
    async fn execute(&self, call: &Call<'_>, slot: Slot, command: Command) -> Result<Done, Refusal> {
        let shard = self.shard_of(slot);
        let done = self.shards.execute_here(shard, command, call.deadline).await;
        done.map_err(Refusal::from_shard(shard))
    }

    /// Reads at the local owner of `slot`.
    async fn query(&self, call: &Call<'_>, slot: Slot, query: Query) -> Result<(Found, Freshness), Refusal> {
        let shard = self.shard_of(slot);
        let found = self.shards.query_here(shard, query, call.deadline).await;
        found.map_err(Refusal::from_shard(shard))
    }
}

/// Says what was refused to whom: mistakes of clients to those who look closely, what the node cannot do to everyone. The id
/// of the request is in the span.
fn tell_refused(refused: &Refusal, (method, route): (&Method, &'static str), user: Option<&UserId>, elapsed: Duration) {
    let user = user.map(tracing::field::display);
    let (status, code) = refused.told();
    if status < 500 {
        tracing::debug!(%method, route, status, code, user, ?elapsed, "request refused");
    } else {
        tracing::info!(%method, route, status, code, user, ?elapsed, "request refused");
    }
}

fn observe(route: &'static str, status: u16, elapsed: Duration) {
    HTTP_REQUESTS.add(1, &[("role", ROLE), ("route", route), ("status", &status.to_string())]);
    HTTP_REQUEST_SECONDS.record(elapsed.as_secs_f64(), &[("role", ROLE), ("route", route)]);
}
