//! The sessions of one connection, by their numbers, and what handles stand for on it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::Seq;
use crate::link::front::attach::Tells;
use crate::link::front::{self, Handle, Refusal, SessionNumber, Terms};
use crate::problem::CloseCode;
use crate::router::sessions::asking::{Answered, Asking};
use crate::router::sessions::frames;
use crate::router::sessions::moving::{Delivery, Says};
use crate::router::sessions::names::Name;
use crate::router::sessions::outbox::End;
use crate::router::sessions::socket::Socket;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Table {
    /// Those that are asked for or live.
    pub(super) sessions: HashMap<SessionNumber, Entry>,
    /// What handles stand for. No more than the node has conversations that are live on this
    /// connection.
    pub(super) names: HashMap<Handle, Name>,
    /// The same, the other way.
    pub(super) handles: HashMap<Name, Handle>,
    /// Those of the session that was opened last: all have the same, mostly.
    pub(super) terms: Option<Arc<Terms>>,
    pub(super) has_ended: bool,
}

/// A session that is asked for, or is live.
pub(super) enum Entry {
    /// The node is asked.
    Opening(Asking, oneshot::Sender<Answered>),
    /// The node has opened it.
    Live(Arc<Socket>),
}

impl Table {
    /// What a handle stands for from now on.
    pub(super) fn know(&mut self, handle: Handle, name: Name) {
        self.names.insert(handle, name.clone());
        self.handles.insert(name, handle);
    }

    /// A handle stands for nothing any more.
    pub(super) fn forget(&mut self, handle: Handle) {
        if let Some(name) = self.names.remove(&handle) {
            self.handles.remove(&name);
        }
    }

    /// The node has worked off so much of what these said.
    pub(super) fn give_room(&self, rooms: Vec<(SessionNumber, u32)>) {
        for (number, bytes) in rooms {
            if let Some(Entry::Live(socket)) = self.sessions.get(&number) {
                socket.room(bytes);
            }
        }
    }

    /// The node opens no session of this number, and says why.
    pub(super) fn refuse(&mut self, number: SessionNumber, why: Refusal) {
        if let Some(Entry::Opening(_, answer)) = self.sessions.remove(&number) {
            // Whoever asked has given up: there is no session all the same.
            answer.send(Err(why)).ok();
        }
    }

    /// The node ends a session.
    pub(super) fn close(&mut self, number: SessionNumber, code: CloseCode) {
        if let Some(Entry::Live(socket)) = self.sessions.remove(&number) {
            socket.end(End::Close(code));
        }
    }

    /// The socket of a session that is live.
    pub(super) fn live(&self, number: SessionNumber) -> Option<&Arc<Socket>> {
        match self.sessions.get(&number)? {
            Entry::Live(socket) => Some(socket),
            Entry::Opening(..) => None,
        }
    }

    /// Queues a frame for sessions; those of `quiet` are not marked. Tells in `touched` of those in
    /// which nothing was queued before.
    pub(super) fn deliver(
        &self,
        (to, quiet): (Vec<SessionNumber>, Vec<SessionNumber>),
        text: &Bytes,
        (event, tells): (Option<(Handle, Seq)>, Tells),
        touched: &mut Vec<(SessionNumber, Arc<Socket>)>,
    ) {
        let (frame, cost) = (frames::text(text), front::cost(text.len()));
        let event = event.and_then(|(handle, seq)| Some((self.names.get(&handle)?, seq)));
        let says = self.says(tells);
        let delivery = Delivery {
            frame: &frame,
            cost,
            event,
            is_marked: true,
            says: &says,
        };
        for number in to {
            self.deliver_one(number, delivery, touched);
        }

        let unmarked = Delivery {
            is_marked: false,
            ..delivery
        };
        for number in quiet {
            self.deliver_one(number, unmarked, touched);
        }
    }

    fn deliver_one(
        &self,
        number: SessionNumber,
        delivery: Delivery<'_>,
        touched: &mut Vec<(SessionNumber, Arc<Socket>)>,
    ) {
        if let Some(Entry::Live(socket)) = self.sessions.get(&number)
            && socket.deliver(delivery)
        {
            touched.push((number, Arc::clone(socket)));
        }
    }

    /// What a frame tells, with the names of what it is about.
    pub(super) fn says(&self, tells: Tells) -> Says<'_> {
        match tells {
            Tells::Nothing => Says::Nothing,
            Tells::Answer(number) => Says::Answer(number),
            Tells::Part(number) => Says::Part(number),
            Tells::GivenUp(number) => Says::GivenUp(number),
            Tells::Watch(number) => Says::Watch(number),
            Tells::Ready => Says::Ready,
            Tells::Live(handles) => Says::Live(
                handles
                    .iter()
                    .filter_map(|handle| self.names.get(handle))
                    .collect(),
            ),
            Tells::Stand(stand) => Says::Stand(stand),
        }
    }
}
