//! What sessions heard, in counts.

use std::collections::BTreeMap;

/// What one session heard, or all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// Messages of this run, each counted once.
    pub(crate) messages: u64,
    /// Frames for a seq that was there before.
    pub(crate) doubled: u64,
    /// Frames that came after a later one.
    pub(crate) out_of_order: u64,
    /// Seqs that were not there yet when a later one came.
    pub(crate) skipped: u64,
    /// Seqs that `gap` frames said will not come here.
    pub(crate) told_gaps: u64,
    /// `gap` frames that took something back.
    pub(crate) taken_back: u64,
    /// Seqs that never came.
    pub(crate) missing: u64,
    /// Sockets that ended, by close code.
    pub(crate) closes: BTreeMap<u16, u64>,
    /// Sessions that went on after that.
    pub(crate) resumed: u64,
}

impl Heard {
    /// Takes in what another session heard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.skipped += other.skipped;
        self.told_gaps += other.told_gaps;
        self.taken_back += other.taken_back;
        self.missing += other.missing;
        self.resumed += other.resumed;
        for (code, count) in &other.closes {
            *self.closes.entry(*code).or_default() += count;
        }
    }
}
