//! Shards that change hands between living nodes (ADR 19): what this node does as the one that
//! gives, and what it answers as the one that may take. The steps of the shard itself are in
//! `shard/giving.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use crate::ids::{NodeId, ShardId};
use crate::log::record::Tail;
use crate::log::{PerStream, Token};
use crate::node::custody::opening::{Inner, Ways};
use crate::node::link::handing::{BalancePlan, HandOverAsk, NodeStanding};
use crate::node::owners::custody::Custody;
use crate::shard::command::Command;
use crate::shard::replicas::Following;
use crate::shard::{Gift, Given, ShardHandle};
use crate::telemetry;

/// Shards that this node gives away at the same time. More take as long together, and each of them
/// longer: at 8 half of the shards took no write for 117 ms on two busy cores.
pub(super) const HANDING_MAX: usize = 2;

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

/// Pause before a node that leaves tries again to give away what nobody took.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How often a node that leaves tries to give away each of its shards.
const ROUNDS_MAX: u32 = 3;

/// A gift on its way to the task of its shard.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) gift: Gift,
    /// Told when the shard is served here, or why it is not.
    pub(super) served: oneshot::Sender<Result<(), String>>,
}

/// Takes gifts of one shard, as long as this node stands by for it.
#[derive(Debug)]
pub(super) struct Gifts {
    inner: Arc<Inner>,
    shard: ShardId,
    arriving: mpsc::Receiver<Arriving>,
}

impl Gifts {
    /// From now on the shard may be given to this node.
    pub(super) fn awaited(inner: &Arc<Inner>, shard: ShardId) -> Self {
        let (sender, arriving) = mpsc::channel(1);
        inner
            .gifts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, sender);
        Self {
            inner: Arc::clone(inner),
            shard,
            arriving,
        }
    }

    /// Waits for one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Arriving {
        match self.arriving.recv().await {
            Some(arriving) => arriving,
            // Not so: its sender is kept as long as this is.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Gifts {
    fn drop(&mut self) {
        self.inner
            .gifts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.shard);
    }
}

/// A shard that is being given away now; no second attempt begins meanwhile.
struct Turn<'a>(&'a Inner, ShardId);

impl<'a> Turn<'a> {
    fn of(inner: &'a Inner, shard: ShardId) -> Option<Self> {
        let begins = inner
            .giving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard);
        begins.then_some(Self(inner, shard))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0
            .giving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.1);
    }
}

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
        if !self
            .gifts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&shard)
        {
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
        let sender = self
            .gifts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .cloned();
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

    /// Gives a shard that is owned here to a standby that is in sync. Answers when it is served
    /// there.
    ///
    /// # Errors
    /// One sentence why not. Unless it says that this is not known, the shard is owned here as
    /// before, or somebody else took it.
    async fn give_away(&self, shard: ShardId, to: &NodeId) -> Result<(), String> {
        // Never closed: the error cannot be.
        let _permit = self.handing.acquire().await;
        self.give_in_turn(shard, to).await
    }

    /// The same, of whoever has its permit already.
    async fn give_in_turn(&self, shard: ShardId, to: &NodeId) -> Result<(), String> {
        let _turn = Turn::of(self, shard)
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

    /// Gives away all shards that are owned here, as far as there is somebody to take them, at most
    /// until `deadline`. Takes none from now on.
    pub(super) async fn leave(&self, deadline: Instant) {
        self.leaving.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let mut owned = self.ways.shards.open();
        let all = owned.len();
        let rounds = async {
            for round in 0..ROUNDS_MAX {
                if round > 0 {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                join_all(owned.iter().map(|handle| self.part_with(handle))).await;
                owned = self.ways.shards.open();
                if owned
                    .iter()
                    .all(|handle| handle.standbys_in_sync().is_empty())
                {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout_at(deadline.into(), rounds)
            .await
            .is_ok();
        let (node, kept, seconds) = (
            &self.node,
            self.ways.shards.open().len(),
            begun.elapsed().as_secs_f64(),
        );
        tracing::info!(%node, shards = all, kept, in_time, seconds, "this node has given its shards away");
    }

    /// Gives a shard to one of its standbys in sync: to whoever owns the fewest, else to the next;
    /// to one that is draining only when no other takes it.
    async fn part_with(&self, handle: &ShardHandle) {
        // Before it is looked who owns how many: by its turn, others have got what was given
        // before.
        let _permit = self.handing.acquire().await;
        let mut candidates = handle.standbys_in_sync();
        let owned = self.owned_by_each();
        let table = self.ways.owners.table();
        candidates.sort_by_key(|standby| {
            (
                table.is_draining(standby),
                owned.get(standby).copied().unwrap_or(0),
            )
        });
        for to in candidates {
            match self.give_in_turn(handle.id(), &to).await {
                Ok(()) => return,
                Err(why) => {
                    tracing::info!(node = %self.node, shard = %handle.id(), %to, why, "a shard was not handed over")
                }
            }
            if handle.is_closed() {
                return;
            }
        }
    }

    /// How many shards each node owns, by the table and by what is known beyond it.
    fn owned_by_each(&self) -> BTreeMap<NodeId, usize> {
        let mut owned = BTreeMap::new();
        let count = u16::try_from(self.identity.shards.saturating_sub(1)).unwrap_or(u16::MAX);
        for owner in (0..=count).filter_map(|shard| self.ways.owners.owner_of(ShardId(shard))) {
            *owned.entry(owner).or_default() += 1;
        }
        owned
    }
}
