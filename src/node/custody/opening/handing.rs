//! What this node answers when others ask it to take a shard, to give one away, or how it stands
//! (ADR 19).

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::ids::{NodeId, ShardId};
use crate::log::Token;
use crate::node::custody::opening::common::{Inner, Ways};
use crate::node::custody::opening::gifts::Arriving;
use crate::node::link::handing::{BalancePlan, HandOverAsk, NodeStanding};
use crate::node::owners::custody::Custody;
use crate::shard::replicas::Following;
use crate::shard::{Gift, ShardHandle};

#[async_trait]
impl Custody for Inner {
    async fn hand_over(
        &self,
        shard: ShardId,
        ask: HandOverAsk,
        asker: NodeId,
    ) -> Result<(), String> {
        match ask {
            HandOverAsk::Ready => self.would_take(shard),
            HandOverAsk::Take {
                epoch,
                nonce,
                tails,
            } => {
                self.take(
                    shard,
                    Gift {
                        from: asker,
                        token: Token { epoch, nonce },
                        tails,
                    },
                )
                .await
            }
            HandOverAsk::Give { to } => self.give_away(shard, &to).await,
        }
    }

    fn standing(&self) -> NodeStanding {
        let Ways {
            owners,
            shards,
            observer,
            hub,
            ..
        } = &self.ways;

        let cut_off = owners.reach().is_cut_off();
        NodeStanding {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: !cut_off && !self.leaving.load(Ordering::SeqCst),
            cut_off,
            sessions: u64::try_from(hub.sessions()).unwrap_or(u64::MAX),
            standbys: u64::try_from(observer.count()).unwrap_or(u64::MAX),
            shards: shards.open().iter().map(ShardHandle::status).collect(),
            files: Some(u64::try_from(self.files()).unwrap_or(u64::MAX)),
        }
    }

    fn balance(&self, asked_by: Option<&str>) -> Option<BalancePlan> {
        let balancer = self.ways.balancer.as_ref()?;
        let Some(by) = asked_by else {
            return balancer.plan();
        };
        let plan = balancer.look_now()?;
        tracing::info!(node = %self.node, by, steps = plan.steps.len(), "somebody wants the balance looked at now");
        Some(plan)
    }
}

impl Inner {
    /// Whether this node would take a shard now, and if not, why.
    fn would_take(&self, shard: ShardId) -> Result<(), String> {
        let node = &self.node;
        if self.leaving.load(Ordering::SeqCst) || self.life.opening.is_cancelled() {
            return Err(format!("{node} is about to stop"));
        }
        if !self.awaited.has(shard) {
            return Err(format!("{node} does not stand by for shard {shard}"));
        }
        if !self.ways.owners.reach().can_hold_at(self.log.place(shard)) {
            return Err(format!("{node} does not reach the log of shard {shard}"));
        }

        match self
            .ways
            .owners
            .own(shard)
            .map(|own| own.status().following)
        {
            Some(Following::Live) => Ok(()),
            Some(Following::Behind | Following::Diverged(_) | Following::Damaged(_)) | None => Err(
                format!("the replica of shard {shard} at {node} does not follow"),
            ),
        }
    }

    /// Has the task of a shard take what its owner gave. Answers when it is served here.
    async fn take(&self, shard: ShardId, gift: Gift) -> Result<(), String> {
        let sender = self.awaited.way_to(shard);
        let stands_by_no_more =
            || format!("{} does not stand by for shard {shard} any more", self.node);
        let sender = sender.ok_or_else(stands_by_no_more)?;
        let (served, answer) = oneshot::channel();
        sender
            .try_send(Arriving { gift, served })
            .map_err(|_full| stands_by_no_more())?;
        answer
            .await
            .unwrap_or_else(|_ended| Err(stands_by_no_more()))
    }
}
