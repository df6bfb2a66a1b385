//! One entry on its way into a stream, and what became of it.

use bytes::Bytes;

use crate::ids::ShardId;
use crate::log::control::Token;
use crate::log::record::Tail;
use crate::log::stream::Stream;

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
