//! What a run had, in numbers.

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Operations that ended.
    pub(crate) operations: u64,
    /// Messages that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Surely not done.
    pub(crate) failed: u64,
    /// Of unknown outcome, also after their retries.
    pub(crate) unknown: u64,
    /// Acknowledged by a retry after an attempt of unknown outcome.
    pub(crate) retried: u64,
    /// Reads without a mark, and with one.
    pub(crate) reads: u64,
    /// Marked as possibly old.
    pub(crate) stale: u64,
    /// Changes that sessions were sent.
    pub(crate) frames: u64,
    /// Spans that sessions were not sent, and why.
    pub(crate) gaps: u64,
    /// Of those, `replaced`.
    pub(crate) replaced: u64,
    /// All violations.
    pub(crate) violations: u64,
}
