//! What this node asks of whoever keeps the replicas of other nodes: to take a shard, to give one
//! away, how they stand.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Instant;

use futures_util::future::join_all;

use crate::ids::{NodeId, ShardId};
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::handing::{BalancePlan, HandOverAsk, NodeStanding};
use crate::node::owners::Owners;
use crate::node::owners::custody::Custody;

impl Owners {
    /// From now on other nodes can ask about this node, and its shards change hands. To be called
    /// once.
    pub(in crate::node) fn kept_by(&self, custody: Weak<dyn Custody>) {
        // Whoever was told first stays.
        drop(self.inner.local.custody.set(custody));
    }

    /// Asks a node something of a shard that is to change hands. One sentence why it is not done,
    /// or not known to be.
    pub(in crate::node) async fn ask_hand_over(
        &self,
        node: &NodeId,
        shard: ShardId,
        ask: HandOverAsk,
        deadline: Instant,
    ) -> Result<(), String> {
        match self
            .ask_node(node, Body::HandOver { shard, ask }, deadline)
            .await
        {
            Some(Outcome::HandOver(done)) => done,
            Some(_) => Err(format!("{node} answered something else")),
            None => Err(format!(
                "{node} did not answer, or is of a version that hands nothing over"
            )),
        }
    }

    /// What the coordinator would move now, if one answers in time. See [`Custody::balance`].
    pub(in crate::node) async fn ask_balance(
        &self,
        by: Option<&str>,
        deadline: Instant,
    ) -> Option<BalancePlan> {
        let table = self.table();
        let asked = table.nodes.keys().map(|node| async move {
            match self
                .ask_node(
                    node,
                    Body::Balance {
                        asked_by: by.map(str::to_owned),
                    },
                    deadline,
                )
                .await
            {
                Some(Outcome::Balance(plan)) => plan,
                _ => None,
            }
        });

        join_all(asked)
            .await
            .into_iter()
            .flatten()
            .next()
            .map(|plan| *plan)
    }

    /// How each node that the table names stands; `None` for one that does not answer in time.
    pub(in crate::node) async fn standings(
        &self,
        deadline: Instant,
    ) -> BTreeMap<NodeId, Option<NodeStanding>> {
        let table = self.table();
        let asked = table.nodes.keys().map(|node| async move {
            let standing = match self.ask_node(node, Body::Standing, deadline).await {
                Some(Outcome::Standing(standing)) => Some(*standing),
                _ => None,
            };
            (node.clone(), standing)
        });
        join_all(asked).await.into_iter().collect()
    }
}
