//! Work of one conversation: in its order, one piece after the other; what needs a look-up in
//! SQLite stops those behind it until the look-up is back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::ids::{ConversationName, IdempotencyKey, Offset, UserId};
use crate::problem::Problem;
use crate::shard::command::Delivered;
use crate::shard::file::store::StoreError;
use crate::shard::write::head::Head;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::{ConversationState, Known};
use crate::shard::write::owner::input::{Asked, Completion, Looked, Waiter, Write};
use crate::shard::write::owner::lookup::Lookup;
use crate::shard::write::owner::piece::{Facts, Work, WorkKind};
use crate::telemetry;

/// Work waiting for one conversation's look-up, and for all of them; more is refused.
const WAITING_MAX: usize = 4096;
const WAITING_OF_ALL_MAX: usize = 4 * WAITING_MAX;

/// Answers that wait for the commit of what others wrote, beside the writes themselves; more are
/// refused.
const RESTING_MAX: usize = 16_384;

/// Work that was taken once, and is taken again before everything that has come since.
pub(super) struct Again {
    pub(super) conversation: ConversationName,
    /// Its place in the order of arrival.
    pub(super) turn: u64,
    pub(super) kind: WorkKind,
}

/// Outcome of one step.
enum Step {
    Finished,
    /// Not decidable yet; the work is given back.
    Needs(Lookup, Box<Work>),
}

impl Owner {
    /// Takes work for a conversation: at once, or behind what waits there.
    pub(super) fn work(&mut self, name: &ConversationName, kind: WorkKind) {
        let work = Work {
            kind,
            facts: Facts::default(),
            lookup: 0,
        };
        if !self.conversations.contains_key(name) {
            self.order.push_back(name.clone());
        }
        let state = self.conversations.entry(name.clone()).or_default();
        state.used = true;
        if !matches!(state.known, Known::No) {
            telemetry::HEAD_LOOKUPS.add(1, &[("result", "hit")]);
        }
        if state.waiting.len() >= WAITING_MAX {
            // Those whose callers have left take nobody's place; the first one's look-up may be
            // under way.
            let before = state.waiting.len();
            state
                .waiting
                .retain(|waiting| waiting.lookup != 0 || waiting.kind.has_caller());
            self.waiting -= before - state.waiting.len();
        }
        if state.waiting.len() >= WAITING_MAX || self.waiting >= WAITING_OF_ALL_MAX {
            refuse(
                work,
                &Problem::unavailable("too many requests wait for this conversation; retry later"),
            );
            return self.evict();
        }
        state.waiting.push_back(work);
        self.waiting += 1;
        if !state.blocked {
            self.drain_waiting(name);
        }
    }

    /// Takes work again, in the order of its arrival. It was taken before everything that waits
    /// now, and stays before it.
    pub(super) fn again(&mut self, mut works: Vec<Again>) {
        works.sort_by_key(|again| again.turn);
        let mut names: Vec<ConversationName> = Vec::new();
        for Again {
            conversation, kind, ..
        } in works.into_iter().rev()
        {
            if !self.conversations.contains_key(&conversation) {
                self.order.push_back(conversation.clone());
            }
            let state = self.conversations.entry(conversation.clone()).or_default();
            // What was looked up for others does not hold any more when this is decided first.
            for waiting in &mut state.waiting {
                (waiting.facts, waiting.lookup) = (Facts::default(), 0);
            }
            state.waiting.push_front(Work {
                kind,
                facts: Facts::default(),
                lookup: 0,
            });
            self.waiting += 1;
            names.push(conversation);
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            if self
                .conversations
                .get(&name)
                .is_some_and(|state| !state.blocked)
            {
                self.drain_waiting(&name);
            }
        }
    }

    /// Whether so much waits for look-ups that nothing more may that can be missing.
    pub(super) fn too_many_wait(&self) -> bool {
        self.waiting >= WAITING_OF_ALL_MAX / 4
    }

    /// Whether so much waits for commits that nothing more may that has no record of its own.
    pub(super) fn too_many_rest(&self) -> Option<Problem> {
        (self
            .appenders
            .messages
            .waiting()
            .max(self.appenders.receipts.waiting())
            >= RESTING_MAX)
            .then(|| {
                Problem::unavailable(
                    "too many requests wait for the log; nothing was written, retry later",
                )
            })
    }

    fn drain_waiting(&mut self, name: &ConversationName) {
        loop {
            let Some(state) = self.conversations.get_mut(name) else {
                return;
            };
            let Some(work) = state.waiting.pop_front() else {
                break;
            };
            self.waiting -= 1;
            if let Step::Needs(lookup, mut work) = self.step(name, work) {
                self.looked_up += 1;
                work.lookup = self.looked_up;
                self.spawn_lookup(name, lookup, work.lookup);
                let Some(blocked) = self.conversations.get_mut(name) else {
                    return;
                };
                blocked.blocked = true;
                blocked.waiting.push_front(*work);
                self.waiting += 1;
                return;
            }
        }
        if let Some(state) = self.conversations.get_mut(name) {
            state.weigh(&mut self.heads_taken);
        }
        self.evict();
    }

    /// Takes in what a look-up brought, and goes on with what waited for it.
    pub(super) fn complete(&mut self, completion: Completion) {
        let Completion {
            conversation,
            lookup,
            result,
        } = completion;
        let Some(name) = conversation else {
            return self.found(lookup, result.map(Looked::at));
        };
        let Some(state) = self.conversations.get_mut(&name) else {
            return;
        };
        state.blocked = false;
        // Not there any more when other work was put before it.
        let mut asker = state.waiting.iter_mut().find(|work| work.lookup == lookup);
        if let Some(work) = &mut asker {
            work.lookup = 0;
        }
        match result {
            Ok(Looked::Head(row)) => {
                telemetry::HEAD_LOOKUPS.add(1, &[("result", "fill")]);
                state.known = row.map_or(Known::Absent, |row| {
                    Known::Head(Box::new(Head::filled(row)))
                });
            }
            Ok(Looked::Marks(rows)) => {
                let marks = rows
                    .into_iter()
                    .map(|row| (row.user, (row.delivered, row.read)));
                state.marks = Some(marks.collect());
            }
            Ok(Looked::Key(row)) => {
                if let Some(work) = asker {
                    work.facts.key = Some(row);
                }
            }
            Ok(Looked::At(at)) => {
                if let Some(work) = asker {
                    work.facts.reply_to = Some(at);
                }
            }
            Ok(Looked::Held(message)) => {
                if let Some(work) = asker {
                    work.facts.held = Some(message);
                }
            }
            Ok(Looked::Later(is_used)) => {
                if let Some(work) = asker {
                    work.facts.later = Some(is_used);
                }
            }
            Err(error) => {
                let waiting = std::mem::take(&mut state.waiting);
                self.refuse_waiting(waiting, &error);
            }
        }
        self.drain_waiting(&name);
    }

    /// Refuses all that waited in a conversation for a look-up that failed.
    fn refuse_waiting(&mut self, waiting: VecDeque<Work>, error: &StoreError) {
        tracing::warn!(shard = %self.setup.shard, %error, "look-up failed; refusing what waits for it");
        let problem = Problem::unavailable("the shard's file cannot be read now; retry later");
        self.waiting -= waiting.len();
        for work in waiting {
            refuse(work, &problem);
        }
    }

    fn step(&mut self, name: &ConversationName, work: Work) -> Step {
        let Some(state) = self.conversations.get(name) else {
            return Step::Finished;
        };
        if matches!(state.known, Known::No) {
            return Step::Needs(Lookup::Head, Box::new(work));
        }
        match work.kind {
            WorkKind::Write(asked) => return self.step_write(name, asked, work.facts),
            // Gathered again until the log answers.
            WorkKind::Delivered(marks) if self.parking.is_stalled() => {
                let back = |(user, up_to)| Delivered {
                    conversation: name.clone(),
                    user,
                    up_to,
                };
                self.take_delivered(marks.into_iter().map(back).collect());
            }
            WorkKind::Delivered(marks) if state.marks.is_none() => {
                let work = Work {
                    kind: WorkKind::Delivered(marks),
                    ..work
                };
                return Step::Needs(Lookup::Marks, Box::new(work));
            }
            WorkKind::Delivered(marks) => self.decide_delivered(name, &marks),
            WorkKind::Begin {
                reader,
                want,
                answer,
            } => self.begin(name, &reader, &want, answer),
            WorkKind::Subscribe {
                subscriber,
                user,
                answer,
            } => {
                self.subscribe(name, subscriber, user, answer);
            }
            WorkKind::Typing { user, on, answer } => self.decide_typing(name, &user, on, answer),
        }
        Step::Finished
    }

    fn step_write(&mut self, name: &ConversationName, asked: Asked, facts: Facts) -> Step {
        let Some(asked) = self.park(asked) else {
            return Step::Finished;
        };
        if Instant::now() >= asked.deadline {
            let problem =
                Problem::unavailable("the shard did not get to this request in time; retry");
            asked.answer.send(Err(problem.into())).ok();
            return Step::Finished;
        }
        if let Some(until) = self.receipt_waits(name, &asked.write) {
            match self.too_many_rest() {
                Some(problem) => drop(asked.answer.send(Err(problem.into()))),
                None => self
                    .appenders
                    .messages
                    .wait(until, Waiter::Later(Box::new(asked))),
            }
            return Step::Finished;
        }
        if let Some(lookup) = self.missing(name, &asked.write, &facts) {
            return Step::Needs(
                lookup,
                Box::new(Work {
                    kind: WorkKind::Write(asked),
                    facts,
                    lookup: 0,
                }),
            );
        }
        // From here on it may appear; a caller who has left before was told that it will not.
        if asked.fate.decide() {
            self.decide(name, asked, &facts);
        }
        Step::Finished
    }

    /// A receipt goes into the other stream, and would stay there when its author's joining is
    /// taken back: it is decided when that is committed. Likewise a reaction when the deletion of
    /// its message is. The offset to wait for.
    fn receipt_waits(&self, name: &ConversationName, write: &Write) -> Option<Offset> {
        let (state, user) = (self.conversations.get(name)?, write.receipt_of()?);
        let committed = self.appenders.messages.committed().offset;
        let deletion = match write {
            Write::React { id, .. } => self
                .messages
                .now(*id)
                .filter(|(_, message)| message.at.deleted),
            _ => None,
        };
        let deletion = deletion
            .map(|(offset, _)| *offset)
            .filter(|offset| *offset > committed);
        state.standing_changes(user, committed).max(deletion)
    }

    /// What must be looked up before this write can be decided.
    fn missing(&self, name: &ConversationName, write: &Write, facts: &Facts) -> Option<Lookup> {
        let state = self.conversations.get(name)?;
        let participates = |user: &UserId| state.head().is_some_and(|head| head.has(user));
        let key_lookup = |sender: &UserId, key: Option<&IdempotencyKey>| {
            let asked =
                key.filter(|key| facts.key.is_none() && asks_for_key(state, sender, key))?;
            let perhaps = self.setup.filter.perhaps_used(name, sender, &asked.key);
            perhaps.then(|| Lookup::Key(sender.clone(), asked.clone()))
        };
        let later_lookup = |sender: &UserId, unless: &[IdempotencyKey]| {
            let asks = facts.later.is_none() && unless.iter().any(|later| !later.stamped);
            asks.then(|| Lookup::Later(sender.clone(), unless.to_vec()))
        };
        match write {
            Write::Send(send) if participates(&send.source) => {
                if let Some(id) = send.reply_to
                    && facts.reply_to.is_none()
                    && self.messages.now(id).is_none()
                    && id.slot() == name.slot()
                {
                    return Some(Lookup::At(id));
                }
                if let Some(lookup) = key_lookup(&send.source, send.key.as_ref()) {
                    return Some(lookup);
                }
                later_lookup(&send.source, &send.unless)
            }
            Write::Change { change, .. } if participates(change.by()) => {
                let id = change.message_id();
                let asks = facts.held.is_none() && self.messages.now(id).is_none();
                key_lookup(change.by(), change.key())
                    .or_else(|| later_lookup(change.by(), change.unless()))
                    .or_else(|| asks.then_some(Lookup::Held(id)))
            }
            Write::Resubmit(event) => self.missing_of_orphan(state, event, facts),
            Write::Read { .. } if state.head().is_some() && state.marks.is_none() => {
                Some(Lookup::Marks)
            }
            _ => None,
        }
    }
}

/// Whether SQLite has to be asked for a key. Not while memory has it: it may be applied, and
/// forgotten here, between the look at the file and the decision.
fn asks_for_key(state: &ConversationState, sender: &UserId, key: &IdempotencyKey) -> bool {
    !key.stamped
        && !state
            .keys
            .contains_key(&(sender.clone(), Arc::clone(&key.key)))
}

fn refuse(work: Work, problem: &Problem) {
    match work.kind {
        WorkKind::Write(asked) => {
            asked.answer.send(Err(problem.clone().into())).ok();
        }
        WorkKind::Delivered(marks) => telemetry::RECEIPTS_SHED.add(marks.len() as u64, &[]),
        WorkKind::Begin { answer, .. } => {
            answer.send(Err(problem.clone())).ok();
        }
        WorkKind::Subscribe { answer, .. } => {
            answer.send(Err(problem.clone())).ok();
        }
        WorkKind::Typing { answer, .. } => {
            answer.send(Err(problem.clone())).ok();
        }
    }
}
