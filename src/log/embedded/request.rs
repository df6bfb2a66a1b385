//! What the writer is asked for.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{Offset, ShardId};
use crate::log::{AppendError, AppendOutcome, Batch, Claim, ClaimOutcome, LogError, Stream, Token};

/// Answer to an append: one for each batch.
pub(super) type AppendAnswers = Vec<Result<AppendOutcome, AppendError>>;

/// A wish with the way back.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        batches: Vec<Batch>,
        answer: oneshot::Sender<AppendAnswers>,
    },
    Claim {
        claim: Claim,
        answer: oneshot::Sender<Result<ClaimOutcome, LogError>>,
    },
    Renew {
        holds: Vec<(ShardId, Token)>,
        answer: oneshot::Sender<Result<Vec<bool>, LogError>>,
    },
    Trim {
        target: Trim,
        answer: oneshot::Sender<Result<(), LogError>>,
    },
    Swap {
        name: String,
        expected: u64,
        body: Bytes,
        answer: oneshot::Sender<Result<bool, LogError>>,
    },
    /// Empty the segments that have to go, if there are any.
    Sweep,
    /// Finish what is queued, then end.
    Close,
}

impl Request {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { batches, .. } => batches.iter().map(|batch| batch.bytes.len()).sum(),
            Self::Swap { body, .. } => body.len(),
            Self::Claim { .. }
            | Self::Renew { .. }
            | Self::Trim { .. }
            | Self::Sweep
            | Self::Close => 0,
        }
    }
}

/// What to trim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    pub(super) shard: ShardId,
    pub(super) token: Token,
    pub(super) stream: Stream,
    pub(super) upto: Offset,
}
