//! A shard that is owned here is given to a standby that is in sync (ADR 19). The steps of the
//! shard itself are in `shard/giving.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::ids::{NodeId, ShardId};
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::node::custody::opening::common::Inner;
use crate::node::link::handing::HandOverAsk;
use crate::shard::command::Command;
use crate::shard::{Given, ShardHandle};
use crate::telemetry;

/// Longest wait for a standby to say whether it would take a shard.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// How long a standby may take to catch up, before the shard stands still.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);

/// How long a shard may take to finish what is under way, and then its standby to hold that: it
/// takes no write meanwhile.
const STILL_WITHIN: Duration = Duration::from_secs(1);

/// Longest wait for the new owner to serve. Nothing here hangs on its answer.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// Budget of marks that are sent on to the new owner.
const MARKS_WITHIN: Duration = Duration::from_secs(2);

impl Inner {
    /// Gives a shard that is owned here to a standby that is in sync. Answers when it is served
    /// there.
    ///
    /// # Errors
    /// One sentence why not. Unless it says that this is not known, the shard is owned here as
    /// before, or somebody else took it.
    pub(super) async fn give_away(&self, shard: ShardId, to: &NodeId) -> Result<(), String> {
        let _permit = self.giving.permit().await;
        self.give_in_turn(shard, to).await
    }

    /// The same, of whoever has its permit already.
    pub(super) async fn give_in_turn(&self, shard: ShardId, to: &NodeId) -> Result<(), String> {
        let _turn = self
            .giving
            .begin(shard)
            .ok_or_else(|| format!("shard {shard} is being handed over already"))?;
        let handle = self.ways.owners.local(shard);
        let handle = handle.ok_or_else(|| format!("{} does not own shard {shard}", self.node))?;
        let given = self.give(&handle, to).await;
        let result = match &given {
            Ok(()) => "given",
            Err(_) if handle.is_closed() => "unserved",
            Err(_) => "kept",
        };
        telemetry::HAND_OVERS.add(1, &[("node", &self.node.0), ("result", result)]);
        given
    }

    async fn give(&self, handle: &ShardHandle, to: &NodeId) -> Result<(), String> {
        let (node, shard, owners) = (&self.node, handle.id(), &self.ways.owners);
        if !handle.standbys_in_sync().contains(to) {
            return Err(format!(
                "{to} is no standby of shard {shard} that is in sync"
            ));
        }
        owners
            .ask_hand_over(to, shard, HandOverAsk::Ready, Instant::now() + READY_WITHIN)
            .await?;
        if !self
            .holds(shard, to, handle.tails(), CAUGHT_UP_WITHIN)
            .await
        {
            return Err(format!("{to} does not catch up with shard {shard}"));
        }

        let begun = Instant::now();
        let still = handle.stand_still(begun + STILL_WITHIN).await;
        let still =
            still.map_err(|error| format!("shard {shard} does not come to a stand: {error}"))?;
        let tails = still.tails();
        if !self.holds(shard, to, tails, STILL_WITHIN).await {
            return Err(format!("{to} does not hold what shard {shard} wrote last"));
        }
        // Before anybody is sent there: what is parked here asks anew in the moment when the shard
        // ends.
        owners.moved(shard, to.clone());
        let (token, marks) = match still.give(self.log.as_ref(), to).await {
            Given::Away { token, marks } => (token, marks),
            Given::Kept(why) => return Err(format!("shard {shard} stays: {why}")),
            Given::InDoubt(why) => {
                return Err(format!(
                    "whether shard {shard} was given to {to} is not known: {why}"
                ));
            }
            Given::Taken => return Err(format!("shard {shard} was taken meanwhile")),
        };

        let take = HandOverAsk::take(token, tails);
        let served = owners
            .ask_hand_over(to, shard, take, Instant::now() + SERVED_WITHIN)
            .await;
        let seconds = begun.elapsed().as_secs_f64();
        telemetry::HAND_OVER_SECONDS.record(seconds, &[("node", &node.0)]);
        tracing::info!(%node, %shard, %to, epoch = %token.epoch, seconds, ?served, "a shard was handed over");
        if !marks.is_empty() {
            let marks = owners.execute(
                shard,
                Command::Delivered(marks),
                Instant::now() + MARKS_WITHIN,
            );
            self.life.spawn(async move { drop(marks.await) });
        }
        served
    }

    /// Whether the file of a standby holds both streams up to there, within that time.
    async fn holds(
        &self,
        shard: ShardId,
        to: &NodeId,
        tails: PerStream<Tail>,
        within: Duration,
    ) -> bool {
        let (replicas, deadline) = (self.ways.owners.replicas(), Instant::now() + within);
        let asked = tails.into_iter().map(|(stream, tail)| {
            let (replicas, to) = (Arc::clone(&replicas), std::slice::from_ref(to));
            async move { replicas.hold(shard, to, stream, tail, deadline).await }
        });
        join_all(asked).await.into_iter().all(|holds| holds)
    }
}
