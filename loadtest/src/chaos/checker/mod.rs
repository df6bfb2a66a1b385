//! The checker: takes records in the order in which they were known and says what no correct
//! cluster can do. Pure; each record costs constant time but for its items, and a message costs
//! about a hundred bytes of memory for the whole run.

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use crate::chaos::checker::counts::Counts;
use crate::chaos::checker::line::{Line, Sight};
use crate::chaos::checker::operations::{Operation, Operations, State};
use crate::chaos::checker::session::Session;
use crate::chaos::checker::sockets::Sockets;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Act, Item, Micros, Outcome, Record, What};

mod counts;

mod deafness;

mod floor;

pub(crate) mod known;

mod line;

mod operations;

mod reads;

mod refusals;

mod refused;

mod session;

mod sockets;

mod sure;

#[cfg(test)]
mod tests;

/// Violations that are kept; more are only counted.
const KEPT_MAX: usize = 50;
/// Events that a resume sends; a gap for less is not needed.
const RESUME_EVENTS: u64 = 1_000;

/// Something that must not happen.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// When it was known.
    pub(crate) at: Micros,
    /// Which promise.
    pub(crate) rule: String,
    /// What happened.
    pub(crate) said: String,
    /// Where to look.
    pub(crate) span: Span,
}

/// What is known, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    lines: BTreeMap<u32, Line>,
    operations: Operations,
    sessions: HashMap<u64, Session>,
    /// Operations that were sent by frame, with their sessions.
    framed: HashMap<u64, u64>,
    /// Operations of which one at most may be done, and those of them that were refused for the
    /// other.
    rivals: HashMap<u64, u64>,
    conflicts: HashSet<u64>,
    /// When it was last looked whether sessions are deaf, and the longest that one was since that
    /// was asked last.
    looked: Micros,
    deafest: Micros,
    /// Whose sockets were closed, and when they may be.
    sockets: Sockets,
    /// When a machine was lost for good the last time, and when it came back, if it did.
    gone: Option<Micros>,
    back: Option<Micros>,
    /// What is wrong, the first of it.
    pub(crate) violations: Vec<Violation>,
    /// What was counted.
    pub(crate) counts: Counts,
}

impl Checker {
    /// One more record.
    pub(crate) fn take(&mut self, record: &Record) {
        self.look(record.at());
        match record {
            Record::Begun {
                at,
                op,
                user,
                conversation,
                act,
            } => {
                self.begin(*op, (*at, *user, *conversation), act.clone());
            }
            Record::Ended { at, op, result } => self.end(*at, *op, result),
            Record::Framed { op, session, .. } => drop(self.framed.insert(*op, *session)),
            Record::Rivals { op, other, .. } => self.pair(*op, *other),
            Record::Again { at, op, item } => {
                if let Some(conversation) = self
                    .operations
                    .get(*op)
                    .map(|operation| operation.conversation)
                {
                    self.see(*at, conversation, item);
                }
            }
            Record::Page {
                read,
                after,
                items,
                end,
            } => self.page(*read, *after, items, *end),
            Record::Newest { read, items } => self.newest(*read, items),
            Record::Shown { read, last, users } => self.shown(*read, *last, users),
            Record::Marks { read, marks } => self.marks(*read, marks),
            Record::Reaction { read, seq, value } => self.reaction(*read, *seq, *value),
            Record::Refused { read } => {
                self.refused_as_stranger(read.at, (read.user, read.conversation), read.begun);
            }
            Record::Listed {
                begun,
                at,
                user,
                stale: false,
                conversations,
            } => {
                self.listed((*begun, *at), *user, conversations);
            }
            Record::Listed { .. } => self.counts.stale += 1,
            Record::Opened {
                at,
                session,
                user,
                positions,
            } => {
                self.sessions
                    .insert(*session, Session::new(*user, *at, positions));
            }
            Record::Ready { at, session } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.ready.get_or_insert(*at);
                }
            }
            Record::Deafened { session, .. } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.excused = true;
                }
            }
            Record::Frames {
                at,
                session,
                conversation,
                items,
            } => self.frames(*at, *session, *conversation, items),
            Record::Gap {
                at,
                session,
                conversation,
                from,
                to,
                reason,
            } => {
                self.gap(*at, (*session, *conversation), (*from, *to), reason);
            }
            Record::Live {
                at,
                session,
                positions,
            } => self.live(*at, *session, positions),
            Record::Closed { at, session, why } => {
                self.closed(*at, *session, why);
                self.sessions.remove(session);
            }
            Record::Final {
                at,
                conversation,
                last,
            } => self.finish(*at, *conversation, *last),
            Record::Fault { at, name, said } => self.fault(*at, name, said),
            Record::Gone { at } => (self.gone, self.back) = (Some(*at), None),
            Record::Back { at } => self.back = Some(*at),
            Record::Wrong {
                at,
                rule,
                conversation,
                said,
            } => {
                let span = conversation.map_or_else(Span::default, Span::of);
                self.wrong(*at, rule, said.clone(), span);
            }
        }
    }

    fn line(&mut self, conversation: u32) -> &mut Line {
        self.lines.entry(conversation).or_default()
    }

    fn begin(&mut self, op: u64, (begun, user, conversation): (Micros, u32, u32), act: Act) {
        let line = self.line(conversation);
        match &act {
            Act::Add { user: whom } => line.sure.entry(*whom).or_default().begin(true),
            Act::Remove { user: whom } => {
                line.removal_begins(op, *whom);
                line.sure.entry(*whom).or_default().begin(false);
            }
            Act::React { seq, .. } => drop(line.reactions.insert(user, (*seq, None))),
            Act::Create { .. } => drop(line.asked.get_or_insert(begun)),
            Act::Send | Act::Read { .. } => {}
        }
        self.operations.begin(
            op,
            Operation {
                user,
                conversation,
                begun,
                act,
                state: State::Open,
                seq: 0,
            },
        );
    }

    fn end(&mut self, at: Micros, op: u64, result: &Outcome) {
        let Some(operation) = self.operations.get(op) else {
            return;
        };
        operation.state = State::from(result);
        let (user, conversation, begun, seq) = (
            operation.user,
            operation.conversation,
            operation.begun,
            operation.seq,
        );
        let act = operation.act.clone();
        self.counts.operations += 1;
        let sure = self
            .line(conversation)
            .sure
            .get(&user)
            .copied()
            .unwrap_or_default();
        match result {
            Outcome::Ok { item, clean } => {
                self.counts.retried += u64::from(!clean);
                if act == Act::Send {
                    self.counts.acknowledged += 1;
                    if sure.out_before(begun) {
                        let said = format!(
                            "u{user} was out of c{conversation}, and op-{op} was acknowledged"
                        );
                        self.wrong(
                            at,
                            "nothing from a removed participant",
                            said,
                            Span::of(conversation).and_op(op),
                        );
                    }
                }
                self.done(at, (user, conversation, *clean), &act);
                if let Some(item) = item {
                    self.see(at, conversation, item);
                    self.in_order(at, (op, conversation), item.seq, *clean);
                }
            }
            Outcome::Failed { code } => {
                self.counts.failed += 1;
                if seq > 0 {
                    let said = format!(
                        "op-{op} was refused as {code}, and is at seq {seq} of c{conversation}"
                    );
                    self.wrong(
                        at,
                        "refused must not appear",
                        said,
                        Span::at(conversation, seq).and_op(op),
                    );
                }
                if code == "not_participant" {
                    self.refused_as_stranger(at, (user, conversation), begun);
                }
            }
            Outcome::Unknown { .. } => {
                self.counts.unknown += 1;
                self.done(at, (user, conversation, false), &act);
            }
        }
        if let Act::Remove { user: whom } = act {
            self.removal_ended((at, op), (conversation, whom), result);
        }
        self.rival_ended(at, op, result);
        self.framed.remove(&op);
    }

    /// A message that was sent by frame, and acknowledged by one: it is behind those that were sent
    /// there before.
    fn in_order(&mut self, at: Micros, (op, conversation): (u64, u32), seq: u64, clean: bool) {
        let Some(number) = self.framed.get(&op).copied().filter(|_| clean) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let user = session.user;
        if let Err(error) = session.appended(conversation, op, seq) {
            let said = format!("session {number} of u{user}, c{conversation}: {error}");
            let span = Span::at(conversation, seq).and_op(op).and_session(number);
            self.wrong(
                at,
                "sends of one socket appear in the order sent",
                said,
                span,
            );
        }
    }

    /// What an acknowledged operation makes sure. After an attempt of unknown outcome nothing is:
    /// it may be done later.
    fn done(&mut self, at: Micros, (user, conversation, clean): (u32, u32, bool), act: &Act) {
        let line = self.line(conversation);
        match act {
            // Nobody is put out before the answer.
            Act::Create { users } => users
                .iter()
                .for_each(|whom| line.sure.entry(*whom).or_default().done(true, at, true)),
            Act::Add { user: whom } => line.sure.entry(*whom).or_default().done(true, at, clean),
            Act::Remove { user: whom } => {
                line.sure.entry(*whom).or_default().done(false, at, clean)
            }
            Act::Read { seq } if clean => {
                let [_, read] = line.marks.entry(user).or_default();
                read.raise(at, *seq);
            }
            Act::React { seq, value } if clean => {
                drop(line.reactions.insert(user, (*seq, Some((at, *value)))))
            }
            Act::Read { .. } | Act::React { .. } | Act::Send => {}
        }
    }

    /// Somebody saw this change at that moment.
    fn see(&mut self, at: Micros, conversation: u32, item: &Item) {
        let begun = match item.what {
            What::Message { op, .. } => self.operations.get(op).map(|operation| operation.begun),
            What::Created { .. } => self.line(conversation).asked,
            What::Joined { .. } | What::Left { .. } => None,
        };
        let line = self.line(conversation);
        let sight = line.see(item, at, begun.unwrap_or(0));
        line.floor.raise(at, item.seq);
        if matches!(item.what, What::Message { .. }) {
            line.messages.raise(at, item.seq);
        }
        match sight {
            Sight::Same => {}
            Sight::Other => {
                let there = line.at(item.seq).cloned();
                let said = format!(
                    "seq {} of c{conversation} is {:?}, and was seen as {there:?}",
                    item.seq, item.what
                );
                self.wrong(
                    at,
                    "one order, the same for everybody",
                    said,
                    Span::at(conversation, item.seq),
                );
            }
            Sight::New => self.is_new(at, conversation, item),
        }
    }

    fn is_new(&mut self, at: Micros, conversation: u32, item: &Item) {
        for (source, seq) in self.line(conversation).fold() {
            let said =
                format!("u{source} was out of c{conversation}, and seq {seq} is his message");
            self.wrong(
                at,
                "nothing from a removed participant",
                said,
                Span::at(conversation, seq),
            );
        }
        for (source, seq) in self.line(conversation).refused.take_served() {
            let said = format!(
                "u{source} was refused in c{conversation}, and seq {seq} is theirs, of the same \
                 stay"
            );
            self.wrong(
                at,
                "a refusal stands until the next stay",
                said,
                Span::at(conversation, seq),
            );
        }
        if let What::Left { user } = item.what {
            self.line(conversation).refusals.left(user, at);
        }
        let What::Message { source, op } = item.what else {
            return;
        };
        let span = Span::at(conversation, item.seq).and_op(op);
        let wrong = match self.operations.get(op) {
            None => Some((
                "nothing that nobody sent",
                format!("op-{op} was never begun"),
            )),
            Some(operation)
                if (operation.user, operation.conversation) != (source, conversation) =>
            {
                Some((
                    "nothing that nobody sent",
                    format!("op-{op} was another's, or of another conversation"),
                ))
            }
            Some(operation) if operation.seq > 0 && operation.seq != item.seq => Some((
                "nothing twice",
                format!(
                    "op-{op} is at seq {} and at seq {}",
                    operation.seq, item.seq
                ),
            )),
            Some(operation) => {
                operation.seq = item.seq;
                let refused = operation.state == State::Failed;
                refused.then(|| {
                    (
                        "refused must not appear",
                        format!("op-{op} was refused, and is at seq {}", item.seq),
                    )
                })
            }
        };
        if let Some((rule, said)) = wrong {
            self.wrong(at, rule, format!("c{conversation}: {said}"), span);
        }
    }

    fn frames(&mut self, at: Micros, number: u64, conversation: u32, items: &[Item]) {
        self.counts.frames += u64::try_from(items.len()).unwrap_or(0);
        for item in items {
            self.see(at, conversation, item);
            self.heard(at, number, conversation, item.seq);
            let Some(session) = self.sessions.get_mut(&number) else {
                return;
            };
            let user = session.user;
            let (jump, taken) = session.take(conversation, item);
            self.jumped(number, conversation, jump);
            if let Err(error) = taken {
                let said = format!("session {number} of u{user}, c{conversation}: {error}");
                let span = Span::at(conversation, item.seq).and_session(number);
                self.wrong(at, "sessions see each change once, in order", said, span);
            }
            self.line(conversation).sent(user, item.seq, at);
        }
    }

    fn gap(
        &mut self,
        at: Micros,
        (number, conversation): (u64, u32),
        (from, to): (u64, u64),
        reason: &str,
    ) {
        self.counts.gaps += 1;
        self.counts.replaced += u64::from(reason == "replaced");
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let (user, opened) = (session.user, session.opened);
        let told = session.gap(at, conversation, (from, to), reason);
        let sure = self
            .line(conversation)
            .sure
            .get(&user)
            .copied()
            .unwrap_or_default();
        let wrong = match reason {
            "not_participant" if sure.in_before(opened) => Some("he participates".to_owned()),
            // The part that is not sent may be short; what is missed together is not.
            "too_far"
                if self.line(conversation).last().saturating_sub(from) + 1 < RESUME_EVENTS =>
            {
                Some("so few are sent".to_owned())
            }
            // What anybody was shown stays: there is nothing that it could be replaced by.
            "replaced" => Some("what it had seen stands".to_owned()),
            _ => told.err(),
        };
        if let Some(error) = wrong {
            let said = format!(
                "session {number} of u{user}, c{conversation}: gap {from} to {to} {reason}: {error}"
            );
            let span = Span::of(conversation).and_session(number);
            self.wrong(at, "sessions see each change once, in order", said, span);
        }
    }

    fn live(&mut self, at: Micros, number: u64, positions: &[(u32, u64)]) {
        for &(conversation, seq) in positions {
            let Some(session) = self.sessions.get_mut(&number) else {
                return;
            };
            let user = session.user;
            let (jump, told) = session.live(conversation, seq);
            self.jumped(number, conversation, jump);
            if let Err(error) = told {
                let said = format!("session {number} of u{user}, c{conversation}: {error}");
                let span = Span::of(conversation).and_session(number);
                self.wrong(at, "sessions see each change once, in order", said, span);
            }
        }
    }

    /// All is quiet, and the conversation was read to its end by several.
    fn finish(&mut self, at: Micros, conversation: u32, last: u64) {
        let line = self.line(conversation);
        let (seen, folded) = (line.last(), line.folded());
        let strangers = line.sent_to_strangers();
        self.judge_refusals(at, conversation);
        self.judge_stays(at, conversation);
        if seen > last {
            let said = format!(
                "c{conversation} ends at seq {last}; {:?} was at seq {seen}",
                self.line(conversation).at(seen)
            );
            self.wrong(
                at,
                "what was acknowledged or shown stays",
                said,
                Span::at(conversation, seen),
            );
        } else if folded < last {
            let said = format!(
                "c{conversation} ends at seq {last}; nobody was shown seq {}",
                folded + 1
            );
            self.wrong(
                at,
                "seqs are dense",
                said,
                Span::at(conversation, folded + 1),
            );
        }
        for (user, seq) in strangers {
            let said = format!("u{user} was out of c{conversation}, and was sent seq {seq}");
            self.wrong(
                at,
                "nothing to a removed participant",
                said,
                Span::at(conversation, seq),
            );
        }
    }

    /// Who participates in a conversation by its changes.
    pub(crate) fn members(&self, conversation: u32) -> Vec<u32> {
        self.lines
            .get(&conversation)
            .map(Line::members)
            .unwrap_or_default()
    }

    /// All conversations that anybody saw anything of.
    pub(crate) fn conversations(&self) -> Vec<u32> {
        self.lines
            .iter()
            .filter(|(_, line)| line.last() > 0)
            .map(|(number, _)| *number)
            .collect()
    }

    /// The highest seq that anybody saw.
    pub(crate) fn last(&self, conversation: u32) -> u64 {
        self.lines.get(&conversation).map_or(0, Line::last)
    }
}
