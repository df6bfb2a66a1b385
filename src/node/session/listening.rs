//! What clients say is worked on in the order in which it comes: at once as long as nothing has to
//! wait, and else by a task of the session, so that nobody waits for another.
//!
//! **Invariant.** The messages of a session are worked on one after the other, in their order.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::link::front::Down;
use crate::node::session::again::Gathered;
use crate::node::session::commands;
use crate::node::session::hub::Inner;
use crate::node::session::said::{Message, Queued, cost};
use crate::node::session::window::Session;
use crate::problem::CloseCode;

impl Inner {
    /// The client said something. To be called for one message of a session after the other.
    pub(super) fn said(self: &Arc<Self>, session: &Arc<Session>, message: Message) {
        match session.again.gather(message, session.said_max()) {
            Gathered::Now(message) => self.work_on(session, message),
            Gathered::All(messages) => messages
                .into_iter()
                .for_each(|each| self.work_on(session, each)),
            Gathered::Later => {}
            Gathered::TooMuch => self.broken_by_router(session),
        }
    }

    fn broken_by_router(self: &Arc<Self>, session: &Session) {
        tracing::warn!(router = ?session.router, "a router sends more than it may");
        self.end(session, CloseCode::TooMany);
    }

    fn work_on(self: &Arc<Self>, session: &Arc<Session>, message: Message) {
        let message = match session.said.queue(message, session.said_max()) {
            Queued::Now(message) => message,
            Queued::Later => return,
            Queued::TooMuch => return self.broken_by_router(session),
        };
        // What has to wait has done nothing yet, and begins anew.
        if commands::handle(self, session, &message)
            .now_or_never()
            .is_some()
        {
            return self.worked_off(session, &message);
        }
        session.said.begin(message);
        self.spawn(Arc::clone(self).work_off(Arc::clone(session)));
    }

    async fn work_off(self: Arc<Self>, session: Arc<Session>) {
        while let Some(message) = session.said.next() {
            commands::handle(&self, &session, &message).await;
            self.worked_off(&session, &message);
        }
    }

    fn worked_off(&self, session: &Session, message: &Message) {
        let room = session.said.done(cost(message), session.said_max());
        if let Some(room) = u32::try_from(room).ok().filter(|room| *room > 0) {
            session
                .router
                .offer(Down::Room(vec![(session.number, room)]));
        }
    }
}
