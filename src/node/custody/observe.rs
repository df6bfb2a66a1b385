//! Looks at the control records of all shards that this node stands by for, every 250 ms and at the
//! moment when a watch may end: what was seen is both what the standby may read up to and what its
//! takeover watch goes by.
//!
//! Shards of one place of the log (a master) are looked at together, places side by side: one that
//! does not answer holds up no other, and is not asked again before it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{NodeId, ShardId};
use crate::log::{Control, Identity, LogError, Observed, ShardLog, Token};
use crate::node::context::Setup;
use crate::node::custody::role::rank;
use crate::node::custody::watch::{Sight, Watch};
use crate::shard::Standby;
use crate::shard::replicas::Following;

/// How often the control records are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A sign that is older than this part of T is no reason to act any more.
const SIGN_PART: u32 = 4;

/// What follows from the last look at a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Sign {
    /// Its owner is silent: it may be taken by compare-and-set on this token and beat.
    Due(Token, u64),
    /// The control record names this node as the owner.
    Ours,
}

/// Looks at shards. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::node) struct Observer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    identity: Identity,
    log: Arc<dyn ShardLog>,
    clock: Clock,
    /// `None`: nobody takes a shard.
    takeover_watch: Option<Duration>,
    table: watch::Receiver<Arc<Table>>,
    reach: Arc<Reach>,
    followed: Mutex<BTreeMap<ShardId, Followed>>,
}

#[derive(Debug)]
struct Followed {
    standby: Standby,
    watch: Option<Watch>,
    signs: watch::Sender<Option<(Sign, Duration)>>,
}

/// A shard that is looked at until this is dropped.
#[derive(Debug)]
pub(in crate::node) struct Observation {
    observer: Observer,
    shard: ShardId,
    signs: watch::Receiver<Option<(Sign, Duration)>>,
}

impl Observer {
    pub(in crate::node) fn new(
        setup: &Setup,
        table: watch::Receiver<Arc<Table>>,
        reach: Arc<Reach>,
    ) -> Self {
        let inner = Inner {
            node: setup.id.clone(),
            identity: setup.identity,
            log: Arc::clone(&setup.log),
            clock: setup.clock.clone(),
            takeover_watch: setup.config.shard.takeover_watch,
            table,
            reach,
            followed: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Looks at this standby's shard from now on.
    pub(in crate::node) fn follow(&self, shard: ShardId, standby: Standby) -> Observation {
        let (sender, signs) = watch::channel(None);
        let watch = self.inner.takeover_watch.map(Watch::new);
        self.inner.followed().insert(
            shard,
            Followed {
                standby,
                watch,
                signs: sender,
            },
        );
        Observation {
            observer: self.clone(),
            shard,
            signs,
        }
    }

    /// How many shards are looked at, which this node stands by for.
    pub(in crate::node) fn count(&self) -> usize {
        self.inner.followed().len()
    }

    /// Looks for ever.
    pub(in crate::node) async fn run(self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = BTreeSet::new();
        let mut looks = FuturesUnordered::new();

        loop {
            tokio::select! {
                Some((place, again)) = looks.next() => match again {
                    Some(pause) => looks.push(self.inner.look(place, pause)),
                    None => drop(under_way.remove(&place)),
                },
                _ = every.tick() => {
                    for place in self.inner.places() {
                        if under_way.insert(place) {
                            looks.push(self.inner.look(place, Duration::ZERO));
                        }
                    }
                }
            }
        }
    }
}

impl Inner {
    fn followed(&self) -> MutexGuard<'_, BTreeMap<ShardId, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> BTreeSet<u64> {
        self.followed()
            .keys()
            .map(|shard| self.log.place(*shard))
            .collect()
    }

    /// Looks at the shards of a place after a pause; after which pause to look again, if one of
    /// them may be due before the next tick.
    async fn look(&self, place: u64, pause: Duration) -> (u64, Option<Duration>) {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }

        let shards: Vec<ShardId> = self
            .followed()
            .keys()
            .copied()
            .filter(|shard| self.log.place(*shard) == place)
            .collect();
        let asked = self.clock.since_boot();

        let seen = self.log.observe(&shards).await;
        let received = self.clock.since_boot();
        let table = Arc::clone(&self.table.borrow());
        let dues = shards
            .into_iter()
            .zip(seen)
            .filter_map(|(shard, observed)| self.note(shard, observed, (asked, received), &table));
        let again = dues
            .min()
            .map(|due| due.saturating_sub(received))
            .filter(|left| *left < LOOK_EVERY);
        (place, again)
    }

    /// Hands on what was seen of one shard; when it will be due, if nothing changes until then.
    fn note(
        &self,
        shard: ShardId,
        observed: Result<Observed, LogError>,
        (asked, received): (Duration, Duration),
        table: &Table,
    ) -> Option<Duration> {
        // Nothing seen proves nothing: what is seen next is compared with what was seen last.
        let Observed {
            control: Some(control),
            lineage,
        } = observed.ok()?
        else {
            return None;
        };

        if control.identity != self.identity {
            return None;
        }
        // What cannot be kept is left to others.
        let can_hold = self.reach.can_hold_at(self.log.place(shard));
        let mut followed = self.followed();
        let Followed {
            standby,
            watch,
            signs,
        } = followed.get_mut(&shard)?;

        standby.saw(control.tails);
        let Control {
            token, beat, owner, ..
        } = control;

        let sight = Sight {
            token,
            beat,
            lineage,
            asked,
            received,
        };

        let mut due = None;
        let sign = if owner == self.node {
            Some(Sign::Ours)
        } else {
            let row = table
                .rows
                .get(usize::from(shard.0))
                .map_or(&[][..], Vec::as_slice);
            let status = standby.status();
            let may_take = |of_shard: &mut Watch| {
                let Some(rank) = rank(&self.node, row, &owner, |node| table.is_draining(node))
                else {
                    return false;
                };
                let is_due = of_shard.saw(sight, rank, status.max_epoch);
                due = of_shard.due_at(rank).filter(|at| *at > received);
                is_due && can_hold && status.following == Following::Live
            };
            watch
                .as_mut()
                .is_some_and(may_take)
                .then_some(Sign::Due(token, beat))
        };
        signs.send_if_modified(|known| {
            let unchanged = known.is_none() && sign.is_none();
            *known = sign.map(|sign| (sign, received));
            !unchanged
        });

        due
    }
}

impl Observation {
    /// Waits for a sign. Cancel-safe.
    pub(in crate::node) async fn sign(&mut self) -> Sign {
        loop {
            if let Some(sign) = self.sign_now() {
                return sign;
            }
            if self.signs.changed().await.is_err() {
                // Somebody else follows this shard now.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The sign of the last look, unless that was too long ago.
    pub(in crate::node) fn sign_now(&mut self) -> Option<Sign> {
        let inner = &self.observer.inner;
        let (sign, seen) = (*self.signs.borrow_and_update())?;
        let age = inner.clock.since_boot().saturating_sub(seen);
        (age <= inner
            .takeover_watch
            .map_or(LOOK_EVERY, |watch| watch / SIGN_PART))
        .then_some(sign)
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.observer.inner.followed().remove(&self.shard);
    }
}
