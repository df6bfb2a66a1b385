//! Changes that somebody saw: each is one of a line that is the same for everybody.

use crate::chaos::checker::Checker;
use crate::chaos::checker::line::Sight;
use crate::chaos::checker::operations::State;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Item, Micros, What};

impl Checker {
    /// Somebody saw this change at that moment.
    pub(super) fn see(&mut self, at: Micros, conversation: u32, item: &Item) {
        let begun = match item.what {
            What::Message { op, .. } => self.operations.get(op).map(|operation| operation.begun),
            What::Created { .. } => self.line(conversation).asked,
            _ => None,
        };
        let line = self.line(conversation);
        let sight = line.see(item, at, begun.unwrap_or(0));
        line.floor.raise(at, item.seq);
        if matches!(item.what, What::Message { .. }) {
            line.messages.raise(at, item.seq);
        }

        self.words_seen(at, conversation, item);
        match sight {
            Sight::Same => {}
            Sight::Other => {
                let there = self.line(conversation).at(item.seq).cloned();
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
        let misplaced = self.line(conversation).fold();
        for (source, seq) in misplaced.silent {
            self.silent_spoke(at, conversation, source, seq);
        }
        for (source, seq) in misplaced.strangers {
            let said =
                format!("u{source} was out of c{conversation}, and seq {seq} is their message");
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

        if let What::Message { source, op } = item.what
            && op != 0
        {
            self.is_message(at, (source, conversation), op, item.seq);
        }
    }

    /// A message is the one of its operation, and of nothing that was refused.
    fn is_message(&mut self, at: Micros, (source, conversation): (u32, u32), op: u64, seq: u64) {
        let span = Span::at(conversation, seq).and_op(op);
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
            Some(operation) if operation.seq > 0 && operation.seq != seq => Some((
                "nothing twice",
                format!("op-{op} is at seq {} and at seq {seq}", operation.seq),
            )),
            Some(operation) => {
                operation.seq = seq;
                let refused = operation.state == State::Failed;
                refused.then(|| {
                    (
                        "refused must not appear",
                        format!("op-{op} was refused, and is at seq {seq}"),
                    )
                })
            }
        };

        if let Some((rule, said)) = wrong {
            self.wrong(at, rule, format!("c{conversation}: {said}"), span);
        }
    }

    /// All is quiet, and the conversation was read to its end by several.
    pub(super) fn finish(&mut self, at: Micros, conversation: u32, last: u64) {
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
}
