//! The digest of a replica, as the port tells it.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Offset, ShardId};
use crate::log::PerStream;
use crate::log::record::{Chain, Tail};
use crate::operations::hex::hex;
use crate::shard::replicas::ReplicaDigest;

/// A digest on its way, or one sentence why there is none.
pub(crate) type Digesting = BoxFuture<'static, Result<Option<ShardDigest>, String>>;

/// Body of `/shards/{shard}/digest`: equal tails, equal digests, or one of the replicas is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardDigest {
    /// Number of the shard.
    pub shard: u16,
    /// On which node.
    pub node: NodeId,
    /// `owner` or `standby`.
    pub role: Cow<'static, str>,
    /// Applied tails, of messages and of receipts.
    pub applied: PerStream<AppliedTail>,
    /// SHA-256 in hexadecimal digits.
    pub digest: String,
}

impl ShardDigest {
    /// Of a replica.
    #[must_use]
    pub(crate) fn of(
        shard: ShardId,
        node: NodeId,
        role: &'static str,
        digest: &ReplicaDigest,
    ) -> Self {
        let sha256 = hex(&digest.sha256);
        let role = Cow::Borrowed(role);
        Self {
            shard: shard.0,
            node,
            role,
            applied: digest.applied.each_ref().map(AppliedTail::of),
            digest: sha256,
        }
    }
}

/// Where a stream of a replica stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedTail {
    /// Offset of its last record.
    pub offset: u64,
    /// Chain after it, in hexadecimal digits.
    pub chain: String,
}

impl AppliedTail {
    /// Tells a tail.
    #[must_use]
    pub(crate) fn of(tail: &Tail) -> Self {
        Self {
            offset: tail.offset.0,
            chain: format!("{:?}", tail.chain),
        }
    }

    /// The tail that is told; `None` when that is none.
    #[must_use]
    pub(crate) fn tail(&self) -> Option<Tail> {
        let chain = u128::from_str_radix(&self.chain, 16)
            .ok()
            .filter(|_| self.chain.len() == 32)?;
        Some(Tail {
            offset: Offset(self.offset),
            chain: Chain(chain.to_be_bytes()),
        })
    }
}
