//! The cluster of the model: a table, and what coordinator, balancer and owners do to it, one after
//! the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use rookery::cluster::assignment::{first_table, next_table};
use rookery::cluster::balance::{Balance, Move, without_surplus};
use rookery::cluster::table::{NodeAddresses, Table};
use rookery::ids::{ClusterId, NodeId, ShardId};
use rookery::log::Identity;

use crate::Size;

/// Rows that have a further standby at the same time, as in the coordinator.
const EXTRA_MAX: usize = 8;

/// So many steps end every balance; more would be one that never ends.
const STEPS_MAX: usize = 100_000;

/// The table, and the nodes that live.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) table: Table,
    living: BTreeMap<NodeId, NodeAddresses>,
    replicas: usize,
}

/// How evenly something is spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) all: usize,
    pub(crate) among: usize,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// What one node holds.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) owned: usize,
    pub(crate) stood_by: usize,
}

/// What an event made of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    /// Versions of the table.
    pub(crate) versions: usize,
    /// Nodes that swap at the same moment, at most.
    pub(crate) at_once: usize,
    /// Shards that got another owner, each time.
    pub(crate) moved: usize,
    /// Places that got another node, each a file to be copied.
    pub(crate) placed: usize,
    /// The longest single look at what is to be done next.
    pub(crate) longest: Duration,
    /// All looks together.
    pub(crate) looked: Duration,
}

/// A node as the chart names it.
pub(crate) fn node(number: usize) -> NodeId {
    NodeId::from(format!("rookery-node-{number}").as_str())
}

fn addresses(node: &NodeId) -> NodeAddresses {
    let peer = format!("{node}.rookery-node.default.svc.cluster.local:7081");
    NodeAddresses {
        peer,
        ..NodeAddresses::default()
    }
}

/// The places that a newcomer must get for all to be even, rounded down.
pub(crate) fn least_places(size: &Size, nodes: usize) -> usize {
    size.shards as usize * size.replicas / nodes
}

impl Cluster {
    /// As it begins, when every shard was claimed.
    pub(crate) fn begin(size: &Size) -> Self {
        let living = (0..size.nodes)
            .map(node)
            .map(|node| (node.clone(), addresses(&node)))
            .collect();
        let table = first_table(identity(size), &living, size.replicas);
        let claimed = (0..=u16::MAX).map(ShardId).take(table.rows.len()).collect();
        Self {
            table: Table { claimed, ..table },
            living,
            replicas: size.replicas,
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.table.rows.len()
    }

    pub(crate) fn living(&self) -> usize {
        self.living.len()
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<Vec<NodeId>> {
        self.table.rows.clone()
    }

    /// What a swap writes and a poll reads.
    pub(crate) fn bytes(&self) -> usize {
        encoded(&self.table).len()
    }

    /// Shards by owner.
    pub(crate) fn owned(&self) -> Spread {
        self.spread(self.table.rows.iter().filter_map(|row| row.first()))
    }

    /// Places in rows by node.
    pub(crate) fn placed(&self) -> Spread {
        self.spread(self.table.rows.iter().flatten())
    }

    fn spread<'a>(&self, nodes: impl Iterator<Item = &'a NodeId>) -> Spread {
        let mut counts: BTreeMap<&NodeId, usize> =
            self.living.keys().map(|node| (node, 0)).collect();
        for node in nodes {
            *counts.entry(node).or_default() += 1;
        }
        Spread {
            all: counts.values().sum(),
            among: counts.len(),
            least: counts.values().copied().min().unwrap_or(0),
            most: counts.values().copied().max().unwrap_or(0),
        }
    }

    #[cfg(test)]
    pub(crate) fn holds(&self, node: &NodeId) -> Held {
        Held {
            owned: self.table.owned_by(node).count(),
            stood_by: self.table.stood_by_for(node).count(),
        }
    }

    /// A node dies: of each of its shards the first standby puts itself first, all of its shards in
    /// one swap.
    pub(crate) fn lose(&mut self, lost: &NodeId) -> Change {
        self.living.remove(lost);
        let mut takers = BTreeSet::new();
        let mut moved = 0;

        for row in self
            .table
            .rows
            .iter_mut()
            .filter(|row| row.first() == Some(lost))
        {
            let Some(at) = row.iter().position(|of| self.living.contains_key(of)) else {
                continue;
            };
            let taker = row.remove(at);
            let former = row.remove(0);
            takers.insert(taker.clone());
            row.insert(0, taker);
            row.push(former);
            moved += 1;
        }

        self.table.version += takers.len() as u64;
        Change {
            versions: takers.len(),
            at_once: takers.len(),
            moved,
            ..Change::default()
        }
    }

    /// The coordinator gives the places of nodes that are gone to others.
    pub(crate) fn refill(&mut self) -> Change {
        let begun = spent();
        let next = next_table(&self.table, &self.living, self.replicas, &BTreeSet::new());
        let longest = since(begun);
        let Some(next) = next else {
            return Change {
                longest,
                looked: longest,
                ..Change::default()
            };
        };

        let came = |(before, after): (&Vec<NodeId>, &Vec<NodeId>)| {
            after.iter().filter(|of| !before.contains(of)).count()
        };
        let placed = self.table.rows.iter().zip(&next.rows).map(came).sum();
        self.table = next;

        Change {
            versions: 1,
            at_once: 1,
            placed,
            longest,
            looked: longest,
            ..Change::default()
        }
    }

    /// A node joins, and all is evened out.
    pub(crate) fn join(&mut self, newcomer: &NodeId) -> Change {
        self.living.insert(newcomer.clone(), addresses(newcomer));
        self.table
            .nodes
            .insert(newcomer.clone(), addresses(newcomer));
        // It has told where it is reached.
        let mut change = Change {
            versions: 1,
            at_once: 1,
            ..Change::default()
        };

        for _ in 0..STEPS_MAX {
            if self.step(&mut change) {
                return change;
            }
        }

        panic!("the balance does not come to rest: {change:?}");
    }

    /// One step of coordinator or balancer, and what owners do about it. True when nothing is to be
    /// done any more.
    fn step(&mut self, change: &mut Change) -> bool {
        let nodes: BTreeSet<NodeId> = self.living.keys().cloned().collect();
        let resting = BTreeSet::new();
        let balance = Balance {
            table: &self.table,
            nodes: &nodes,
            replicas: self.replicas,
            resting: &resting,
        };
        let before_places = spent();
        let next = balance.next_places(EXTRA_MAX, true);
        change.note(since(before_places));
        if let Some((next, placed)) = next {
            change.placed += placed.len();
            change.versions += 1;
            self.table = next;
            self.seeded(change);
            return false;
        }

        let before_moves = spent();
        let moves = balance.even_moves();
        change.note(since(before_moves));
        for done in &moves {
            self.carry_out(done);
        }
        change.moved += moves.len();
        change.versions += moves.len();
        moves.is_empty()
    }

    /// The further standbys have their files, and owners let the surplus ones go: each owner its
    /// own, at about the same time.
    fn seeded(&mut self, change: &mut Change) {
        let mut owners = BTreeSet::new();
        let shorter = |(shard, row): (ShardId, &Vec<NodeId>)| {
            let in_sync = row.iter().cloned().collect();
            Some((
                shard,
                without_surplus(&self.table, shard, self.replicas, &in_sync)?,
            ))
        };

        let shorter: Vec<(ShardId, Vec<NodeId>)> =
            self.table.numbered().filter_map(shorter).collect();
        for (shard, stays) in shorter {
            owners.extend(stays.first().cloned());
            self.table.changes.replaced.remove(&shard);
            if let Some(row) = self.table.rows.get_mut(usize::from(shard.0)) {
                *row = stays;
            }
        }

        change.versions += owners.len();
        change.at_once = change.at_once.max(owners.len());
        self.table.version += owners.len() as u64;
    }

    /// As the new owner puts itself first.
    fn carry_out(&mut self, done: &Move) {
        let row = &mut self.table.rows[usize::from(done.shard.0)];
        row.retain(|of| *of != done.to);
        let former = row.remove(0);
        row.insert(0, done.to.clone());
        row.push(former);
        self.table.version += 1;
    }
}

impl Change {
    fn note(&mut self, look: Duration) {
        self.longest = self.longest.max(look);
        self.looked += look;
    }
}

pub(crate) fn identity(size: &Size) -> Identity {
    Identity {
        cluster: ClusterId(uuid::Uuid::nil()),
        shards: size.shards,
    }
}

/// As both implementations of the store write it.
pub(crate) fn encoded(table: &Table) -> Vec<u8> {
    serde_json::to_vec(table).expect("a table is JSON")
}

/// The processor's time that this thread has had: what runs beside the model does not count.
pub(crate) fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every thread has this clock")
        .into()
}

/// The processor's time since then.
pub(crate) fn since(then: Duration) -> Duration {
    spent().saturating_sub(then)
}
