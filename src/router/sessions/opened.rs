//! Sessions that a node is asked for, and what becomes of them: a new one, or an earlier one that
//! goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::link::front::{SessionNumber, Terms, Up};
use crate::router::sessions::asking::{Answered, Asking, Begun, Opened};
use crate::router::sessions::followed::Followed;
use crate::router::sessions::line::Line;
use crate::router::sessions::socket::{On, Socket};
use crate::router::sessions::streams::Streams;
use crate::router::sessions::table::{Entry, Table};

impl Streams {
    /// A session of that number is asked for. To be called before the answer can come.
    pub(super) fn asked(self: &Arc<Self>, number: SessionNumber, asking: Asking) -> Opening {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table();
        if !table.has_ended {
            table
                .sessions
                .insert(number, Entry::Opening(asking.clone(), answer));
        }
        Opening {
            streams: Arc::clone(self),
            number,
            asking,
            answered,
            is_answered: false,
        }
    }

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
            streams: Arc::clone(self) as Arc<dyn Line>,
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
    streams: Arc<Streams>,
    number: SessionNumber,
    asking: Asking,
    answered: oneshot::Receiver<Answered>,
    is_answered: bool,
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
                socket.detach(&*self.streams, self.number);
            }
        }
    }
}
