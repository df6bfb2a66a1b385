//! The connections from routers, as sessions see them: who is on which, what conversations are
//! called there, and whether there is room. What a session is does not matter here.
//!
//! **Invariants.** A handle stands for one conversation and is never used again on its connection.
//! There are no more handles than conversations that are live on this node.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{ConversationName, SessionId};
use crate::link::front::server::RouterEnd;
use crate::link::front::{Down, Handle, SessionNumber};

/// What goes to a router, in order.
pub(super) trait Downward: Any + fmt::Debug + Send + Sync {
    /// Takes a frame, or gives it back when there is no room for it, or the connection has ended.
    #[expect(
        clippy::result_large_err,
        reason = "it is moved on or handed back, and seldom the latter"
    )]
    fn offer(&self, down: Down) -> Result<(), Down>;

    /// True while deliveries find room.
    fn has_room(&self) -> bool;

    /// True while next to nothing waits for the connection.
    fn takes_spare(&self) -> bool;

    /// The version of the contract that the router speaks.
    fn version(&self) -> u16;
}

impl Downward for RouterEnd {
    fn offer(&self, down: Down) -> Result<(), Down> {
        self.offer_or_return(down)
    }

    fn has_room(&self) -> bool {
        Self::has_room(self)
    }

    fn takes_spare(&self) -> bool {
        Self::takes_spare(self)
    }

    fn version(&self) -> u16 {
        Self::version(self)
    }
}

/// One connection, and the sessions `S` on it.
#[derive(Debug)]
pub(super) struct Router<S> {
    end: Box<dyn Downward>,
    sessions: Mutex<HashMap<SessionNumber, Arc<S>>>,
    handles: Mutex<Handles>,
    /// Sessions that miss a frame, and are to be ended.
    lost: Mutex<Vec<SessionId>>,
    /// Somebody found no room since there was some last.
    is_short: AtomicBool,
}

#[derive(Debug, Default)]
struct Handles {
    by_name: HashMap<ConversationName, Handle>,
    names: HashMap<Handle, ConversationName>,
    last: Handle,
}

impl<S> Router<S> {
    /// A connection without sessions.
    pub(super) fn new(end: Box<dyn Downward>) -> Arc<Self> {
        Arc::new(Self {
            end,
            sessions: Mutex::default(),
            handles: Mutex::default(),
            lost: Mutex::default(),
            is_short: AtomicBool::new(false),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionNumber, Arc<S>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was made of.
    #[cfg(test)]
    pub(super) fn end(&self) -> &dyn Downward {
        self.end.as_ref()
    }

    /// The session of this number.
    pub(super) fn session(&self, number: SessionNumber) -> Option<Arc<S>> {
        self.sessions().get(&number).map(Arc::clone)
    }

    /// A session is on this connection.
    pub(super) fn enter(&self, number: SessionNumber, session: &Arc<S>) {
        self.sessions().insert(number, Arc::clone(session));
    }

    /// A session is no more.
    pub(super) fn leave(&self, number: SessionNumber) {
        self.sessions().remove(&number);
    }

    /// All sessions on it.
    pub(super) fn all(&self) -> Vec<Arc<S>> {
        self.sessions().values().map(Arc::clone).collect()
    }

    /// Queues a frame; false when there is no room for it, or the connection has ended.
    pub(super) fn offer(&self, down: Down) -> bool {
        self.try_offer(down).is_ok()
    }

    /// Queues a frame, or gives it back.
    #[expect(
        clippy::result_large_err,
        reason = "it is moved on or handed back, and seldom the latter"
    )]
    pub(super) fn try_offer(&self, down: Down) -> Result<(), Down> {
        self.end
            .offer(down)
            .inspect_err(|_down| self.is_short.store(true, Ordering::SeqCst))
    }

    /// The version of the contract that the router speaks.
    pub(super) fn version(&self) -> u16 {
        self.end.version()
    }

    /// True while deliveries find room.
    pub(super) fn has_room(&self) -> bool {
        if self.end.has_room() {
            return true;
        }
        self.is_short.store(true, Ordering::SeqCst);
        // It may have become free before that was noted.
        self.end.has_room()
    }

    /// True while next to nothing waits for the connection, so that what may be told later holds up
    /// nothing there.
    pub(super) fn takes_spare(&self) -> bool {
        self.end.takes_spare()
    }

    /// True once when there is room again after there was none.
    pub(super) fn has_room_again(&self) -> bool {
        self.is_short.load(Ordering::SeqCst)
            && self.end.has_room()
            && self.is_short.swap(false, Ordering::SeqCst)
    }

    /// What the conversation is called here. None when the router cannot be told.
    pub(super) fn handle(&self, conversation: &ConversationName) -> Option<Handle> {
        let mut handles = self.handles();
        if let Some(handle) = handles.by_name.get(conversation) {
            return Some(*handle);
        }
        let handle = handles.last.checked_add(1)?;
        if !self.offer(Down::Known {
            handle,
            conversation: conversation.clone(),
        }) {
            return None;
        }
        handles.last = handle;
        handles.by_name.insert(conversation.clone(), handle);
        handles.names.insert(handle, conversation.clone());
        Some(handle)
    }

    /// The conversation that is called so here.
    pub(super) fn conversation(&self, handle: Handle) -> Option<ConversationName> {
        self.handles().names.get(&handle).cloned()
    }

    /// The conversation is of no interest any more.
    pub(super) fn forget(&self, conversation: &ConversationName) {
        let mut handles = self.handles();
        if let Some(handle) = handles.by_name.remove(conversation) {
            handles.names.remove(&handle);
            self.offer(Down::Forgotten(handle));
        }
    }

    /// A session misses a frame that it may not miss.
    pub(super) fn lost(&self, session: SessionId) {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
    }

    /// The sessions that are to be ended.
    pub(super) fn take_lost(&self) -> Vec<SessionId> {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::session::testing;

    #[test]
    fn a_conversation_is_introduced_once_and_its_handle_is_never_used_again() {
        let session = testing::session("bob", 1_000);
        let (router, noted) = (&session.router, testing::router_of(&session));
        let name = |text| ConversationName::parse(text).expect("a name");
        let (c, d) = (name("c"), name("d"));
        let first = router.handle(&c).expect("a handle");
        assert_eq!(router.handle(&c), Some(first));
        assert!(
            matches!(&noted.others()[..], [Down::Known { handle, conversation }] if *handle == first && *conversation == c)
        );
        assert_eq!(router.conversation(first), Some(c.clone()));

        router.forget(&c);
        router.forget(&d);
        assert!(matches!(noted.others()[..], [Down::Forgotten(handle)] if handle == first));
        assert_eq!(
            router.conversation(first),
            None,
            "a mark that still names it is shed"
        );
        assert!(router.handle(&d) != Some(first) && router.handle(&c) != Some(first));
    }
}
