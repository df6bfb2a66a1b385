//! What comes from routers: sessions that begin, what their clients say, take and read, and their ends.

use std::sync::Arc;
use std::time::Instant;

use crate::auth::Identity;
use crate::ids::UserId;
use crate::link::front::server::{RouterEnd, Sessions};
use crate::link::front::{Authorization, Down, Open, Refusal, SessionNumber, Terms, Up};
use crate::node::session::deadlines::Due;
use crate::node::session::receipts::Marks;
use crate::node::session::routers::Router;
use crate::node::session::window::Session;
use crate::node::session::{Hub, Inner};
use crate::problem::{CloseCode, Code, Problem};
use crate::protocol::routes::Endpoint;
use crate::protocol::upgrade as handshake;
use crate::telemetry;

/// The subprotocol that we speak.
const PROTOCOL: &str = "rookery.v1";
/// The subprotocol that carries a token, for browsers.
const BEARER_PROTOCOL: &str = "rookery.bearer.";

/// A session that may be opened.
struct Checked {
    /// Who; none when the token of the subprotocol is bad.
    identity: Option<Identity>,
    /// The client offered our subprotocol.
    protocol: bool,
    /// `resume=wait`.
    held: bool,
}

impl Sessions for Hub {
    fn take(&self, router: &RouterEnd, frame: Up) {
        let new = || Router::new(Box::new(router.clone()));
        let router = Arc::clone(self.inner.routers().entry(router.connection()).or_insert_with(new));
        self.inner.hear(&router, frame);
    }

    fn ended(&self, router: &RouterEnd) {
        let router = self.inner.routers().remove(&router.connection());
        if let Some(router) = router {
            self.inner.lost_router(&router);
        }
    }
}

impl Inner {
    /// Takes in a frame about a session of this connection.
    pub(super) fn hear(self: &Arc<Self>, router: &Arc<Router>, frame: Up) {
        match frame {
            Up::Open(open) => self.open(router, &open),
            Up::Said { session, text } => {
                if let Some(session) = router.session(session) {
                    self.said(&session, text);
                }
            }
            Up::Taken(all) => all.into_iter().for_each(|(session, bytes)| self.taken(router, session, bytes)),
            Up::Read(all) => {
                for (session, read) in all {
                    let Some(session) = router.session(session) else { continue };
                    let named = read.into_iter().filter_map(|(handle, seq)| Some((router.conversation(handle)?, seq)));
                    self.gather.add(&session.user, named.collect::<Marks>());
                }
            }
            // Answered before it comes here.
            Up::Call(_) => {}
            Up::Gone(session) => {
                if let Some(session) = router.session(session) {
                    session.gone();
                    self.leave(&session);
                }
            }
        }
    }

    /// A connection has ended, and all sessions on it.
    pub(super) fn lost_router(self: &Arc<Self>, router: &Arc<Router>) {
        for session in router.all() {
            session.gone();
            self.leave(&session);
        }
    }

    fn taken(self: &Arc<Self>, router: &Arc<Router>, number: SessionNumber, bytes: u32) {
        let Some(session) = router.session(number) else { return };
        session.taken(bytes);
        self.pump_if_hungry(&session);
    }

    fn open(self: &Arc<Self>, router: &Arc<Router>, open: &Open) {
        self.upstream.hear(open.table_version, open.table_age_ms);
        if self.away.load(std::sync::atomic::Ordering::SeqCst) {
            // Another node of the row may take it.
            let why = Refusal::Elsewhere { owner: None, version: self.upstream.table_version() };
            router.offer(Down::Refused { session: open.session, why });
            return;
        }
        let mut user = None;
        let checked = match self.check(open, &mut user) {
            Ok(checked) => checked,
            Err(problem) => return self.refuse(router, open, problem, user.as_ref()),
        };
        let (window, config) = (self.config.outbox_bytes_max, &self.config);
        let millis = |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let terms = Terms {
            window: u32::try_from(window).unwrap_or(u32::MAX),
            heartbeat_ms: millis(config.heartbeat),
            marks_ms: millis(config.delivered_every),
            write_timeout_ms: millis(config.write_timeout),
            frames_per_second: config.frames_per_second_max,
        };
        let opened = |id| Down::Opened { session: open.session, id, protocol: checked.protocol, terms };
        let Some(Identity { user: name, expires }) = checked.identity else {
            telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
            router.offer(opened(crate::ids::SessionId::random()));
            router.offer(Down::Close { session: open.session, code: CloseCode::Unauthorized });
            return;
        };
        let on = (Arc::clone(router), open.session);
        let session = Arc::new(Session::new(on, name, Arc::from(open.request_id.as_str()), expires, window));
        router.offer(opened(session.id));
        router.enter(&session);
        match self.admit(&session, checked.held) {
            Ok(()) if checked.held => {
                self.deadlines().at(Instant::now() + self.config.resume_wait_max, session.id, Due::Begin);
            }
            Ok(()) => {}
            Err(code) => self.end(&session, code),
        }
    }

    fn refuse(&self, router: &Router, open: &Open, problem: Problem, user: Option<&UserId>) {
        if problem.code == Code::Unauthorized {
            telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
        }
        let (status, code, id) = (problem.code.status(), problem.code.as_str(), &open.request_id);
        let (route, user) = (Endpoint::WebSocket.template(), user.map(tracing::field::display));
        tracing::debug!(id, route, status, code, user, "session refused");
        router.offer(Down::Refused { session: open.session, why: Refusal::Problem(problem) });
    }

    /// Puts down who asks as soon as that is known.
    fn check(&self, open: &Open, asker: &mut Option<UserId>) -> Result<Checked, Problem> {
        handshake::no_token_in_query(&open.query)?;
        let (identity, protocol) = self.token(open)?;
        *asker = identity.as_ref().map(|identity| identity.user.clone());
        let mut held = false;
        for part in open.query.split('&').filter(|part| !part.is_empty()) {
            if part != "resume=wait" {
                let detail = format!("the query parameter {part:?} is not known here; the only one is resume=wait");
                return Err(Problem::new(Code::Invalid, detail));
            }
            held = true;
        }
        open.handshake.clone().map_or(Ok(Checked { identity, protocol, held }), Err)
    }

    /// The token of the header decides; without one, that of the subprotocol.
    fn token(&self, open: &Open) -> Result<(Option<Identity>, bool), Problem> {
        let offered = &open.protocols;
        let protocol = offered.iter().any(|offer| offer == PROTOCOL);
        match &open.authorization {
            Authorization::Bearer(token) => match (self.verify)(token) {
                Ok(identity) => Ok((Some(identity), protocol)),
                Err(refused) => Err(Problem::new(Code::Unauthorized, refused.0)),
            },
            Authorization::Malformed => Err(Problem::new(Code::Unauthorized, "send Authorization: Bearer <JWT>")),
            Authorization::None => match offered.iter().find_map(|offer| offer.strip_prefix(BEARER_PROTOCOL)) {
                Some(token) => Ok(((self.verify)(token).ok(), protocol)),
                None => Err(Problem::new(
                    Code::Unauthorized,
                    "send Authorization: Bearer <JWT>, or the subprotocols rookery.v1, rookery.bearer.<JWT>",
                )),
            },
        }
    }
}
