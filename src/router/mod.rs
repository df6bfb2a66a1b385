//! The router: takes every client connection, finds the shard of each request and asks the node
//! that owns it, over the link to it, within one budget of time; ends WebSockets, whose sessions
//! are the nodes'. It keeps no conversation and no user.
//!
//! **Invariants.** A request is answered, whatever becomes of nodes: at the end of the budget with
//! a problem. The router vouches for nobody: nodes verify tokens, and no header of ours passes from
//! a client. Every wait, body, connection and socket has a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::auth::UserClaim;
use crate::auth::Verifier;
use crate::connections::refusal::waits_to_continue;
use crate::ids::{IdempotencyKey, Slot};
use crate::link::front::{Call, Key};
use crate::problem::{Code, Problem};
use crate::protocol::openapi;
use crate::protocol::routes::{Endpoint, match_path};
use crate::protocol::upgrade;
use crate::router::asked::{Asked, Refusal};
use crate::router::cors::Origins;
use crate::router::directory::Directory;
use crate::router::forward::{AnswerBody, Forwarder, Outgoing};
use crate::router::hold::{Held, Hold};
use crate::router::links::Links;
use crate::router::opening::{Opener, Opening};
use crate::router::route::Target;
use crate::router::sessions::{Consumes, Sockets};

mod asked;
mod attempts;
pub mod cors;
pub mod directory;
mod explained;
mod forward;
mod headers;
mod hold;
pub mod links;
mod opening;
mod paced;
pub mod route;
mod server;
mod sessions;
mod versions;

#[cfg(test)]
mod tests;

/// Settings of a router.
#[derive(Debug, Clone)]
pub struct Config {
    /// Client connections that are no WebSocket. One more takes the place of the one that has been
    /// idle longest; when none is idle, it is refused with 503 `unavailable`.
    pub connections_max: usize,
    /// WebSocket connections; more are refused with 503 `unavailable`.
    pub sockets_max: usize,
    /// Time for one request from its last byte to its answer, all attempts included.
    pub budget: Duration,
    /// Memory for requests that wait for a node's answer; a request over it is refused with 503
    /// `unavailable`.
    pub hold_bytes_max: usize,
    /// A request's head must arrive within this from its first byte, else the connection is closed.
    pub head_timeout: Duration,
    /// A body must arrive within this, else 400 (one over the limit may take three times as long).
    pub body_timeout: Duration,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// At the end, requests begun have so long to finish.
    pub finish_timeout: Duration,
    /// At the end, WebSocket clients are told to reconnect spread over this window.
    pub drain_window: Duration,
    /// The claim of a token that names its user, whose shard decides which node is asked.
    pub user_claim: UserClaim,
    /// Pages that may use the API.
    pub origins: Origins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            sockets_max: 20_000,
            budget: Duration::from_secs(5),
            hold_bytes_max: 64 * 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            finish_timeout: Duration::from_secs(10),
            drain_window: Duration::from_secs(5),
            user_claim: UserClaim::default(),
            origins: Origins::None,
        }
    }
}

/// A router. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    config: Config,
    directory: Directory,
    verifier: Option<Verifier>,
    forwarder: Forwarder,
    hold: Hold,
    opener: Arc<Opener>,
    draining: AtomicBool,
}

impl Router {
    /// A router by this table. With a verifier, requests with a good token may fill the whole hold
    /// memory, others a quarter of it; without one, all count as others.
    #[must_use]
    pub fn new(
        config: Config,
        directory: Directory,
        links: Links,
        verifier: Option<Verifier>,
    ) -> Self {
        let sockets = Sockets::new(config.sockets_max, config.drain_window);
        links.consume(Arc::new(Consumes(Arc::clone(&sockets))));
        let opener = Opener::new(sockets, links.clone(), directory.clone());
        let forwarder = Forwarder::new(links, directory.clone(), config.hold_bytes_max);
        let hold = Hold::new(config.hold_bytes_max, config.body_timeout);
        Self(Arc::new(Inner {
            config,
            directory,
            verifier,
            forwarder,
            hold,
            opener,
            draining: AtomicBool::new(false),
        }))
    }

    /// Why no traffic should come here now.
    ///
    /// # Errors
    /// One word: it drains, or it never saw a table.
    pub fn readiness(&self) -> Result<(), &'static str> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err("draining");
        }
        self.0
            .directory
            .table()
            .map(|_table| ())
            .ok_or("no table yet")
    }

    /// Serves clients until `drain`; then takes no more connections, finishes the requests begun,
    /// tells the clients of sockets to connect again, spread over the window, and returns: at the
    /// latest after the longer of `finish_timeout` and `drain_window` plus 5 s. Dropping the future
    /// leaves connections to themselves.
    ///
    /// Call it once per router: a drained router stays drained.
    pub async fn serve(&self, listener: TcpListener, drain: CancellationToken) {
        server::run(&self.0, listener, drain).await;
    }
}

impl Inner {
    async fn handle(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let asked = Asked::of(request.method(), request.uri(), request.headers());
        let answered = self.answer(request, asked.id()).await;
        let response = answered.unwrap_or_else(|refusal| asked.refused(&refusal).map(Either::Left));
        asked.answered(response, &self.config.origins)
    }

    /// Answers a request that came on a connection for which there is no place.
    fn refuse_newcomer(&self, head: &Parts) -> Response<Full<bytes::Bytes>> {
        let asked = Asked::of(&head.method, &head.uri, &head.headers);
        let detail = "this router has as many connections as it may have, and none of them is idle; nothing was written";
        let refusal = Refusal {
            close: true,
            ..Refusal::from(Problem::unavailable(detail))
        };
        asked.answered(asked.refused(&refusal), &self.config.origins)
    }

    /// The order of checks of the client contract: path, method, token; all further ones are the
    /// node's.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        request_id: &str,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let placed = match self.place(request.method(), request.uri(), request.headers()) {
            Ok(placed) => placed,
            Err(refusal) => return self.refuse(request, refusal).await,
        };
        let (endpoint, slot) = match placed {
            Placed::Here(response) => return Ok(response),
            Placed::At(endpoint, slot) => (endpoint, slot),
        };
        let client = (endpoint == Endpoint::WebSocket).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let verified = self.is_verified(&parts);
        if waits_to_continue(&parts.headers) && !verified && endpoint != Endpoint::WebSocket {
            self.refuse_before_body(&parts)?;
        }
        let unasked = Hold::is_unasked(&parts.headers, &body);
        let held = if unasked {
            self.hold.leave(body.size_hint().lower(), verified)?
        } else {
            self.hold.read(body, verified).await?
        };

        let deadline = Instant::now() + self.config.budget;
        let answered = if let Some(client) = client {
            self.opener
                .open(
                    &Opening {
                        head: &parts,
                        request_id,
                        slot,
                        deadline,
                    },
                    client,
                )
                .await
        } else {
            let call = call(&parts, request_id, &held)?;
            versions::all_know(&self.directory, call.operation)?;
            self.forwarder
                .forward(&Outgoing {
                    call,
                    slot,
                    deadline,
                })
                .await
        };
        drop(held);

        let mut answered = answered.map_err(Refusal::from);
        if unasked && let Ok(response) = &mut answered {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answered
    }

    /// Refuses a request by its head. Its body is read and thrown away first, unless it waits to be
    /// asked for it: to ask would be a promise.
    async fn refuse<T>(&self, request: Request<Incoming>, refusal: Refusal) -> Result<T, Refusal> {
        if waits_to_continue(request.headers()) {
            return Err(Refusal {
                close: true,
                ..refusal
            });
        }
        self.hold.throw_away(request.into_body()).await?;
        Err(refusal)
    }

    fn place(&self, method: &Method, uri: &Uri, sent: &http::HeaderMap) -> Result<Placed, Refusal> {
        let Some(route) = route::find(uri.path()) else {
            return Err(
                Problem::new(Code::NotFound, "no such path; the paths are in docs/api.md").into(),
            );
        };
        if let Some(response) =
            cors::preflight(&self.config.origins, method, sent, route.endpoint.allow())
        {
            return Ok(Placed::Here(
                response.map(|()| AnswerBody::Left(Full::default())),
            ));
        }
        if route.endpoint.operation(method).is_none() {
            let problem = Problem::new(
                Code::MethodNotAllowed,
                "see the Allow header for the methods of this path",
            );
            return Err(Refusal {
                allow: Some(route.endpoint.allow()),
                ..Refusal::from(problem)
            });
        }
        let slot = match route.target {
            Target::Slot(slot) => slot,
            Target::Subject => {
                if route.endpoint == Endpoint::WebSocket {
                    upgrade::no_token_in_query(uri.query().unwrap_or_default())?;
                }
                subject_slot(route.endpoint, sent, &self.config.user_claim)?
            }
            Target::Router => return Ok(Placed::Here(document(method, uri)?)),
        };
        Ok(Placed::At(route.endpoint, slot))
    }

    /// Refuses a bad token of a client that sends its body only when it is asked for it.
    fn refuse_before_body(&self, parts: &Parts) -> Result<(), Refusal> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        let refused = match headers::bearer(&parts.headers) {
            Some(token) => verifier.verify(token).err().map(|refused| refused.0.into()),
            None => Some("send a token as Authorization: Bearer <token>".into()),
        };
        refused.map_or(Ok(()), |why: std::borrow::Cow<'static, str>| {
            Err(Refusal {
                close: true,
                ..Refusal::from(Problem::new(Code::Unauthorized, why))
            })
        })
    }

    fn is_verified(&self, parts: &Parts) -> bool {
        let token =
            headers::bearer(&parts.headers).or_else(|| headers::offered_bearer(&parts.headers));
        self.verifier
            .as_ref()
            .zip(token)
            .is_some_and(|(verifier, token)| verifier.verify(token).is_ok())
    }
}

/// The request as a node gets it: a POST or an edit without a key of the client's is stamped with
/// one, the same at every attempt.
fn call(parts: &Parts, request_id: &str, held: &Held) -> Result<Call, Problem> {
    let none = || Problem::new(Code::NotFound, "no such path; the paths are in docs/api.md");
    let matched = match_path(parts.uri.path()).ok_or_else(none)?;
    let operation = matched.endpoint.operation(&parts.method).ok_or_else(none)?;
    let mut call = Call::of(parts, matched, operation, request_id, held.bytes.clone());
    call.too_large = held.too_large.is_some();
    if operation.is_stamped() && call.key == Key::None {
        call.key = Key::Stamped(IdempotencyKey::stamp().key.to_string());
    }
    Ok(call)
}

/// Where a request goes, if anywhere.
enum Placed {
    /// Nowhere: this is the answer.
    Here(Response<AnswerBody>),
    At(Endpoint, Slot),
}

/// The OpenAPI document, which is this program's own.
fn document(method: &Method, uri: &Uri) -> Result<Response<AnswerBody>, Problem> {
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Problem::new(
            Code::Invalid,
            "a query parameter is not known here",
        ));
    }
    let text = openapi::json();
    let length = HeaderValue::from(text.len());
    let body = if method == Method::HEAD {
        bytes::Bytes::new()
    } else {
        text
    };
    let mut response = Response::new(Either::Left(body.into()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

/// The slot of the user that the token names. A WebSocket whose token is in the subprotocols goes
/// to some node even with a bad one: the node upgrades and closes with 4401, because a browser
/// cannot see a 401.
fn subject_slot(
    endpoint: Endpoint,
    sent: &http::HeaderMap,
    claim: &UserClaim,
) -> Result<Slot, Problem> {
    let missing = || {
        Problem::new(
            Code::Unauthorized,
            "send a token as Authorization: Bearer <token>",
        )
    };
    if sent.contains_key(header::AUTHORIZATION) || endpoint != Endpoint::WebSocket {
        let token = headers::bearer(sent).ok_or_else(missing)?;
        let user = auth::claimed_user(token, claim);
        return user
            .map(|user| user.slot())
            .map_err(|refused| Problem::new(Code::Unauthorized, refused.0));
    }
    let token = headers::offered_bearer(sent).ok_or_else(missing)?;
    Ok(auth::claimed_user(token, claim)
        .map_or_else(|_| Slot::of(token.as_bytes()), |user| user.slot()))
}
