//! What every log promises: [`ShardLog`]. `conformance` is the suite that every implementation
//! passes.
//!
//! ```text
//!            trim point            applied            committed (= tail, unless an append is in doubt)
//!                │                    │                   │
//!   ─ trimmed ───┤▓▓▓▓▓▓▓ entries ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓┤
//! ```
//!
//! **What an acknowledged append promises.** [`AppendOutcome::Appended`] or
//! [`AppendOutcome::AlreadyDone`] is answered only when the entry has reached the commit level of
//! the deployment (embedded: on disk, fsynced). From then on every `read` returns it, until it is
//! trimmed.
//!
//! **Order.** A stream is one sequence of entries without a hole; an append succeeds only right
//! after the tail that the appender named, offset *and* chain.
//!
//! **Fence.** An append, trim or renewal under a token that is not the current one has no effect
//! and is answered `Fenced`. Only `claim` changes the token.
//!
//! **In doubt.** [`AppendError::InDoubt`] (and `Unanswered`) says that the entry may be there now,
//! or may appear later. The appender MUST send the same batch again, unchanged, until it gets a
//! definite answer, and MUST NOT append anything else to that stream under that token before.
//! [`AppendError::NotWritten`] says that it is surely not there and never will be.
//! [`AppendError::Full`] is one or the other, and tells that there is no space.
//!
//! **Cancel safety.** Dropping the future of `append` or `claim` leaves its outcome in doubt. The
//! others may be dropped.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ids::{Offset, ShardId};
use crate::log::batch::{AppendError, AppendOutcome, Batch};
use crate::log::control::{Claim, ClaimOutcome, Control, Observed, Token};
use crate::log::stream::Stream;

/// Anything else that went wrong with the log; the call may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Nothing answered in time, or nothing is known that would answer.
    #[error("log: {0}")]
    Unanswered(String),
    /// It has no space: its disk, or its memory, is full.
    #[error("log: {0}")]
    Full(String),
    /// It does not let this process in, or does not let it do this.
    #[error("log: {0}")]
    Denied(String),
    /// It answered what the contract does not allow, or holds what nobody of this cluster wrote.
    #[error("log: {0}")]
    Malformed(String),
    /// It was closed.
    #[error("log: the log is closed")]
    Closed,
    /// Anything else.
    #[error("log: {0}")]
    Failed(String),
}

/// An entry as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Offset of its last record.
    pub last: Offset,
    /// The entry.
    pub bytes: Bytes,
}

/// The contract; see the head of this file.
#[async_trait]
pub trait ShardLog: fmt::Debug + Send + Sync + 'static {
    /// Which part of the log a shard's appends go to (a master). Batches of one place share a
    /// cycle; places do not wait for each other. May change at any time; only speed depends on it.
    fn place(&self, _shard: ShardId) -> u64 {
        0
    }

    /// The control record, or `None` when the shard was never claimed.
    async fn control(&self, shard: ShardId) -> Result<Option<Control>, LogError>;

    /// The control records of these shards, in that order, each read now and together with the
    /// lineage of who answered. One that does not answer holds up no other for longer than a read
    /// may take.
    async fn observe(&self, shards: &[ShardId]) -> Vec<Result<Observed, LogError>> {
        let mut seen = Vec::with_capacity(shards.len());
        for &shard in shards {
            seen.push(self.control(shard).await.map(|control| Observed {
                control,
                lineage: 0,
            }));
        }
        seen
    }

    /// Takes a shard by compare-and-set. The first claim of a shard creates its two streams, empty.
    async fn claim(&self, claim: Claim) -> Result<ClaimOutcome, LogError>;

    /// Appends one cycle: at most one batch for each stream, of any shards. Answers in the order of
    /// `cycle`. The batches are independent of each other: one may be fenced while the others are
    /// appended.
    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>>;

    /// Bumps the beat of each shard. In the order given, each for itself: true when the token was
    /// current. One that has no answer takes none from the others.
    async fn renew(&self, holds: &[(ShardId, Token)]) -> Vec<Result<bool, LogError>>;

    /// Entries whose last offset is above `after`, in order, from the lowest, up to about
    /// `bytes_max` (at least one, if there is one). When entries right after `after` were trimmed,
    /// the first one returned starts later: the reader sees a hole.
    async fn read(
        &self,
        shard: ShardId,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, LogError>;

    /// Drops entries whose last offset is at or below `upto`; never the control record or its
    /// tails. Without effect under a token that is not current.
    async fn trim(
        &self,
        shard: ShardId,
        token: Token,
        stream: Stream,
        upto: Offset,
    ) -> Result<(), LogError>;
}
