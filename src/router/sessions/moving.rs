//! Where a socket's session is: what its node tells of it, what the client says to it, and how it
//! goes on at another node when it loses the one that it has (ADR 7).
//!
//! **Invariants.** A session is at one node at most. What moves it on is taken in together with the
//! frame that says so. Nothing of a node that is lost reaches the socket any more.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::Seq;
use crate::link::front::attach::{Attach, Repeat, Stage, Stand};
use crate::link::front::{SessionNumber, Terms, Up};
use crate::problem::CloseCode;
use crate::router::sessions::followed::Who;
use crate::router::sessions::line::{Line, Sent};
use crate::router::sessions::names::Name;
use crate::router::sessions::outbox::End;
use crate::router::sessions::pulse::gather;
use crate::router::sessions::socket::{On, Socket, State};

/// A frame of the node, as a session gets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery<'a> {
    /// As it goes into the socket.
    pub(super) frame: &'a Bytes,
    /// What it counts for.
    pub(super) cost: u32,
    /// The event in it.
    pub(super) event: Option<(&'a Name, Seq)>,
    /// The event is marked as delivered once it is read.
    pub(super) is_marked: bool,
    /// What it says of the session beside that.
    pub(super) says: &'a Says<'a>,
}

/// As [`Tells`](crate::link::front::attach::Tells), with the names of its conversations.
#[derive(Debug)]
pub(super) enum Says<'a> {
    /// Nothing.
    Nothing,
    /// It answers the message of this number.
    Answer(u64),
    /// It answers a part of a resume.
    Part(u64),
    /// It answers a part of a resume that is given up.
    GivenUp(u64),
    /// It answers the message of this number, by which the session watches.
    Watch(u64),
    /// The session is ready.
    Ready,
    /// The session is live for these.
    Live(Vec<&'a Name>),
    /// It stands so in the event's conversation.
    Stand(Stand),
}

impl Socket {
    /// Queues a frame of the node; true when nothing was queued before since the last flush.
    pub(super) fn deliver(&self, delivery: Delivery<'_>) -> bool {
        let Delivery {
            frame,
            cost,
            event,
            is_marked,
            says,
        } = delivery;

        let mut state = self.state();
        state.out.deliver(frame.clone(), cost);
        if let Some((name, seq)) = event {
            if is_marked {
                state.pulse.wrote(name, seq);
            }
            if let Some(followed) = &mut state.followed {
                match says {
                    Says::Stand(stand) => followed.stands(name, *stand),
                    _ => followed.shown(name, seq),
                }
            }
        }

        state.take_in(says);
        !std::mem::replace(&mut state.is_touched, true)
    }

    /// The node says how the session stands, and how far it is.
    pub(super) fn stands(&self, stage: Option<Stage>, stands: &[(Name, Stand)]) {
        let mut state = self.state();
        let Some(followed) = &mut state.followed else {
            return;
        };
        if stage.is_some() {
            followed.reserve(stands.len());
        }

        stands
            .iter()
            .for_each(|(name, stand)| followed.stands(name, *stand));
        if let Some(stage) = stage {
            followed.is_at(stage);
            if matches!(stage, Stage::Placed | Stage::Ready) {
                state.unanswered.placed();
            }
        }

        // Only now the node has told what conversations are called there.
        let (read, on) = (std::mem::take(&mut state.read), state.on.clone());
        drop(state);
        if let Some(On { streams, number }) = on {
            streams.read(number, read);
        }
    }

    /// A message was worked on, and has no answer.
    pub(super) fn answered(&self, says: &Says<'_>) {
        self.state().take_in(says);
        self.wake();
    }

    /// The session has a newer token.
    pub(super) fn token(&self, token: &str) {
        if let Some(followed) = &mut self.state().followed {
            followed.token(token);
        }
    }

    /// Takes in a message of the client, and gives it to the node as soon as that may be.
    pub(super) fn say(&self, text: Bytes) {
        let mut state = self.state();
        let is_followed = state.followed.is_some();
        state.unanswered.add(text, is_followed);
        Self::speak(&mut state);
    }

    /// Gives the node what it was not given yet, as far as there may be on the way. What finds no
    /// space on the link is tried again by the socket's task.
    pub(super) fn speak(state: &mut State) {
        let Some(On { streams, number }) =
            state.on.clone().filter(|_| state.unanswered.has_unsent())
        else {
            return;
        };

        while let Some((said, cost)) = state.unanswered.next() {
            // What is said again comes at once: the node works on none of it before it has all.
            if state.unroomed >= state.terms.half() && said.repeat == Repeat::First {
                return;
            }
            let up = Up::Said {
                session: number,
                text: said.text,
                number: said.number,
                key: said.key,
                repeat: said.repeat,
            };
            match streams.send(up) {
                Sent::Yes => {
                    state.unroomed += cost;
                    state.unanswered.sent(state.followed.is_some());
                }
                // It stays; when the connection has ended, for another node.
                Sent::Full | Sent::Never => return,
            }
        }
    }

    /// A pong of the client says what it has read.
    pub(super) fn read(&self, payload: &[u8]) {
        let mut state = self.state();
        let marks = state.pulse.pong(payload);
        match state.on.clone() {
            Some(On { streams, number }) => {
                drop(state);
                streams.read(number, marks);
            }
            None => gather(&mut state.read, marks),
        }
    }

    /// The node of this connection holds the session no more. True when another one is to go on
    /// with it; false when it was not there, ends anyway, or cannot go on elsewhere.
    pub(super) fn detach(&self, streams: &dyn Line, number: SessionNumber) -> bool {
        let mut state = self.state();
        if !state.on.as_ref().is_some_and(|on| {
            on.number == number && std::ptr::addr_eq(Arc::as_ptr(&on.streams), streams)
        }) {
            return false;
        }

        let can_move = state
            .followed
            .as_ref()
            .is_some_and(|followed| followed.can_move());
        if state.out.ends().is_some() || !can_move {
            return false;
        }

        state.on = None;
        (state.unroomed, state.untold, state.is_listed) = (0, 0, false);
        state.out.forget_costs();
        state.unanswered.lost();
        gather(&mut state.read, streams.unread(number));
        true
    }

    /// Another node goes on with the session. False when it has ended meanwhile.
    pub(super) fn attach(&self, on: On, terms: Arc<Terms>) -> bool {
        let mut state = self.state();
        if state.out.ends().is_some() || state.on.is_some() {
            return false;
        }

        let window = usize::try_from(terms.window).unwrap_or(usize::MAX);
        if state.out.bytes() > window {
            // It would have to wait for the new node's frames behind those of two others.
            state.out.end(End::Close(CloseCode::SlowConsumer));
            drop(state);
            self.wake();
            return false;
        }

        (state.on, state.terms) = (Some(on), terms);
        Self::speak(&mut state);
        drop(state);
        self.wake();
        true
    }

    /// What another node is given of the session, as long as that is at none. None once it has
    /// ended.
    pub(super) fn leaves(&self) -> Option<(Who, Attach)> {
        let state = self.state();
        let followed = state
            .followed
            .as_ref()
            .filter(|_| state.on.is_none() && state.out.ends().is_none())?;
        Some((
            followed.who().clone(),
            followed.attach(state.unanswered.again()),
        ))
    }
}

impl State {
    fn take_in(&mut self, says: &Says<'_>) {
        match says {
            Says::Nothing | Says::Stand(_) => {}
            Says::Answer(number) => self.unanswered.answered(*number),
            Says::Part(number) => {
                self.unanswered.part_answered(*number);
                let too_much = self.unanswered.kept_bytes()
                    > usize::try_from(self.terms.window).unwrap_or(usize::MAX);
                if let Some(followed) = self.followed.as_mut().filter(|_| too_much) {
                    followed.is_at(Stage::TooMany);
                }
            }
            Says::GivenUp(number) => {
                self.unanswered.answered(*number);
                self.unanswered.placed();
            }
            Says::Watch(number) => self.unanswered.watch_answered(*number),
            Says::Ready => self
                .followed
                .iter_mut()
                .for_each(|followed| followed.is_ready()),
            Says::Live(names) => {
                let followed = self.followed.iter_mut();
                followed
                    .for_each(|followed| names.iter().for_each(|name| followed.announced(name)));
            }
        }
    }
}
