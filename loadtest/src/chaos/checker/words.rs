//! What messages say: after an edit no read shows what was there before, after a deletion nothing
//! shows anything, and nothing says what nobody wrote. Only the author of a message edits it, and
//! begins the next edit when the one before has ended, so that later ones have higher numbers.

use std::collections::HashMap;

use crate::chaos::checker::Checker;
use crate::chaos::checker::floor::Floor;
use crate::chaos::checker::operations::State;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Act, Item, Micros, Read, What, Words};

/// The rules that these break.
const ERASED: &str = "what was erased is not shown again";
const NEWEST: &str = "what a message said before an edit is not shown again";
const WRITTEN: &str = "a message says what was written";

/// What is known of the words of one message that was to be changed.
#[derive(Debug, Default)]
struct Changes {
    /// The edit that was known to be done, by its operation.
    edits: Floor,
    /// Since when it is known to be erased.
    erased: Option<Micros>,
    /// Its deletion was asked for.
    is_condemned: bool,
    /// The words of each edit that was seen.
    said: HashMap<u64, u64>,
}

/// What is known of the words of one conversation's messages, by their seqs.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Of those that were to be changed.
    changes: HashMap<u64, Changes>,
    /// The words that each was sent with.
    first: HashMap<u64, u64>,
}

impl Contents {
    /// An edit is done.
    pub(crate) fn edited(&mut self, at: Micros, message: u64, op: u64) {
        let changes = self.changes.entry(message).or_default();
        changes.edits.raise(at, op);
    }

    /// A deletion was asked for.
    pub(crate) fn condemned(&mut self, message: u64) {
        self.changes.entry(message).or_default().is_condemned = true;
    }

    /// A message is erased.
    pub(crate) fn erased(&mut self, at: Micros, message: u64) {
        let erased = &mut self.changes.entry(message).or_default().erased;
        erased.get_or_insert(at);
    }

    /// Whether a message is erased.
    pub(crate) fn is_erased(&self, message: u64) -> bool {
        let changes = self.changes.get(&message);
        changes.is_some_and(|changes| changes.erased.is_some())
    }

    /// Whether it was asked for that a message is erased.
    pub(crate) fn is_condemned(&self, message: u64) -> bool {
        let changes = self.changes.get(&message);
        changes.is_some_and(|changes| changes.is_condemned)
    }

    /// What these words say; false when others saw them say something else.
    fn says(&mut self, message: u64, words: Words, said: u64) -> bool {
        let known = match words {
            Words::First => self.first.entry(message),
            Words::Edit(op) => self.changes.entry(message).or_default().said.entry(op),
            Words::Erased => return true,
        };
        *known.or_insert(said) == said
    }

    /// What is wrong with words that were asked for at that moment.
    fn judge(&self, message: u64, words: Words, begun: Micros) -> Option<(&'static str, String)> {
        let Some(changes) = self.changes.get(&message) else {
            return (words == Words::Erased).then(|| {
                let said = "it is shown without words, and nobody changed it";
                (WRITTEN, said.to_owned())
            });
        };

        let known = changes.edits.before(begun);
        let shown = match words {
            Words::Erased => return None,
            Words::First => 0,
            Words::Edit(op) => op,
        };
        if changes.erased.is_some_and(|erased| erased < begun) {
            let said = format!("it is shown with {words:?}, and was known to be deleted before");
            return Some((ERASED, said));
        }
        (shown < known).then(|| {
            let said = format!("it is shown with {words:?}, and edit-{known} was known before");
            (NEWEST, said)
        })
    }
}

/// The message whose words an item shows.
fn shown_by(item: &Item) -> Option<u64> {
    match item.what {
        What::Message { .. } => Some(item.seq),
        What::Edited { message } => Some(message),
        _ => None,
    }
}

impl Checker {
    /// Somebody saw this item, whatever it is: what it says is done.
    pub(super) fn words_seen(&mut self, at: Micros, conversation: u32, item: &Item) {
        let contents = &mut self.line(conversation).contents;
        if let What::Deleted { message } = item.what {
            contents.erased(at, message);
        }
        let Some(message) = shown_by(item) else {
            return;
        };

        let mut wrong = (!contents.says(message, item.words, item.said))
            .then(|| format!("{:?} were seen to say something else", item.words));
        if let Words::Edit(op) = item.words {
            contents.edited(at, message, op);
            wrong = wrong.or_else(|| self.not_written(op, (conversation, message)));
        }
        if let Some(said) = wrong {
            let said = format!("seq {message} of c{conversation}: {said}");
            self.wrong(at, WRITTEN, said, Span::at(conversation, message));
        }
    }

    /// What is wrong with an edit that was seen.
    fn not_written(&mut self, op: u64, (conversation, message): (u32, u64)) -> Option<String> {
        let operation = self.operations.get(op);
        let is_meant = |act: &Act| *act == Act::Edit { seq: message };
        match operation {
            Some(edit) if edit.conversation == conversation && is_meant(&edit.act) => {
                let refused = edit.state == State::Failed;
                refused.then(|| format!("edit-{op} was refused, and is shown"))
            }
            _ => Some(format!("edit-{op} is none of it")),
        }
    }

    /// A read without a mark showed these.
    pub(super) fn words_read(&mut self, read: Read, items: &[Item]) {
        if !read.stale {
            self.words_shown((read.begun, read.at), read.conversation, items, "read");
        }
    }

    /// These were shown to somebody who asked at the first of these moments.
    pub(super) fn words_shown(
        &mut self,
        (begun, at): (Micros, Micros),
        conversation: u32,
        items: &[Item],
        how: &str,
    ) {
        for item in items {
            let Some(message) = shown_by(item) else {
                continue;
            };
            // An edit that is shown without words is one that another followed; only a message has
            // none for one reason alone.
            let is_edit = matches!(item.what, What::Edited { .. });
            let line = self.line(conversation);
            let is_groundless = |rule: &str| rule == WRITTEN && (is_edit || how != "read");
            let found = line.contents.judge(message, item.words, begun);
            if let Some((rule, said)) = found.filter(|(rule, _)| !is_groundless(rule)) {
                let said = format!("seq {} of c{conversation}, {how}: {said}", item.seq);
                self.wrong(at, rule, said, Span::at(conversation, message));
            }
        }
    }
}
