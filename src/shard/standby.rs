//! A replica of a shard that another node owns: its file is kept up to date from the same streams by the same workers.

use std::path::PathBuf;
use std::time::Instant;

use crate::ids::Epoch;
use crate::shard::log::record::Tail;
use crate::shard::log::{RawEntry, Stream, Token};
use crate::shard::replicas::{Following, ReplicaDigest, ReplicaStatus};
use crate::shard::store::StoreError;
use crate::shard::{OpenError, Opening, ShardHandle};

/// What a takeover goes by.
#[derive(Debug, Clone)]
pub struct Taking {
    /// Token and beat that were watched; the claim is refused when they moved.
    pub expected: (Token, u64),
}

/// A standby. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Standby {
    opening: Opening,
}

impl Standby {
    /// Opens or creates the file and follows the log from there. Claims nothing.
    ///
    /// # Errors
    /// Refused: the file is another cluster's or shard's. Failed: may pass. A damaged or unclean file that fails its
    /// check is no error but [`Following::Damaged`].
    pub async fn open(opening: Opening) -> Result<Self, OpenError> {
        Ok(Self { opening })
    }

    /// The log's tails, as they stand now: followed up to there.
    pub fn saw(&self, _tails: [Tail; 2]) {}

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            shard: self.opening.shard,
            node: self.opening.node.clone(),
            applied: [Tail::EMPTY; 2],
            durable: [Tail::EMPTY; 2],
            max_epoch: Epoch(0),
            following: Following::Live,
        }
    }

    /// Waits until it no longer follows, and says why. Cancel-safe.
    pub async fn ended(&self) -> Following {
        std::future::pending().await
    }

    /// Waits until the file holds a stream up to exactly this tail; false when that is not so by `deadline`, or never will.
    pub async fn holds(&self, _stream: Stream, _tail: Tail, _deadline: Instant) -> bool {
        false
    }

    /// Raw entries after `after`, in order, about `bytes_max` of them; none when the file has another history there.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn entries_after(
        &self,
        _stream: Stream,
        _after: Tail,
        _bytes_max: usize,
    ) -> Result<Vec<RawEntry>, StoreError> {
        Ok(Vec::new())
    }

    /// Digest of its file at one moment. Reads all of it.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn digest(&self) -> Result<ReplicaDigest, StoreError> {
        Err(StoreError("not yet".to_owned()))
    }

    /// Takes the shard over: ends following, claims, restores what the log lost, opens. After an error it is closed.
    ///
    /// # Errors
    /// As [`ShardHandle::open`]. `Elsewhere`: the owner lives, or another was faster.
    pub async fn take_over(self, _taking: Taking) -> Result<ShardHandle, OpenError> {
        ShardHandle::open(self.opening).await
    }

    /// Checkpoints and closes the file, at most until `deadline`.
    pub async fn close(&self, _deadline: Instant) {}

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.opening.path.clone()
    }
}
