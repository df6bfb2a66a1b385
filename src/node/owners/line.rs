//! Requests that must be appended in the order in which they were made: the sends, edits and
//! reactions of one user in one slot, and so of one conversation. Each such pair has a *line* while
//! any of its requests is under way.
//!
//! As long as all goes well a request is sent at once, behind those before it, over one connection;
//! nothing waits. When an attempt brings nothing the line closes up: what is missed is sent again
//! in its order, and each one only when every earlier one is settled or went before it over the
//! connection that it takes itself. What is behind it and still out is awaited first: had that been
//! served, the earlier one would come after it. It then is not sent again at all, and its caller is
//! told what is known: that it was surely not written, or that nobody can say.
//!
//! **Bounds.** A line holds up nobody but itself. Each request waits for its turn until its own
//! deadline at most, and no more than [`WAITING_MAX`] wait in a line; further ones are refused at
//! once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::{Slot, UserId};
use crate::node::owners::route::Route;
use crate::shard::command::Command;

/// Requests of one line that wait to be sent again; more are refused. A session has 256 commands
/// under way at most, and a few conversations whose owner is gone must not take them all.
const WAITING_MAX: usize = 32;

/// Whose line: a user's, in a slot. Conversations that share the slot share the shard, and so its
/// owner.
pub(super) type Key = (UserId, Slot);

/// The lines of a node, and how many requests are in each. Empty ones are forgotten.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<Key, (usize, Arc<Line>)>>);

#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// Something was settled, missed or given up.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Number of the next request.
    next: u64,
    /// Requests that are out. All of them went by `way`.
    pub(super) out: BTreeSet<u64>,
    pub(super) way: Option<(Route, u64)>,
    /// Requests that are to be sent, or sent again.
    pub(super) waiting: BTreeSet<u64>,
    /// The highest that was served.
    served: Option<u64>,
}

impl State {
    /// Nothing earlier waits, and nothing later is out.
    pub(super) fn is_turn_of(&self, number: u64) -> bool {
        self.waiting.first().is_none_or(|first| *first >= number)
            && self.out.last().is_none_or(|last| *last < number)
    }

    pub(super) fn was_overtaken(&self, number: u64) -> bool {
        self.served.is_some_and(|served| served > number)
    }
}

/// A request's place in its line; left when dropped.
pub(super) struct Place {
    lines: Arc<Lines>,
    key: Key,
    pub(super) line: Arc<Line>,
    pub(super) number: u64,
}

/// The line of a request, if its order matters.
pub(super) fn line_of(command: &Command) -> Option<Key> {
    match command {
        Command::Send(send) => Some((send.source.clone(), send.conversation.slot())),
        Command::React(react) => Some((react.user.clone(), react.message_id.slot())),
        Command::Edit(edit) => Some((edit.by.clone(), edit.message_id.slot())),
        Command::Delete(delete) => Some((delete.by.clone(), delete.message_id.slot())),
        _ => None,
    }
}

impl Line {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (usize, Arc<Line>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, key: &Key) -> Arc<Line> {
        let mut lines = self.lock();
        let (members, line) = lines.entry(key.clone()).or_default();
        *members += 1;
        Arc::clone(line)
    }

    fn leave(&self, key: &Key) {
        if let Entry::Occupied(mut line) = self.lock().entry(key.clone()) {
            let (members, _) = line.get_mut();
            *members -= 1;
            if *members == 0 {
                line.remove();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Place {
    /// The next place of a line; `None` when too many wait there.
    pub(super) fn take(lines: &Arc<Lines>, key: Key) -> Option<Self> {
        let line = lines.enter(&key);
        let mut state = line.state();
        let (number, is_full) = (state.next, state.waiting.len() >= WAITING_MAX);
        state.next += 1;
        state.waiting.insert(number);
        drop(state);
        let place = Self {
            lines: Arc::clone(lines),
            key,
            line,
            number,
        };
        (!is_full).then_some(place)
    }

    /// What became of an attempt: a later request may not be passed by this one once it was served.
    pub(super) fn settle(&self, served: bool) {
        let mut state = self.line.state();
        state.out.remove(&self.number);
        if served {
            state.served = state.served.max(Some(self.number));
        } else {
            state.waiting.insert(self.number);
        }
        drop(state);
        self.line.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.out.remove(&self.number);
        state.waiting.remove(&self.number);
        drop(state);
        self.line.changed.notify_waiters();
        self.lines.leave(&self.key);
    }
}
