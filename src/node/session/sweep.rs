//! What ends or begins by the clock, for all sessions of a node by one task, and who waits for room
//! on a link.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::ids::SessionId;
use crate::node::session::deadlines::Due;
use crate::node::session::hub::Inner;
use crate::node::session::window::{Router, Session};
use crate::problem::CloseCode;

/// How late something may be.
const EVERY: Duration = Duration::from_millis(100);

/// Looks again and again until the hub ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => inner.sweep(),
            () = inner.stop.cancelled() => return,
        }
    }
}

impl Inner {
    fn sweep(self: &Arc<Self>) {
        let second = self.clock.now_ms() / 1_000;
        let (ended, due) = {
            let mut deadlines = self.deadlines();
            (
                deadlines.take_ended(second),
                deadlines.take_due(Instant::now()),
            )
        };
        for session in ended.into_iter().filter_map(|id| self.session(id)) {
            self.end(&session, CloseCode::Unauthorized);
        }

        for (id, what) in due {
            match what {
                Due::Begin => self.on_board(|board| board.stop_waiting(id)),
                Due::Close => {
                    if let Some(session) = self.session(id) {
                        self.send_elsewhere(&session);
                    }
                }
                Due::Home => {
                    // The shard may have come back meanwhile.
                    if let Some(session) = self
                        .session(id)
                        .filter(|session| self.leaves_after(session, None))
                    {
                        self.send_elsewhere(&session);
                    }
                }
            }
        }

        for router in self.all_routers() {
            self.look_after(&router);
        }
    }

    fn look_after(self: &Arc<Self>, router: &Arc<Router>) {
        let lost = router
            .take_lost()
            .into_iter()
            .filter_map(|id| self.session(id));
        for session in lost.filter(|session| Arc::ptr_eq(&session.router, router)) {
            self.end(&session, CloseCode::SlowConsumer);
        }
        if router.has_room_again() {
            for session in router.all() {
                session.send_receipts();
                self.pump_if_hungry(&session);
            }
        }
    }

    /// Has the session fetch what it missed, if it waits for room and there is some.
    pub(super) fn pump_if_hungry(self: &Arc<Self>, session: &Session) {
        if session.hungry.load(Ordering::SeqCst)
            && session.has_room()
            && session.hungry.swap(false, Ordering::SeqCst)
        {
            self.pump(session.id);
        }
    }

    /// Ends a session of ours.
    pub(super) fn end(self: &Arc<Self>, session: &Session, code: CloseCode) {
        session.end(code);
        self.leave(session);
    }

    /// Has another node go on with a session of ours, or its client come back.
    fn send_elsewhere(self: &Arc<Self>, session: &Session) {
        if session.is_followed {
            session.moves();
            self.leave(session);
        } else {
            self.end(session, CloseCode::ServiceRestart);
        }
    }

    /// The session of this id.
    pub(super) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.board()
            .sessions
            .get(&id)
            .map(|entry| Arc::clone(&entry.session))
    }
}
