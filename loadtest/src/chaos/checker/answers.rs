//! What is asked for and what is answered, and what an answer makes sure.

use crate::chaos::checker::Checker;
use crate::chaos::checker::operations::{Operation, State};
use crate::chaos::history::span::Span;
use crate::chaos::history::{Act, Micros, Outcome};

impl Checker {
    /// An operation is about to be asked for.
    pub(super) fn begin(
        &mut self,
        op: u64,
        (begun, user, conversation): (Micros, u32, u32),
        act: Act,
    ) {
        let line = self.line(conversation);
        match &act {
            Act::Add { user: whom } => line.sure.entry(*whom).or_default().begin(true),
            Act::Remove { user: whom } => {
                line.removal_begins(op, *whom);
                line.sure.entry(*whom).or_default().begin(false);
            }
            Act::Ban { user: whom } => {
                line.removal_begins(op, *whom);
                line.sure.entry(*whom).or_default().begin(false);
                line.standings.ban_begins(*whom);
            }
            Act::Unban { user: whom } => line.standings.ban_begins(*whom),
            Act::Silence { user: whom, .. } => line.standings.silence_begins(begun, *whom),
            Act::Delete { seq } => line.contents.condemned(*seq),
            Act::React { seq, .. } => drop(line.reactions.insert(user, (*seq, None))),
            Act::Create { .. } => drop(line.asked.get_or_insert(begun)),
            Act::Send | Act::Read { .. } | Act::Edit { .. } => {}
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

    /// An operation has this outcome.
    pub(super) fn end(&mut self, at: Micros, op: u64, result: &Outcome) {
        let Some(operation) = self.operations.get(op) else {
            return;
        };
        operation.state = State::from(result);
        let (user, conversation, begun, seen_at) = (
            operation.user,
            operation.conversation,
            operation.begun,
            operation.seq,
        );
        let act = operation.act.clone();
        self.counts.operations += 1;

        match result {
            Outcome::Ok { item, clean } => {
                self.counts.retried += u64::from(!clean);
                match act {
                    Act::Send => self.acknowledged((at, op), (user, conversation), begun),
                    Act::Add { user: whom } => self.entered(at, (whom, conversation), begun),
                    Act::Edit { seq } => self.line(conversation).contents.edited(at, seq, op),
                    Act::Delete { seq } => self.line(conversation).contents.erased(at, seq),
                    _ => {}
                }
                self.done(at, (user, conversation, *clean), &act);
                if let Some(item) = item {
                    self.see(at, conversation, item);
                    self.in_order(at, (op, conversation), item.seq, *clean);
                }
            }
            Outcome::Failed { code } => {
                self.counts.failed += 1;
                if seen_at > 0 {
                    let said = format!(
                        "op-{op} was refused as {code}, and is at seq {seen_at} of c{conversation}"
                    );
                    let span = Span::at(conversation, seen_at).and_op(op);
                    self.wrong(at, "refused must not appear", said, span);
                }
                match (code.as_str(), &act) {
                    ("not_participant", _) => {
                        self.refused_as_stranger(at, (user, conversation), begun);
                    }
                    ("muted" | "forbidden", Act::Send | Act::Edit { .. }) => {
                        self.refused_as_silent(at, (user, conversation), code);
                    }
                    _ => {}
                }
            }
            Outcome::Unknown { .. } => {
                self.counts.unknown += 1;
                self.done(at, (user, conversation, false), &act);
            }
        }

        if let Act::Remove { user: whom } | Act::Ban { user: whom } = act {
            self.removal_ended((at, op), (conversation, whom), result);
        }
        self.rival_ended(at, op, result);
        self.framed.remove(&op);
    }

    /// A message was acknowledged: whoever sent it was not surely out before they began.
    fn acknowledged(
        &mut self,
        (at, op): (Micros, u64),
        (user, conversation): (u32, u32),
        begun: Micros,
    ) {
        self.counts.acknowledged += 1;
        let sure = self
            .line(conversation)
            .sure
            .get(&user)
            .copied()
            .unwrap_or_default();
        if sure.out_before(begun) {
            let said = format!("u{user} was out of c{conversation}, and op-{op} was acknowledged");
            self.wrong(
                at,
                "nothing from a removed participant",
                said,
                Span::of(conversation).and_op(op),
            );
        }
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
            Act::Ban { user: whom } => {
                line.sure.entry(*whom).or_default().done(false, at, clean);
                line.standings.ban_done(at, *whom, true, clean);
            }
            Act::Unban { user: whom } => line.standings.ban_done(at, *whom, false, clean),
            Act::Read { seq } if clean => {
                let [_, read] = line.marks.entry(user).or_default();
                read.raise(at, *seq);
            }
            Act::React { seq, value } if clean => {
                line.reactions.insert(user, (*seq, Some((at, *value))));
            }
            _ => {}
        }
    }
}
