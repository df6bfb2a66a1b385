//! What comes from routers: sessions that begin, what their clients say, take and read, and their
//! ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::auth::Identity;
use crate::ids::UserId;
use crate::link::front::attach::{Attach, Stage};
use crate::link::front::server::{RouterEnd, Sessions};
use crate::link::front::{Down, Open, Refusal, SessionNumber, Terms, Up};
use crate::node::session::admission::Begin;
use crate::node::session::deadlines::Due;
use crate::node::session::hub::{Hub, Inner, millis};
use crate::node::session::receipts::Marks;
use crate::node::session::said::Message;
use crate::node::session::window::{Router, Session};
use crate::problem::{CloseCode, Code, Problem};
use crate::protocol::routes::Endpoint;
use crate::protocol::{FRAME_BYTES_MAX, RESUME_EVENTS_MAX, ServerFrame, TEXT_BYTES_MAX};
use crate::telemetry;

impl Sessions for Hub {
    fn take(&self, router: &RouterEnd, frame: Up) {
        let new = || Router::new(Box::new(router.clone()));
        let router = Arc::clone(
            self.inner
                .routers()
                .entry(router.connection())
                .or_insert_with(new),
        );
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
            Up::Open(open) => self.open(router, open),
            Up::Said {
                session,
                text,
                number,
                key,
                repeat,
            } => {
                if let Some(session) = router.session(session) {
                    self.said(
                        &session,
                        Message {
                            text,
                            number,
                            key,
                            repeat,
                            later: Vec::new(),
                        },
                    );
                }
            }
            Up::Taken(all) => all
                .into_iter()
                .for_each(|(session, bytes)| self.taken(router, session, bytes)),
            Up::Read(all) => {
                for (session, read) in all {
                    let Some(session) = router.session(session) else {
                        continue;
                    };
                    let named = read
                        .into_iter()
                        .filter_map(|(handle, seq)| Some((router.conversation(handle)?, seq)));
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
        let Some(session) = router.session(number) else {
            return;
        };
        session.taken(bytes);
        self.pump_if_hungry(&session);
    }

    fn open(self: &Arc<Self>, router: &Arc<Router>, mut open: Open) {
        self.upstream.hear(open.table_version, open.table_age_ms);
        let attach = open.attach.take();
        if self.is_closed(attach.is_some()) {
            return self.refuse_elsewhere(router, &open);
        }
        let mut user = None;
        let checked = match self.check(&open, &mut user) {
            Ok(checked) => checked,
            Err(problem) => return self.refuse(router, &open, problem, user.as_ref()),
        };
        if checked
            .identity
            .as_ref()
            .is_some_and(|identity| self.leaves_to_others(identity))
        {
            return self.refuse_elsewhere(router, &open);
        }
        let terms = self.terms();
        let stage = match &attach {
            _ if !open.follows => None,
            Some(attach) => Some(attach.stage),
            None if checked.held => Some(Stage::Waits),
            None => Some(Stage::Begun),
        };
        let opened = |id| Down::Opened {
            session: open.session,
            id,
            protocol: checked.protocol,
            terms,
            stage,
        };
        let Some(identity) = checked.identity else {
            telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
            router.offer(opened(crate::ids::SessionId::random()));
            router.offer(Down::Close {
                session: open.session,
                code: CloseCode::Unauthorized,
            });
            return;
        };

        let session = self.begun(router, &open, identity, attach.as_ref());
        self.replace(&session);
        router.offer(opened(session.id));
        router.enter(session.number, &session);
        let begin = match attach {
            Some(attach) => Begin::GoesOn(attach),
            None if checked.held => Begin::Waits,
            None => Begin::Anew,
        };
        self.enter(&session, begin);
    }

    /// The session that a router asks for, as it is before anything of it is told.
    fn begun(
        &self,
        router: &Arc<Router>,
        open: &Open,
        Identity { user, expires }: Identity,
        attach: Option<&Attach>,
    ) -> Arc<Session> {
        let on = (Arc::clone(router), open.session);
        let mut session = Session::new(
            on,
            user,
            Arc::from(open.request_id.as_str()),
            expires,
            self.config.outbox_bytes_max,
        );
        if open.follows {
            session = session.followed(attach.map(|attach| attach.id));
        }
        session
            .again
            .expect(attach.map_or(0, |attach| attach.again));
        Arc::new(session)
    }

    /// Lets a session in, or ends it when there is no place for it.
    fn enter(self: &Arc<Self>, session: &Arc<Session>, begin: Begin) {
        let is_held = begin.is_held();
        match self.admit(session, begin) {
            Ok(()) if is_held => {
                self.deadlines().at(
                    Instant::now() + self.config.resume_wait_max,
                    session.id,
                    Due::Begin,
                );
            }
            Ok(()) => {}
            Err(code) => self.end(session, code),
        }
    }

    /// The first frame of a session that begins.
    pub(super) fn greet(&self, session: &Session) {
        session.offer_frame(&ServerFrame::Hello {
            session: session.id,
            user: &session.user,
            now: self.clock.now_ms(),
            heartbeat_ms: millis(self.config.heartbeat),
            max_frame_bytes: FRAME_BYTES_MAX,
            max_text_bytes: TEXT_BYTES_MAX,
            resume_max_events: RESUME_EVENTS_MAX,
        });
    }

    /// What is allowed to each session.
    fn terms(&self) -> Terms {
        let millis =
            |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let config = &self.config;
        Terms {
            window: u32::try_from(config.outbox_bytes_max).unwrap_or(u32::MAX),
            heartbeat_ms: millis(config.heartbeat),
            marks_ms: millis(config.delivered_every),
            write_timeout_ms: millis(config.write_timeout),
            frames_per_second: config.frames_per_second_max,
        }
    }

    /// Another node of the row may take the session.
    fn refuse_elsewhere(&self, router: &Router, open: &Open) {
        let why = Refusal::Elsewhere {
            owner: None,
            version: self.upstream.table_version(),
        };
        router.offer(Down::Refused {
            session: open.session,
            why,
        });
    }

    /// This node drains, and another one owns the shard of the user: that one takes a new session.
    fn leaves_to_others(&self, identity: &Identity) -> bool {
        let shard = self.upstream.map().shard_of(identity.user.slot());
        self.draining.load(Ordering::SeqCst) && self.upstream.is_elsewhere(shard)
    }

    /// No session is taken in now, and another node may take it. While this node drains, and nobody
    /// else has the shard of its user, a new one is told so by its end.
    fn is_closed(&self, goes_on: bool) -> bool {
        self.away.load(Ordering::SeqCst) || goes_on && self.draining.load(Ordering::SeqCst)
    }

    /// A session that goes on here may be here already, by a link of which this node does not know
    /// yet that it has ended.
    fn replace(self: &Arc<Self>, session: &Session) {
        let earlier = self.session(session.id);
        if let Some(earlier) = earlier {
            earlier.gone();
            self.leave(&earlier);
        }
    }

    fn refuse(&self, router: &Router, open: &Open, problem: Problem, user: Option<&UserId>) {
        if problem.code == Code::Unauthorized {
            telemetry::SESSION_REFUSED.add(1, &[("reason", "token")]);
        }

        let (status, code, id) = (
            problem.code.status(),
            problem.code.as_str(),
            &open.request_id,
        );
        let (route, user) = (
            Endpoint::WebSocket.template(),
            user.map(tracing::field::display),
        );
        tracing::debug!(id, route, status, code, user, "session refused");

        router.offer(Down::Refused {
            session: open.session,
            why: Refusal::Problem(problem),
        });
    }
}
