//! A request of a client on its way: the order of checks of the client contract, its body, the node
//! that answers it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::auth::Verifier;
use crate::connections::refusal::waits_to_continue;
use crate::ids::IdempotencyKey;
use crate::link::front::{Call, Key};
use crate::problem::{Code, Problem};
use crate::protocol::routes::{Endpoint, match_path};
use crate::router::asked::{Asked, Refusal};
use crate::router::config::Config;
use crate::router::directory::Directory;
use crate::router::forward::{AnswerBody, Forwarder, Outgoing};
use crate::router::headers;
use crate::router::hold::{Held, Hold};
use crate::router::opening::{Opener, Opening};
use crate::router::placing::{Placed, place};
use crate::router::versions;

/// What all requests of a router have in common.
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) directory: Directory,
    pub(super) verifier: Option<Verifier>,
    pub(super) forwarder: Forwarder,
    pub(super) hold: Hold,
    pub(super) opener: Arc<Opener>,
    pub(super) draining: AtomicBool,
}

impl Inner {
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let asked = Asked::of(request.method(), request.uri(), request.headers());
        let answered = self.answer(request, asked.id()).await;
        let response = answered.unwrap_or_else(|refusal| asked.refused(&refusal).map(Either::Left));
        asked.answered(response, &self.config.origins)
    }

    /// Answers a request that came on a connection for which there is no place.
    pub(super) fn refuse_newcomer(&self, head: &Parts) -> Response<Full<bytes::Bytes>> {
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
        let placed = match place(
            &self.config,
            request.method(),
            request.uri(),
            request.headers(),
        ) {
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
