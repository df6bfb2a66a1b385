//! Who is let in, and how a session begins and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::link::front::attach::{Attach, Stage};
use crate::node::session::deadlines::ends;
use crate::node::session::hub::Inner;
use crate::node::session::window::Session;
use crate::problem::CloseCode;
use crate::telemetry;

/// How a session begins here.
#[derive(Debug)]
pub(super) enum Begin {
    /// With a `hello`, at the tail.
    Anew,
    /// With a `hello`, and then it waits for its resume.
    Waits,
    /// As another node left it.
    GoesOn(Attach),
}

impl Begin {
    /// It waits for its resume.
    pub(super) fn is_held(&self) -> bool {
        matches!(
            self,
            Self::Waits
                | Self::GoesOn(Attach {
                    stage: Stage::Waits,
                    ..
                })
        )
    }
}

impl Inner {
    /// Takes a session in, if there is room for it; the first frame of one that does not go on is
    /// `hello`.
    pub(super) fn admit(
        self: &Arc<Self>,
        session: &Arc<Session>,
        begin: Begin,
    ) -> Result<(), CloseCode> {
        self.on_board(|board| {
            let refusal = if self.draining.load(Ordering::SeqCst) {
                Some((CloseCode::ServiceRestart, "draining"))
            } else if self.away.load(Ordering::SeqCst) {
                Some((CloseCode::ServiceRestart, "cut_off"))
            } else if board.sessions.len() >= self.config.sessions_max {
                Some((CloseCode::TryAgainLater, "node_limit"))
            } else {
                let of_user = board
                    .users
                    .get(&session.user)
                    .map_or(0, |user| user.sessions.len());
                (of_user >= self.config.sessions_per_user_max)
                    .then_some((CloseCode::TooMany, "user_limit"))
            };
            if let Some((code, reason)) = refusal {
                telemetry::SESSION_REFUSED.add(1, &[("reason", reason)]);
                return Err(code);
            }
            match begin {
                Begin::GoesOn(attach) => board.goes_on(session, attach),
                Begin::Anew | Begin::Waits => {
                    self.greet(session);
                    board.open(session, matches!(begin, Begin::Waits));
                }
            }
            self.deadlines()
                .token(session.id, ends(session.expires.load(Ordering::Relaxed)));
            self.live.increment(1.0);
            Ok(())
        })
    }

    /// The session is gone. One that took its place, with the same id, stays.
    pub(super) fn leave(self: &Arc<Self>, session: &Session) {
        session.router.leave(session.number);
        self.on_board(|board| {
            if board
                .sessions
                .get(&session.id)
                .is_some_and(|entry| std::ptr::eq(&*entry.session, session))
            {
                board.close(session.id);
                self.deadlines()
                    .forget_token(session.id, ends(session.expires.load(Ordering::Relaxed)));
                self.live.decrement(1.0);
            }
        });
        self.left.notify_one();
    }
}
