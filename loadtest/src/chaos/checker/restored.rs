//! What a backup has: everything that anybody was shown before it began, and nothing that the
//! cluster has not.

use crate::chaos::checker::Checker;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Item, Micros};

impl Checker {
    /// A backup is about to begin.
    pub(super) fn backup_begins(&mut self) {
        self.backed_up = self
            .lines
            .iter()
            .map(|(conversation, line)| (*conversation, line.last()))
            .collect();
    }

    /// A page of what was restored of it; `end` when nothing follows.
    pub(super) fn restored(
        &mut self,
        (at, conversation): (Micros, u32),
        after: u64,
        items: &[Item],
        end: bool,
    ) {
        let mut last = after;
        for item in items {
            if item.seq != last + 1 {
                let said = format!(
                    "c{conversation} as it was restored: seq {} follows {last}",
                    item.seq
                );
                self.wrong(at, "seqs are dense", said, Span::at(conversation, last + 1));
            }
            last = item.seq;
            // It is no older than what others see, and no other.
            self.see(at, conversation, item);
        }

        let known = self.backed_up.get(&conversation).copied().unwrap_or(0);
        if end && last < known {
            let said = format!(
                "c{conversation} ends at seq {last} in what was restored; seq {known} was known \
                 before the backup began"
            );
            self.wrong(
                at,
                "a backup has what was known before it began",
                said,
                Span::at(conversation, last + 1),
            );
        }
    }
}
