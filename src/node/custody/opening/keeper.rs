//! The task of one shard: looks what the shard's row and control record make of this node, does
//! that until it changes, and begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cluster::table::Table;
use crate::ids::ShardId;
use crate::node::custody::opening::common::{Inner, Told};
use crate::node::custody::opening::surplus::{self, Surplus};
use crate::node::custody::opening::tries::{Tries, first_outcome};
use crate::node::custody::role::{Role, role};
use crate::node::custody::rows;
use crate::node::outbox;
use crate::shard::file::snapshot::drop_file;
use crate::shard::replicas::Following;
use crate::shard::{Disposition, OpenError, ShardHandle};

/// Time for closing a shard that was opened too late to be of use.
pub(super) const CLOSE_UNUSED_MAX: Duration = Duration::from_secs(2);

/// How long a replica that no row names any more keeps its file.
const SURPLUS_KEPT: Duration = Duration::from_secs(3_600);

/// How often a node that is draining looks whether others have what a file of its own has.
const PROVEN_EVERY: Duration = Duration::from_secs(2);

/// Pause before a shard that was left is looked at again, so that what ended it can be seen in the
/// log.
const PAUSE_AFTER: Duration = Duration::from_millis(200);

/// What is wrong with the file that could not be opened, if it is the file.
pub(super) fn fault_of(why: &OpenError) -> Option<Following> {
    match why.disposition() {
        Disposition::Reseed(following) => Some(following),
        Disposition::Wait
        | Disposition::Refuse
        | Disposition::RefuseNode
        | Disposition::Elsewhere => None,
    }
}

/// One shard and how its attempts went.
pub(super) struct Keeper {
    pub(super) inner: Arc<Inner>,
    pub(super) shard: ShardId,
    /// Told once how the first attempts ended.
    first: Option<Told>,
    tries: Tries,
    /// Whoever gave the shard to this node waits until it is served.
    pub(super) given: Option<oneshot::Sender<Result<(), String>>>,
    /// Its file is of no use, though the control record names this node: another replica is to take
    /// the shard over.
    unfit: bool,
}

/// Keeps a shard until the node takes no more.
pub(super) async fn keep(inner: Arc<Inner>, shard: ShardId, first: Told) {
    let stop = inner.life.opening.clone();
    let mut keeper = Keeper {
        inner,
        shard,
        first: Some(first),
        tries: Tries::default(),
        given: None,
        unfit: false,
    };

    loop {
        let pause = match keeper.step().await {
            Ok(()) => PAUSE_AFTER,
            Err(why) => keeper.failed(&why),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Keeper {
    /// Does what is to be done now, until that changes.
    async fn step(&mut self) -> Result<(), OpenError> {
        let row = self.inner.row(self.shard);
        let control = self.inner.log.control(self.shard).await?;
        if control.is_some() {
            self.inner.claimed.add([self.shard]);
        }

        let owner = control.map(|control| control.owner);
        let role = role(&self.inner.node, &row, owner.as_ref());
        let unfit = self.unfit;
        self.unfit &= role == Role::Owns;
        match role {
            Role::Owns if unfit => Ok(()),
            Role::Owns => self.own(row.len() > 1, owner.is_none()).await,
            // Another has taken it over, and has what this one lacks.
            Role::StandsBy if unfit => self.seed().await,
            Role::StandsBy => {
                if let (Some(owner), Some(_)) = (owner, self.inner.first_attempts_max) {
                    self.refuse_elsewhere(&owner)?;
                }
                self.stand_by().await
            }
            Role::Nothing => {
                self.inner.refused().remove(&self.shard);
                self.settled();
                self.be_nothing().await
            }
        }
    }

    /// Where attempts have a limit, a shard that another node owns ends the start.
    fn refuse_elsewhere(&self, owner: &crate::ids::NodeId) -> Result<(), OpenError> {
        if self.first.is_none() {
            return Ok(());
        }
        let (shard, node) = (self.shard, &self.inner.node);
        Err(OpenError::Elsewhere(format!(
            "shard {shard}: owned by {owner}, and this is {node}"
        )))
    }

    /// Opens the shard and serves it until it ends. With a file that is of no use it is left to the
    /// other replicas, if there are any: this node stands by once one of them has taken it over.
    /// One that `begins` has no control record so far.
    async fn own(&mut self, others: bool, begins: bool) -> Result<(), OpenError> {
        let opened = {
            // Never closed: the error cannot be.
            let _permit = self.inner.opening.acquire().await;
            if self.inner.life.opening.is_cancelled() {
                return Ok(());
            }
            // A claim that is under way is not cut off: its outcome would be in doubt.
            crate::shard::open(self.inner.opening(self.shard)).await
        };

        let failed = match opened {
            Ok(handle) if begins && !self.recorded(&handle).await => {
                handle.close(Instant::now() + CLOSE_UNUSED_MAX).await;
                None
            }
            Ok(handle) => self.serve(handle).await,
            Err(why) => Some(fault_of(&why).filter(|_| others).ok_or(why)?),
        };
        let Some(failed) = failed else { return Ok(()) };
        self.put_aside(&failed).await?;
        self.unfit = true;
        self.settled();
        Ok(())
    }

    /// Waits until the table says that this shard, which has just begun, was claimed: nothing is
    /// acknowledged of it before, so that what is acknowledged is never taken for a shard without a
    /// history. False when it ends first.
    async fn recorded(&self, handle: &ShardHandle) -> bool {
        let Inner {
            ways,
            life,
            claimed,
            ..
        } = &*self.inner;

        let shard = self.shard;
        claimed.add([shard]);
        // Whoever looks after the rows tells the table; whoever renews keeps the ownership
        // meanwhile.
        ways.shards.insert(shard, handle.clone());
        let mut table = ways.table.clone();

        let recorded = tokio::select! {
            () = life.opening.cancelled() => false,
            () = handle.closed() => false,
            told = table.wait_for(|table| table.claimed.contains(&shard)) => told.is_ok(),
        };
        if !recorded {
            ways.shards.remove(shard);
        }

        recorded
    }

    /// Serves an open shard until it ends, and closes its file. Why it is no longer fit to own the
    /// shard, if it is not.
    pub(super) async fn serve(&mut self, handle: ShardHandle) -> Option<Following> {
        let Inner {
            node, ways, life, ..
        } = &*self.inner;
        let shard = self.shard;
        if life.opening.is_cancelled() {
            handle.close(Instant::now() + CLOSE_UNUSED_MAX).await;
            return None;
        }

        self.tries = Tries::default();
        self.inner.refused().remove(&shard);
        tracing::info!(%node, %shard, epoch = %handle.status().epoch, "shard opened");
        handle.set_standbys(rows::standbys(node, &self.inner.row(shard)));
        ways.owners.insert_local(handle.clone());
        ways.shards.insert(shard, handle.clone());
        for waiting in [self.first.take(), self.given.take()].into_iter().flatten() {
            drop(waiting.send(Ok(())));
        }

        outbox::deliver(handle.clone(), ways.owners.clone(), life.all.clone()).await;
        if life.opening.is_cancelled() {
            return None;
        }

        ways.shards.remove(shard);
        drop(ways.owners.remove_local(shard));
        // Why, the shard has said.
        tracing::info!(%node, %shard, "a shard is served here no more; what becomes of it is looked at");
        // The file is opened again, by whatever follows.
        handle.close(Instant::now() + CLOSE_UNUSED_MAX).await;
        handle.fault()
    }

    /// Waits until the row names this node again; a file that has been of no use for long, or that
    /// of a node that is draining, is removed meanwhile, when it is proven that others have what it
    /// has.
    async fn be_nothing(&self) -> Result<(), OpenError> {
        let Inner {
            node,
            ways,
            life,
            replicas,
            ..
        } = &*self.inner;
        let (mut followed, place) = (ways.table.clone(), usize::from(self.shard.0));
        let is_named = |table: &Table| table.rows.get(place).is_some_and(|row| row.contains(node));
        let until = Instant::now() + SURPLUS_KEPT;
        let mut linked = false;
        loop {
            // Also now, for the owner forgets soon how its past links.
            let surplus = self.surplus().await?;
            linked |= surplus.is_some_and(|surplus| surplus.links);
            let (drains, is_late) = (self.inner.is_draining(), Instant::now() >= until);
            let may_go = (drains || is_late)
                && surplus.is_some_and(|surplus| surplus.may_go(linked, *replicas));
            if may_go {
                self.drop_surplus();
            }
            if is_late {
                return Ok(());
            }

            let looks_again = drains && surplus.is_some() && !may_go;
            let pause = if looks_again {
                PROVEN_EVERY
            } else {
                until.saturating_duration_since(Instant::now())
            };
            let changed = async {
                let told = followed
                    .wait_for(|table| is_named(table) || (table.is_draining(node) && !drains))
                    .await;
                told.map(|table| is_named(&table))
            };
            tokio::select! {
                () = life.opening.cancelled() => return Ok(()),
                told = changed => match told {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(_) => return Err(OpenError::Failed("the node ends".to_owned())),
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn drop_surplus(&self) {
        let (node, shard) = (&self.inner.node, self.shard);
        match drop_file(&self.inner.path(shard)) {
            Ok(()) => tracing::info!(%node, %shard, "the file of a surplus replica is removed"),
            Err(error) => tracing::warn!(%node, %shard, %error, "a surplus replica's file stays"),
        }
    }

    /// How the file of this shard, of which this node is no replica, compares with those of its
    /// replicas; `None` without one.
    async fn surplus(&self) -> Result<Option<Surplus>, OpenError> {
        let opening = self.inner.opening(self.shard);
        if !opening.path.exists() {
            return Ok(None);
        }
        let owner = self
            .inner
            .log
            .control(self.shard)
            .await?
            .map(|control| control.owner);
        surplus::compare(&opening, owner.as_ref()).await.map(Some)
    }

    /// Nothing of the start waits for this shard any more.
    pub(super) fn settled(&mut self) {
        if let Some(first) = self.first.take() {
            drop(first.send(Ok(())));
        }
    }

    /// Counts and tells a failure; how long to wait.
    fn failed(&mut self, why: &OpenError) -> Duration {
        let others = self.inner.row(self.shard).len() > 1;
        self.tries.failed(&self.inner.node, self.shard, why);
        match why.disposition() {
            Disposition::Refuse | Disposition::RefuseNode | Disposition::Reseed(_) => {
                self.inner.refused().insert(self.shard, why.to_string())
            }
            // What it was refused for before may still be so.
            Disposition::Wait => None,
            Disposition::Elsewhere => self.inner.refused().remove(&self.shard),
        };

        if let Some(told) = first_outcome(
            why,
            self.tries.failed,
            self.inner.first_attempts_max,
            others,
        ) && let Some(first) = self.first.take()
        {
            drop(first.send(told));
        }

        self.tries.pause(others)
    }
}
