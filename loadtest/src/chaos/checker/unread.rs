//! What users have not read, when all is quiet: messages of others that are not deleted, behind
//! what they read and behind their own entry.

use crate::chaos::checker::Checker;
use crate::chaos::checker::line::Line;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Micros, What};

/// More are told as so many.
const COUNTED_MAX: usize = 1_000;

impl Line {
    /// Messages that a user has not read, of what is known.
    fn unread(&self, user: u32) -> u64 {
        let [_, read] = self.marks.get(&user).map_or([0, 0], |marks| {
            [0, 1].map(|i| marks.get(i).map_or(0, |floor| floor.before(Micros::MAX)))
        });
        let since = read.max(self.stay_of(user, self.last()).unwrap_or(0));
        let counts = |seq: &u64| match self.at(*seq) {
            Some(What::Message { source, .. }) => *source != user && !self.contents.is_erased(*seq),
            _ => false,
        };
        let count = (since + 1..=self.last()).filter(counts).take(COUNTED_MAX);
        u64::try_from(count.count()).unwrap_or(u64::MAX)
    }
}

impl Checker {
    /// A user was told so many in their list, when all is quiet and all was read.
    pub(super) fn counted(&mut self, at: Micros, (user, conversation): (u32, u32), unread: u64) {
        let expected = self.line(conversation).unread(user);
        if unread != expected {
            let said = format!("u{user} has {unread} unread in c{conversation}; {expected} are");
            let rule = "counts are exact in the end";
            self.wrong(at, rule, said, Span::of(conversation));
        }
    }
}
