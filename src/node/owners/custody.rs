//! Whoever keeps the replicas of this node, as other nodes ask it.

use std::fmt;

use async_trait::async_trait;

use crate::ids::{NodeId, ShardId};
use crate::node::link::handing::{BalancePlan, HandOverAsk, NodeStanding};

/// Whoever keeps a node's replicas, as other nodes ask it.
#[async_trait]
pub(in crate::node) trait Custody: fmt::Debug + Send + Sync + 'static {
    /// Does what is asked about a shard that is to change hands, and answers when it is done; else
    /// one sentence why not.
    async fn hand_over(
        &self,
        shard: ShardId,
        ask: HandOverAsk,
        asker: NodeId,
    ) -> Result<(), String>;

    /// How the node and what it owns stand now.
    fn standing(&self) -> NodeStanding;

    /// What it would move now, if it coordinates. Looks at once, and lets nothing rest, if somebody
    /// of that name asks it to.
    fn balance(&self, asked_by: Option<&str>) -> Option<BalancePlan>;
}
