//! The log: per shard two streams of entries and one control record that fences them. This file is
//! the contract; [`embedded`] is the implementation for one process, and `conformance` is the suite
//! that every implementation passes.
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

use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::Tail;

pub use stream::{PerStream, Stream};

pub mod lane;

pub(crate) mod lease;

pub mod embedded;

pub mod redis;

pub mod record;

mod stream;

#[cfg(test)]
pub mod conformance;

#[cfg(test)]
pub(crate) mod double;

/// What its holder owns a shard by. Two tokens of one epoch are told apart by the nonce.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// Number of the ownership.
    pub epoch: Epoch,
    /// Random, so that after a rollback of the log two owners never hold the same token.
    pub nonce: u64,
}

impl Token {
    /// A token of that epoch with a fresh nonce.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            nonce: rand::random(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.epoch, self.nonce)
    }
}

/// What makes a cluster this cluster; fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// Number of shards S, a power of two up to 65,536.
    pub shards: u32,
}

/// A shard's control record (`ctl`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Of which cluster, with how many shards.
    pub identity: Identity,
    /// The current token.
    pub token: Token,
    /// Who holds it.
    pub owner: NodeId,
    /// Grows with each append and renewal; a watcher that sees it stand still may suspect the
    /// owner.
    pub beat: u64,
    /// The tail of each stream.
    pub tails: PerStream<Tail>,
}

/// A control record as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The record, or `None` when the shard was never claimed.
    pub control: Option<Control>,
    /// Of the server process that answered. When it differs from the last one's, what was seen
    /// before proves nothing about what came after: a beat may have been lost between them.
    pub lineage: u64,
}

/// A wish to own a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which shard.
    pub shard: ShardId,
    /// The control record must hold exactly this token and beat, or not exist.
    pub expected: Option<(Token, u64)>,
    /// The new token; its epoch must be higher than that of the current one.
    pub token: Token,
    /// Who is to own it: whoever claims, or the one to whom an owner gives its shard.
    pub owner: NodeId,
    /// Written at the first claim; compared at each later one.
    pub identity: Identity,
    /// Tails that a first claim begins with: [`Tail::EMPTY`] for a new shard, else where the
    /// entries that will be re-appended begin. A later claim keeps the tails that are there.
    pub begin_at: PerStream<Tail>,
    /// Where the streams must end, for an owner that gives its shard away; `None` when that does
    /// not matter.
    pub ends_at: Option<PerStream<Tail>>,
}

/// Answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The token is set, at commit level. The control record after it.
    Claimed(Control),
    /// Nothing was changed: the control record is not as expected (also when the epoch would not
    /// rise, or the identity differs). What is there, if anything.
    Refused(Option<Control>),
}

/// One sealed entry on its way into a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which shard.
    pub shard: ShardId,
    /// Which stream.
    pub stream: Stream,
    /// The appender's token.
    pub token: Token,
    /// The tail the stream must have.
    pub expected: Tail,
    /// The tail after it, as sealed into `bytes`.
    pub tail: Tail,
    /// The entry.
    pub bytes: Bytes,
}

/// Definite answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Written now, at commit level.
    Appended,
    /// Was written before under the same token: the stream's tail is exactly this batch's. At
    /// commit level.
    AlreadyDone,
    /// Not written: another token is current.
    Fenced {
        /// The current token.
        current: Token,
    },
    /// Not written: the token is current but the stream has another tail. Entries were lost (their
    /// appender re-appends them verbatim), or the appender has a bug.
    TailMismatch {
        /// The stream's tail.
        found: Tail,
    },
}

/// An append without a definite outcome, or surely without effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Surely not there, and never will be: the caller may refuse the commands of the batch.
    #[error("not written: {0}")]
    NotWritten(String),
    /// Surely not acknowledged by a second copy; in doubt otherwise.
    #[error("not replicated: {0}")]
    NotReplicated(String),
    /// May be there, or appear later: send the same batch again.
    #[error("in doubt: {0}")]
    InDoubt(String),
    /// The same, because the place of the log did not answer: so will fare what is sent there for
    /// other shards.
    #[error("in doubt, without an answer: {0}")]
    Unanswered(String),
    /// The place of the log has no space, on its disk or in its memory: so will fare what is sent
    /// there for other shards, until it has some again.
    #[error("no space: {reason}")]
    Full {
        /// What the log said.
        reason: String,
        /// As [`AppendError::Unanswered`]; else as [`AppendError::NotWritten`].
        in_doubt: bool,
    },
}

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
