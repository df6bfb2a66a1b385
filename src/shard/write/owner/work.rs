//! Work of one conversation: in its order, one piece after the other; what needs a look-up in
//! SQLite stops those behind it until the look-up is back.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::ConversationName;
use crate::problem::Problem;
use crate::shard::command::Delivered;
use crate::shard::file::store::StoreError;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::anew::Again;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::input::{Asked, Waiter};
use crate::shard::write::owner::lookup::Lookup;
use crate::shard::write::owner::piece::{Facts, Work, WorkKind};
use crate::telemetry;

/// Work waiting for one conversation's look-up, and for all of them; more is refused.
const WAITING_MAX: usize = 4096;
const WAITING_OF_ALL_MAX: usize = 4 * WAITING_MAX;

/// Answers that wait for the commit of what others wrote, beside the writes themselves; more are
/// refused.
const RESTING_MAX: usize = 16_384;

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

    pub(super) fn drain_waiting(&mut self, name: &ConversationName) {
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

    /// Refuses all that waited in a conversation for a look-up that failed.
    pub(super) fn refuse_waiting(&mut self, waiting: VecDeque<Work>, error: &StoreError) {
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
