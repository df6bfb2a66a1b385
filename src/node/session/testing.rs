//! Sessions on a connection that only notes what it is given.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;

use super::routers::{Downward, Router};
use super::window::Session;
use crate::ids::UserId;
use crate::link::front::{self, Down, SessionNumber};

/// Notes what it is given.
#[derive(Debug, Default)]
pub(super) struct Noting {
    texts: Mutex<HashMap<SessionNumber, Vec<Bytes>>>,
    delivers: AtomicUsize,
    is_full: AtomicBool,
    others: Mutex<Vec<Down>>,
}

impl Noting {
    /// From now on there is no room for deliveries.
    pub(super) fn fill(&self) {
        self.is_full.store(true, Ordering::SeqCst);
    }

    /// There is room again.
    pub(super) fn empty(&self) {
        self.is_full.store(false, Ordering::SeqCst);
    }

    /// How many frames went over the link, for however many sessions.
    pub(super) fn delivers(&self) -> usize {
        self.delivers.load(Ordering::SeqCst)
    }

    /// What was given beside frames for clients.
    pub(super) fn others(&self) -> Vec<Down> {
        std::mem::take(&mut self.others.lock().expect("lock"))
    }
}

impl Downward for Noting {
    fn offer(&self, down: Down) -> Result<(), Down> {
        match down {
            Down::Deliver { .. } if self.is_full.load(Ordering::SeqCst) => return Err(down),
            Down::Deliver { to, quiet, text, .. } => {
                self.delivers.fetch_add(1, Ordering::SeqCst);
                let mut texts = self.texts.lock().expect("lock");
                for number in to.into_iter().chain(quiet) {
                    texts.entry(number).or_default().push(text.clone());
                }
            }
            other => self.others.lock().expect("lock").push(other),
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::SeqCst)
    }
}

/// A connection of which everything is noted.
pub(super) fn router() -> Arc<Router> {
    Router::new(Box::new(Noting::default()))
}

/// What was noted of the session's connection.
pub(super) fn router_of(session: &Session) -> &Noting {
    let end: &dyn Any = session.router.end();
    end.downcast_ref().expect("a connection of a test")
}

/// A session on a connection of its own.
pub(super) fn session(user: &str, bytes_max: usize) -> Arc<Session> {
    session_on(&router(), UserId::parse(user).expect("a name"), bytes_max)
}

/// A session on this connection.
pub(super) fn session_on(router: &Arc<Router>, user: UserId, bytes_max: usize) -> Arc<Session> {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let on = (Arc::clone(router), NUMBERS.fetch_add(1, Ordering::SeqCst));
    let session = Arc::new(Session::new(on, user, Arc::from("r"), u64::MAX, bytes_max));
    router.enter(&session);
    session
}

/// All frames sent to a session; they are taken.
pub(super) fn frames(session: &Session) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let texts = router_of(session).texts.lock().expect("lock").remove(&session.number).unwrap_or_default();
        if texts.is_empty() {
            return found;
        }
        found.extend(texts.iter().map(|text| serde_json::from_slice::<Value>(text).expect("json")));
        session.taken(texts.iter().map(|text| front::cost(text.len())).sum());
    }
}
