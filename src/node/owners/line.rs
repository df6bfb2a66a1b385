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
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::ids::{ShardId, Slot, UserId};
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::attempt::{
    BACKOFF, Missed, Route, judge, outcome_unknown, repeatable, unavailable,
};
use crate::node::owners::{Inner, Owners};
use crate::problem::Problem;
use crate::shard::command::Command;

/// Requests of one line that wait to be sent again; more are refused. A session has 256 commands
/// under way at most, and a few conversations whose owner is gone must not take them all.
const WAITING_MAX: usize = 32;

/// Whose line: a user's, in a slot. Conversations that share the slot share the shard, and so its
/// owner.
type Key = (UserId, Slot);

/// An attempt that is out.
type Attempt = BoxFuture<'static, Result<Outcome, Missed>>;

/// The lines of a node, and how many requests are in each. Empty ones are forgotten.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<Key, (usize, Arc<Line>)>>);

#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    /// Something was settled, missed or given up.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the next request.
    next: u64,
    /// Requests that are out. All of them went by `way`.
    out: BTreeSet<u64>,
    way: Option<(Route, u64)>,
    /// Requests that are to be sent, or sent again.
    waiting: BTreeSet<u64>,
    /// The highest that was served.
    served: Option<u64>,
}

impl State {
    /// Nothing earlier waits, and nothing later is out.
    fn is_turn_of(&self, number: u64) -> bool {
        self.waiting.first().is_none_or(|first| *first >= number)
            && self.out.last().is_none_or(|last| *last < number)
    }

    fn was_overtaken(&self, number: u64) -> bool {
        self.served.is_some_and(|served| served > number)
    }
}

/// What can be done for a request now.
enum Turn {
    /// It is out.
    Sent(Attempt),
    /// Others go first.
    Later,
    /// A later one was served: this one may not be sent any more.
    Overtaken,
}

/// A request's place in its line; left when dropped.
struct Place {
    inner: Arc<Inner>,
    key: Key,
    line: Arc<Line>,
    number: u64,
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
    fn state(&self) -> MutexGuard<'_, State> {
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
    fn take(inner: &Arc<Inner>, key: Key) -> Option<Self> {
        let line = inner.lines.enter(&key);
        let mut state = line.state();
        let (number, is_full) = (state.next, state.waiting.len() >= WAITING_MAX);
        state.next += 1;
        state.waiting.insert(number);
        drop(state);
        let place = Self {
            inner: Arc::clone(inner),
            key,
            line,
            number,
        };
        (!is_full).then_some(place)
    }

    /// What became of an attempt: a later request may not be passed by this one once it was served.
    fn settle(&self, served: bool) {
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
        self.inner.lines.leave(&self.key);
    }
}

impl Owners {
    /// Asks the owner of a shard until it answers or the budget ends, in the order of the line.
    /// Unless something before it in the line was missed, the first attempt is enqueued before this
    /// returns.
    ///
    /// To be polled: what is out and is never asked for holds up the repeats of what went before
    /// it, until their deadlines.
    pub(super) fn ask_in_line(
        &self,
        key: Key,
        shard: ShardId,
        body: Body,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Outcome, Problem>> {
        let Some(place) = Place::take(&self.inner, key) else {
            return std::future::ready(Err(unavailable())).boxed();
        };
        let mut version = self.table().version;
        let mut turn = self.take_turn(&place, (shard, &body), deadline);
        let owners = self.clone();
        let asked = async move {
            let (mut pauses, mut in_doubt) = (BACKOFF.pauses(), false);
            loop {
                let attempt = match turn {
                    Turn::Sent(attempt) => Some(attempt),
                    Turn::Later => owners.await_turn(&place, (shard, &body), deadline).await,
                    Turn::Overtaken => None,
                };
                let Some(attempt) = attempt else {
                    return Err(judge(&body, unavailable(), in_doubt));
                };
                match attempt.await {
                    Ok(outcome) => {
                        place.settle(true);
                        return Ok(outcome);
                    }
                    Err(Missed::Refused(problem)) => return Err(judge(&body, problem, in_doubt)),
                    Err(Missed::NotServed) => {}
                    Err(Missed::Lost) if !repeatable(&body) => return Err(outcome_unknown()),
                    Err(Missed::Lost) => in_doubt = true,
                }
                place.settle(false);
                if !owners.pause(&mut pauses, version, deadline).await {
                    return Err(judge(&body, unavailable(), in_doubt));
                }
                version = owners.table().version;
                turn = owners.take_turn(&place, (shard, &body), deadline);
            }
        };
        asked.boxed()
    }

    /// Sends the request if its turn has come.
    fn take_turn(&self, place: &Place, (shard, body): (ShardId, &Body), deadline: Instant) -> Turn {
        let number = place.number;
        let mut state = place.line.state();
        if state.was_overtaken(number) {
            return Turn::Overtaken;
        }
        if !state.is_turn_of(number) {
            return Turn::Later;
        }
        let route = self.route(shard);
        let behind = if state.out.is_empty() {
            None
        } else {
            state.way.clone()
        };
        let connection = match behind {
            // Two ways keep no order between them.
            Some((before, _)) if before != route => return Turn::Later,
            Some((_, connection)) => Some(connection),
            None => None,
        };
        // Under the lock: the order of the line is that of the queue.
        let Some((connection, attempt)) = self.send_over(&route, connection, body, deadline) else {
            return Turn::Later;
        };
        state.way = Some((route, connection));
        state.waiting.remove(&number);
        state.out.insert(number);
        drop(state);
        // It may be the turn of the next one now.
        place.line.changed.notify_waiters();
        Turn::Sent(attempt)
    }

    /// `None` when it can or may not be sent before its deadline.
    async fn await_turn(
        &self,
        place: &Place,
        asked: (ShardId, &Body),
        deadline: Instant,
    ) -> Option<Attempt> {
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = place.line.changed.notified();
            match self.take_turn(place, asked, deadline) {
                Turn::Sent(attempt) => return Some(attempt),
                Turn::Overtaken => return None,
                Turn::Later => {}
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return None,
                waited = timeout_at(deadline.into(), changed) => waited.ok()?,
            }
        }
    }
}
