//! Copies under way: what follows each of them is kept in the log until its receiver reports from
//! it.

use std::time::Duration;

use crate::ids::{NodeId, Offset};
use crate::log::PerStream;
use crate::shard::insync::bounds::{Bounds, lacks, reaches};
use crate::shard::replicas::{Following, ReplicaStatus};

/// How long after the last sign of a copy under way (it is written, or a piece of it was read) its
/// receiver may need until it reports from it: it checks the whole file first.
const SEEDING_MAX: Duration = Duration::from_secs(600);

/// Snapshots on their way.
#[derive(Debug, Clone, Default)]
pub(super) struct Seeds(Vec<Seed>);

/// A snapshot on its way: until when what follows it is kept, and where it stands.
#[derive(Debug, Clone)]
struct Seed {
    to: NodeId,
    until: Duration,
    applied: PerStream<Offset>,
}

impl Seeds {
    /// One that stands there is written for a node.
    pub(super) fn begin(&mut self, to: &NodeId, applied: PerStream<Offset>, now: Duration) {
        self.0.retain(|seed| seed.until > now && seed.to != *to);
        self.0.push(Seed {
            to: to.clone(),
            until: now + SEEDING_MAX,
            applied,
        });
    }

    /// The one for that node goes on.
    pub(super) fn go_on(&mut self, to: &NodeId, now: Duration) {
        for seed in self.0.iter_mut().filter(|seed| seed.to == *to) {
            seed.until = seed.until.max(now + SEEDING_MAX);
        }
    }

    /// A node told how it stands. One that reports from its copy counts by what it says itself from
    /// now on.
    pub(super) fn reported(&mut self, status: &ReplicaStatus) {
        let durable = status.durable.map(|tail| tail.offset);
        let has = |seed: &Seed| {
            seed.to == status.node
                && status.following == Following::Live
                && reaches(durable, seed.applied)
        };
        self.0.retain(|seed| !has(seed));
    }

    /// Where those stand for which the log is held back.
    pub(super) fn kept(
        &self,
        bounds: Bounds,
        (committed, lacking_max): (PerStream<Offset>, u64),
        now: Duration,
    ) -> impl Iterator<Item = PerStream<Offset>> {
        let is_kept = move |seed: &&Seed| {
            now < seed.until
                && lacks(seed.applied, committed) <= lacking_max
                && reaches(seed.applied, bounds.gone)
                && reaches(seed.applied, bounds.seeds)
        };
        self.0.iter().filter(is_kept).map(|seed| seed.applied)
    }
}
