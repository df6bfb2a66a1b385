//! Pure: of which users sessions are to be told by themselves, rather than with all others that
//! watch them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::ids::{SessionId, UserId};

/// Users of all sessions; of more they are not told until these change.
const OWED_MAX: usize = 1_000_000;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// None of these sets is empty.
    users: HashMap<SessionId, HashSet<UserId>>,
    /// Users of all of them.
    count: usize,
}

impl Owed {
    /// The session is to be told of the user, when there is room.
    pub(super) fn add(&mut self, session: SessionId, user: &UserId) {
        if self.count < OWED_MAX && self.users.entry(session).or_default().insert(user.clone()) {
            self.count += 1;
        }
    }

    /// What is told now is owed no more.
    pub(super) fn settle(&mut self, session: SessionId, user: &UserId) {
        let Entry::Occupied(mut owed) = self.users.entry(session) else {
            return;
        };
        if owed.get_mut().remove(user) {
            self.count -= 1;
        }
        if owed.get().is_empty() {
            owed.remove();
        }
    }

    /// Takes all that a session is owed.
    pub(super) fn take(&mut self, session: SessionId) -> HashSet<UserId> {
        let owed = self.users.remove(&session).unwrap_or_default();
        self.count -= owed.len();
        owed
    }

    /// Puts back what is left of what was taken.
    pub(super) fn keep(&mut self, session: SessionId, rest: HashSet<UserId>) {
        if !rest.is_empty() {
            self.count += rest.len();
            self.users.insert(session, rest);
        }
    }

    /// Sessions that are owed something.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.users.keys().copied().collect()
    }

    /// Nobody is owed anything.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}
