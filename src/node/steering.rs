//! What an operator asks of the cluster by way of this node: to move a shard, to take a node away
//! for good, to even out now. Whatever it changes is written where all find it, in the table, or
//! carried out by the owners themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use crate::clock::Clock;
use crate::cluster::draining::{left, with_mark, without_mark};
use crate::cluster::table::changes::Drain;
use crate::cluster::table::{Table, TableError, TableStore};
use crate::ids::{NodeId, ShardId};
use crate::node::context::Setup;
use crate::node::link::handing::{BalancePlan, HandOverAsk};
use crate::node::owners::Owners;

/// Each node tells how it stands within this time, or counts as one that does not answer.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Attempts at a table that others change at the same time.
const SWAPS_MAX: u32 = 20;

/// Pause after another one was faster.
const AGAIN: Duration = Duration::from_millis(20);

/// Asks owners, the coordinator, and the table.
#[derive(Debug)]
pub struct Steering {
    owners: Owners,
    store: Arc<dyn TableStore>,
    clock: Clock,
    replicas: Option<usize>,
}

impl Steering {
    pub(in crate::node) fn new(setup: &Setup, owners: &Owners) -> Self {
        let (store, clock) = (Arc::clone(&setup.table), setup.clock.clone());
        Self {
            owners: owners.clone(),
            store,
            clock,
            replicas: setup.config.replicas,
        }
    }

    /// Has the owner of a shard hand it over to one of its standbys.
    ///
    /// # Errors
    /// One sentence: why not, or that this is not known.
    pub async fn move_shard(
        &self,
        shard: ShardId,
        to: &NodeId,
        deadline: Instant,
    ) -> Result<(), String> {
        let owner = self
            .owners
            .owner_of(shard)
            .ok_or_else(|| format!("the table has no shard {shard}"))?;
        if owner == *to {
            return Err(format!("{to} owns shard {shard} already"));
        }

        if self.owners.table().is_draining(to) {
            return Err(format!(
                "{to} is draining and gets nothing; `rookery cluster undrain {to}` ends that"
            ));
        }

        let ask = HandOverAsk::Give { to: to.clone() };
        self.owners
            .ask_hand_over(&owner, shard, ask, deadline)
            .await
    }

    /// Marks a node as one that gives everything to others and gets nothing. One sentence what is
    /// so now.
    ///
    /// # Errors
    /// One sentence: why not, and what to do.
    pub async fn drain(
        &self,
        node: &NodeId,
        by: &str,
        deadline: Instant,
    ) -> Result<String, String> {
        let replicas = self.replicas.ok_or(
            "the nodes of this cluster are no processes of their own: none can be drained",
        )?;
        let told = self
            .owners
            .standings(deadline.min(Instant::now() + TOLD_WITHIN))
            .await;
        let outdated = told
            .iter()
            .filter(|(_, told)| told.as_ref().is_some_and(|told| told.files.is_none()));
        let outdated: Vec<String> = outdated.map(|(of, _)| of.to_string()).collect();
        if !outdated.is_empty() {
            let names = outdated.join(", ");
            return Err(format!(
                "{names} runs a version that knows no drain: update all nodes first"
            ));
        }
        let living = told
            .iter()
            .filter(|(_, told)| told.as_ref().is_some_and(|told| told.ready));
        let living: BTreeSet<NodeId> = living.map(|(of, _)| of.clone()).collect();

        let mark = Drain {
            since_ms: self.clock.now_ms(),
            by: by.to_owned(),
        };
        let change = |table: &Table| with_mark(table, node, mark.clone(), (&living, replicas));
        let (table, changed) = self.swap(change, deadline).await?;
        let has = left(&table, node);
        let said = if changed {
            "is draining"
        } else {
            "is draining already"
        };
        Ok(format!(
            "{node} {said}: it owns {} shards and stands by for {}",
            has.owned, has.standbys
        ))
    }

    /// Takes the mark away. One sentence what is so now.
    ///
    /// # Errors
    /// One sentence: why not.
    pub async fn undrain(&self, node: &NodeId, deadline: Instant) -> Result<String, String> {
        let (_, changed) = self
            .swap(|table| Ok(without_mark(table, node)), deadline)
            .await?;
        let said = if changed {
            "is draining no more, and gets shards as any other"
        } else {
            "was not draining"
        };
        Ok(format!("{node} {said}"))
    }

    /// What the coordinator would move now; with a name, that one wants it to let nothing rest and
    /// to look at once.
    ///
    /// # Errors
    /// One sentence: nobody coordinates now, or does not answer.
    pub async fn balance(
        &self,
        by: Option<&str>,
        deadline: Instant,
    ) -> Result<BalancePlan, String> {
        let plan = self
            .owners
            .ask_balance(by, deadline.min(Instant::now() + TOLD_WITHIN))
            .await;
        plan.ok_or_else(|| {
            "no node that answers coordinates now, or it has just begun to and looks on first; ask again in some seconds".to_owned()
        })
    }

    /// Changes the table by compare-and-set, unless it is as it should be; the table that stands
    /// then, and whether this changed it.
    async fn swap(
        &self,
        change: impl Fn(&Table) -> Result<Option<Table>, String>,
        deadline: Instant,
    ) -> Result<(Table, bool), String> {
        let failed = |error: TableError| format!("the table cannot be changed now: {error}");
        let swapping = async {
            for _ in 0..SWAPS_MAX {
                let table = self
                    .store
                    .load()
                    .await
                    .map_err(failed)?
                    .ok_or("there is no table yet")?;
                let Some(next) = change(&table)? else {
                    return Ok((table, false));
                };
                if self
                    .store
                    .swap(table.version, next.clone())
                    .await
                    .map_err(failed)?
                {
                    return Ok((next, true));
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err("others change the table all the time; ask again".to_owned())
        };

        let late = |_elapsed| {
            Err(
                "the table's store does not answer in time; whether it was done is not known"
                    .to_owned(),
            )
        };

        timeout_at(deadline.into(), swapping)
            .await
            .unwrap_or_else(late)
    }
}
