//! What a read must show: nothing else than others, no hole, and nothing older than what was known
//! before it began.

use crate::chaos::checker::Checker;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Item, Micros, Read, What};

/// The rule that most of these break.
const NOT_OLDER: &str = "a read without a mark is not older than what was known before it began";

impl Checker {
    /// A page of all changes after a seq.
    pub(super) fn page(&mut self, read: Read, after: u64, items: &[Item], end: bool) {
        let conversation = read.conversation;
        let floor = self.line(conversation).floor.before(read.begun);
        self.allowed(read);
        self.words_read(read, items);

        let mut expected = after + 1;
        for item in items {
            if item.seq != expected {
                let said = format!("c{conversation}: seq {} follows {}", item.seq, expected - 1);
                self.wrong(
                    read.at,
                    "seqs are dense",
                    said,
                    Span::at(conversation, expected),
                );
            }
            expected = item.seq + 1;
            self.see(read.at, conversation, item);
        }

        // A page after a seq that does not exist tells nothing.
        let last = expected - 1;
        if end && !read.stale && last < floor {
            let said = format!(
                "u{} read c{conversation} up to seq {last}; seq {floor} was known before",
                read.user
            );
            self.wrong(read.at, NOT_OLDER, said, Span::at(conversation, last + 1));
        }
    }

    /// The newest messages.
    pub(super) fn newest(&mut self, read: Read, items: &[Item]) {
        let conversation = read.conversation;
        let floor = self.line(conversation).messages.before(read.begun);
        self.allowed(read);
        self.words_read(read, items);

        let mut before = None;
        for item in items {
            self.see(read.at, conversation, item);
            if let Some(before) = before {
                self.only_changes(read.at, conversation, (before, item.seq));
            }
            before = Some(item.seq);
        }

        let last = items.last().map_or(0, |item| item.seq);
        if !read.stale && last < floor {
            let said = format!(
                "u{} read messages of c{conversation} up to seq {last}; seq {floor} was known \
                 before",
                read.user
            );
            self.wrong(read.at, NOT_OLDER, said, Span::at(conversation, floor));
        }
    }

    /// Messages that were asked for by their ids, or by who sent them.
    pub(super) fn some(&mut self, read: Read, items: &[Item]) {
        self.allowed(read);
        self.words_read(read, items);
        for item in items {
            self.see(read.at, read.conversation, item);
        }
    }

    /// Between two neighbours in a list of messages there is no message.
    fn only_changes(&mut self, at: Micros, conversation: u32, (before, after): (u64, u64)) {
        if after <= before {
            let said =
                format!("c{conversation}: seq {after} follows {before} in a list of messages");
            self.wrong(
                at,
                "one order, the same for everybody",
                said,
                Span::at(conversation, after),
            );
        }
        for seq in before + 1..after {
            if let Some(What::Message { op, .. }) = self.line(conversation).at(seq).cloned() {
                let said = format!(
                    "c{conversation}: seq {seq}, op-{op}, is missing in a list of messages"
                );
                self.wrong(
                    at,
                    "one order, the same for everybody",
                    said,
                    Span::at(conversation, seq).and_op(op),
                );
            }
        }
    }

    /// The conversation as such.
    pub(super) fn shown(&mut self, read: Read, last: u64, users: &[u32]) {
        let conversation = read.conversation;
        let line = self.line(conversation);
        let floor = line.floor.before(read.begun);
        let sure: Vec<(u32, bool)> = line
            .sure
            .iter()
            .map(|(user, sure)| {
                (
                    *user,
                    sure.in_before(read.begun),
                    sure.out_before(read.begun),
                )
            })
            .filter(|(_, is_in, out)| *is_in || *out)
            .map(|(user, is_in, _)| (user, is_in))
            .collect();
        self.allowed(read);

        if read.stale {
            return;
        }

        if last < floor {
            let said = format!(
                "u{} saw c{conversation} end at seq {last}; seq {floor} was known before",
                read.user
            );
            self.wrong(read.at, NOT_OLDER, said, Span::at(conversation, floor));
        }

        for (user, is_in) in sure {
            if users.contains(&user) != is_in {
                let said = format!(
                    "c{conversation} is shown with {users:?}; u{user}: in is {is_in}, acknowledged \
                     before"
                );
                self.wrong(read.at, NOT_OLDER, said, Span::of(conversation));
            }
        }
    }

    /// Watermarks of a conversation.
    pub(super) fn marks(&mut self, read: Read, marks: &[(u32, u64, u64)]) {
        let conversation = read.conversation;
        self.allowed(read);

        for &(user, delivered, seen) in marks {
            for (i, height) in [delivered, seen].into_iter().enumerate() {
                let floors = self.line(conversation).marks.entry(user).or_default();
                let Some(floor) = floors.get_mut(i) else {
                    continue;
                };
                let known = floor.before(read.begun);
                floor.raise(read.at, height);
                if !read.stale && height < known {
                    let what = if i == 0 { "delivered" } else { "read" };
                    let said = format!(
                        "{what} of u{user} in c{conversation} is {height}, and was {known} before"
                    );
                    self.wrong(
                        read.at,
                        "watermarks never go back",
                        said,
                        Span::of(conversation),
                    );
                }
            }
        }
    }

    /// One's own reaction.
    pub(super) fn reaction(&mut self, read: Read, seq: u64, value: Option<u32>) {
        let known = self
            .line(read.conversation)
            .reactions
            .get(&read.user)
            .copied();
        let Some((of, Some((since, expected)))) = known else {
            return;
        };
        // An erased message is shown without its reactions.
        let is_condemned = self.line(read.conversation).contents.is_condemned(seq);
        if of == seq && since < read.begun && !read.stale && value != expected && !is_condemned {
            let said = format!(
                "u{} sees their reaction to seq {seq} of c{} as {value:?}; {expected:?} was \
                 acknowledged before",
                read.user, read.conversation
            );
            self.wrong(read.at, NOT_OLDER, said, Span::of(read.conversation));
        }
    }

    /// All conversations of a user, without a mark.
    pub(super) fn listed(
        &mut self,
        (begun, at): (Micros, Micros),
        user: u32,
        conversations: &[u32],
    ) {
        self.counts.reads += 1;
        let mut wrong = Vec::new();
        for (conversation, line) in &self.lines {
            let sure = line.sure.get(&user).copied().unwrap_or_default();
            let listed = conversations.contains(conversation);
            if sure.in_before(begun) && !listed {
                wrong.push((*conversation, "lacks"));
            } else if sure.out_before(begun) && listed {
                wrong.push((*conversation, "still holds"));
            }
        }

        for (conversation, how) in wrong {
            let said = format!("the list of u{user} {how} c{conversation}, and carries no mark");
            let span = Span::default().and_lists_of(user);
            self.wrong(
                at,
                "a list without a mark is what was acknowledged",
                said,
                span,
            );
        }
    }

    /// A read that was answered.
    fn allowed(&mut self, read: Read) {
        if read.stale {
            self.counts.stale += 1;
            return;
        }

        self.counts.reads += 1;
        let sure = self
            .line(read.conversation)
            .sure
            .get(&read.user)
            .copied()
            .unwrap_or_default();
        if sure.out_before(read.begun) {
            let said = format!(
                "u{} is out of c{}, and may read it",
                read.user, read.conversation
            );
            self.wrong(
                read.at,
                "nothing to a removed participant",
                said,
                Span::of(read.conversation),
            );
        }
    }
}
