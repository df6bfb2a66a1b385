//! Refusals that rest on a change which was asked for and not yet answered: that change has to be
//! in the history, for what is taken back again is no reason to refuse anybody anything.

use std::collections::{BTreeSet, HashMap};

use crate::chaos::checker::Checker;
use crate::chaos::checker::line::Line;
use crate::chaos::checker::operations::State;
use crate::chaos::checker::sure::Sure;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Act, Micros, Outcome};

/// The rule that these break.
const IN_THE_HISTORY: &str = "a refusal rests on a change that is in the history";
/// Codes that say that another has the key, or the name.
const CONFLICTS: [&str; 2] = ["idempotency_conflict", "name_taken"];

/// Removals of one who was surely in when the first of them was begun, and who may be out since.
#[derive(Debug)]
struct Doubt {
    since: Micros,
    removals: BTreeSet<u64>,
}

/// A refusal that only one of these removals can be the reason of.
#[derive(Debug)]
struct Held {
    user: u32,
    since: Micros,
    at: Micros,
    removals: BTreeSet<u64>,
}

/// Refusals of one conversation that wait for their reasons.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    doubts: HashMap<u32, Doubt>,
    held: Vec<Held>,
}

impl Refusals {
    /// A removal is about to be asked for.
    fn begin(&mut self, op: u64, user: u32, sure: Sure) {
        if let Sure::In(since) = sure {
            self.doubts.insert(
                user,
                Doubt {
                    since,
                    removals: BTreeSet::from([op]),
                },
            );
        } else if let Some(doubt) = self.doubts.get_mut(&user) {
            doubt.removals.insert(op);
        }
    }

    /// It was surely not done: since when the user is in, if nothing else puts that in doubt; and
    /// when those were refused who had no other reason.
    fn failed(&mut self, op: u64, user: u32) -> (Option<Micros>, Vec<(u32, Micros)>) {
        let mut wrong = Vec::new();
        self.held.retain_mut(|held| {
            let groundless = held.removals.remove(&op) && held.removals.is_empty();
            wrong.extend(groundless.then_some((held.user, held.at)));
            !groundless
        });
        let Some(doubt) = self.doubts.get_mut(&user) else {
            return (None, wrong);
        };
        doubt.removals.remove(&op);
        let since = doubt.removals.is_empty().then_some(doubt.since);
        if since.is_some() {
            self.doubts.remove(&user);
        }
        (since, wrong)
    }

    /// It was done, and surely once: whoever was refused meanwhile was so rightly.
    fn done(&mut self, op: u64, user: u32) {
        self.held.retain(|held| !held.removals.contains(&op));
        self.doubts.remove(&user);
    }

    /// Their `left` was seen for the first time.
    pub(crate) fn left(&mut self, user: u32, at: Micros) {
        self.held
            .retain(|held| held.user != user || held.since >= at);
        if self.doubts.get(&user).is_some_and(|doubt| doubt.since < at) {
            self.doubts.remove(&user);
        }
    }

    /// A request that began then was refused: its reason is still to be seen.
    fn hold(&mut self, user: u32, begun: Micros, at: Micros) {
        if let Some(doubt) = self.doubts.get(&user).filter(|doubt| doubt.since < begun) {
            self.held.push(Held {
                user,
                since: doubt.since,
                at,
                removals: doubt.removals.clone(),
            });
        }
    }

    /// All is known: who was refused for nothing.
    fn groundless(&self) -> Vec<(u32, Micros)> {
        self.held.iter().map(|held| (held.user, held.at)).collect()
    }
}

impl Line {
    /// A removal is about to be asked for; before anything else is held against it.
    pub(super) fn removal_begins(&mut self, op: u64, user: u32) {
        let sure = self.sure.get(&user).copied().unwrap_or_default();
        self.refusals.begin(op, user, sure);
    }
}

impl Checker {
    /// What became of a removal.
    pub(super) fn removal_ended(
        &mut self,
        (at, op): (Micros, u64),
        (conversation, user): (u32, u32),
        result: &Outcome,
    ) {
        let line = self.line(conversation);
        match result {
            Outcome::Failed { .. } => {
                let (since, wrong) = line.refusals.failed(op, user);
                if let Some(since) = since {
                    line.sure.entry(user).or_default().restore(since);
                }
                self.groundless(at, conversation, &wrong);
            }
            Outcome::Ok { clean: true, .. } => line.refusals.done(op, user),
            // It may be done at any time, or was done by whichever attempt: its `left` will show
            // it.
            Outcome::Ok { .. } | Outcome::Unknown { .. } => {}
        }
    }

    /// A user was told that they do not participate.
    pub(super) fn refused_as_stranger(
        &mut self,
        at: Micros,
        (user, conversation): (u32, u32),
        begun: Micros,
    ) {
        let line = self.line(conversation);
        line.refused.refused(user, begun, at);
        if line
            .sure
            .get(&user)
            .copied()
            .unwrap_or_default()
            .in_before(begun)
        {
            let said = format!("u{user} was in c{conversation}, and was refused as no participant");
            let rule = "a refusal is not older than what was acknowledged";
            self.wrong(at, rule, said, Span::of(conversation));
        } else {
            line.refusals.hold(user, begun, at);
        }
    }

    /// All of a conversation is known.
    pub(super) fn judge_refusals(&mut self, at: Micros, conversation: u32) {
        let wrong = self.line(conversation).refusals.groundless();
        self.groundless(at, conversation, &wrong);
    }

    fn groundless(&mut self, at: Micros, conversation: u32, wrong: &[(u32, Micros)]) {
        for (user, refused) in wrong {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let when = *refused as f64 / 1e6;
            let said = format!(
                "u{user} was in c{conversation}, and was refused as no participant at {when:.3} s: \
                 nobody put them out"
            );
            self.wrong(at, IN_THE_HISTORY, said, Span::of(conversation));
        }
    }

    /// Two operations of which one at most may be done.
    pub(super) fn pair(&mut self, op: u64, other: u64) {
        self.rivals.insert(op, other);
        self.rivals.insert(other, op);
    }

    /// One of a pair has ended.
    pub(super) fn rival_ended(&mut self, at: Micros, op: u64, result: &Outcome) {
        let Some(other) = self.rivals.get(&op).copied() else {
            return;
        };

        if let Outcome::Failed { code } = result
            && CONFLICTS.contains(&code.as_str())
        {
            self.conflicts.insert(op);
        }

        let mut state = |number| {
            self.operations
                .get(number)
                .map_or(State::Unknown, |operation| operation.state)
        };
        let (own, of_other) = (state(op), state(other));
        if matches!(of_other, State::Open) {
            return;
        }

        let Some((conversation, act)) = self
            .operations
            .get(op)
            .map(|one| (one.conversation, one.act.clone()))
        else {
            return;
        };
        let span = Span::of(conversation).and_op(op);

        if (own, of_other) == (State::Ok, State::Ok) {
            let rule = if act == Act::Send {
                "one key, one message"
            } else {
                "one name, one conversation"
            };
            self.wrong(
                at,
                rule,
                format!("op-{op} and op-{other} of c{conversation} were both acknowledged"),
                span,
            );
        } else if (own, of_other) == (State::Failed, State::Failed)
            && let Some(refused) = [op, other]
                .into_iter()
                .find(|one| self.conflicts.contains(one))
        {
            let said = format!(
                "op-{refused} of c{conversation} was refused because of one that was surely not \
                 done"
            );
            self.wrong(at, IN_THE_HISTORY, said, span);
        }
    }
}
