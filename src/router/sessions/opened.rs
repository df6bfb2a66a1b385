//! Sessions that a node is asked for, and what becomes of them: a new one, or an earlier one that
//! goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ids::SessionId;
use crate::link::front::attach::Stage;
use crate::link::front::{Refusal, SessionNumber, Terms, Up};
use crate::router::sessions::followed::{Followed, Who};
use crate::router::sessions::socket::{On, Socket};
use crate::router::sessions::streams::{Entry, Streams, Table};

/// A session that the node has opened. Dropped, it ends.
#[derive(Debug)]
pub(in crate::router) struct Opened {
    /// To be given the client's connection.
    pub(super) socket: Arc<Socket>,
    /// The client offered our subprotocol.
    pub(in crate::router) protocol: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.socket.abandon();
    }
}

/// For whom a session is opened.
#[derive(Debug, Clone)]
pub(super) enum Asking {
    /// A client that has none yet.
    New(Who),
    /// This one goes on.
    GoesOn(Arc<Socket>),
}

/// What became of it: a new session, or none where an earlier one goes on.
pub(super) type Answered = Result<Option<Opened>, Refusal>;

/// A session, as its node opened it.
pub(super) struct Begun {
    /// Its name.
    pub(super) id: SessionId,
    /// How far it is; none when its node does not tell.
    pub(super) stage: Option<Stage>,
    /// The client offered our subprotocol.
    pub(super) protocol: bool,
    /// What it may do.
    pub(super) terms: Arc<Terms>,
}

impl Streams {
    /// A session is open. It is given back when nobody asks for it any more.
    pub(super) fn opened(
        self: &Arc<Self>,
        table: &mut Table,
        number: SessionNumber,
        Begun {
            id,
            stage,
            protocol,
            terms,
        }: Begun,
    ) -> Option<Answered> {
        let Some(Entry::Opening(asking, answer)) = table.sessions.remove(&number) else {
            return None;
        };
        let on = On {
            streams: Arc::clone(self),
            number,
        };
        match asking {
            Asking::New(who) => {
                let followed = stage.map(|stage| Followed::new(id, who, stage));
                let socket = Arc::new(Socket::new(on, terms, followed));
                table
                    .sessions
                    .insert(number, Entry::Live(Arc::clone(&socket)));
                answer.send(Ok(Some(Opened { socket, protocol }))).err()
            }
            // A node that does not tell how far it is has begun another one.
            Asking::GoesOn(socket) if stage.is_some() && socket.attach(on, terms) => {
                table.sessions.insert(number, Entry::Live(socket));
                answer.send(Ok(None)).ok();
                None
            }
            Asking::GoesOn(_) => {
                self.up.send(Up::Gone(number));
                None
            }
        }
    }

    /// Terms that all who have the same share.
    pub(super) fn same_terms(&self, table: &mut Table, terms: Terms) -> Arc<Terms> {
        let same = table.terms.as_ref().filter(|known| ***known == terms);
        let shared = same.map_or_else(|| Arc::new(terms), Arc::clone);
        self.gathered().every = Some(Duration::from_millis(terms.marks_ms.into()));
        table.terms = Some(Arc::clone(&shared));
        shared
    }
}

/// A session that was asked for. Dropped before there is an answer, it is given up.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) streams: Arc<Streams>,
    pub(super) number: SessionNumber,
    pub(super) asking: Asking,
    pub(super) answered: oneshot::Receiver<Answered>,
    pub(super) is_answered: bool,
}

impl Opening {
    /// The node's answer. None when the connection ends before: nothing is open then.
    pub(super) async fn answered(mut self) -> Option<Answered> {
        let answer = (&mut self.answered).await.ok()?;
        // From here on it is the opener's, or was never there.
        self.is_answered = true;
        Some(answer)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_answered {
            self.streams.leave(self.number);
            if let Asking::GoesOn(socket) = &self.asking {
                // It may just have gone on there.
                socket.detach(&self.streams, self.number);
            }
        }
    }
}
