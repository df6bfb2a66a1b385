//! Which standbys of an owned shard keep up, and what that means for the trim of the log. Pure; times are since boot.
//!
//! A standby is in sync while it was heard of within [`SILENCE_MAX`], says that it follows, and lacks little. One that
//! was not heard of yet counts as in sync with nothing durable for as long: so a new owner trims nothing that a standby
//! may need of which it has not heard, and a dead one holds the log back for that long only.

use std::time::Duration;

use crate::ids::{NodeId, Offset};
use crate::shard::replicas::{Following, ReplicaStatus};

/// A standby is out of sync when it was not heard of for so long.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// … or when so many committed records are not in its file …
const LACKING_MAX: u64 = 50_000;
/// … or so many not on its disk: one that can apply but not checkpoint must not hold the log back for ever.
const UNSAFE_MAX: u64 = 500_000;
/// How long a snapshot that was written may need until its receiver reports from it.
const SEEDING_MAX: Duration = Duration::from_secs(300);

/// What is known of the standbys of a shard.
#[derive(Debug, Clone)]
pub(super) struct InSync {
    /// `None` until the row is known.
    standbys: Option<Vec<Standby>>,
    /// Until when the log is held back for a row that is not known.
    unknown_until: Duration,
    /// Snapshots on their way: until when what follows them is kept, and where they stand.
    seeds: Vec<(Duration, [Offset; 2])>,
}

#[derive(Debug, Clone)]
struct Standby {
    node: NodeId,
    /// When it last reported; before the first report, when it became one.
    heard: Duration,
    /// What it said: applied and durable, or that it does not follow.
    said: Option<Said>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    applied: [Offset; 2],
    durable: [Offset; 2],
    follows: bool,
}

impl InSync {
    /// Of a shard opened now. `shared`: other nodes may have replicas of it, so the log is held back until its row is told.
    pub(super) fn new(shared: bool, now: Duration) -> Self {
        let unknown_until = if shared { now + SILENCE_MAX } else { Duration::ZERO };
        Self { standbys: None, unknown_until, seeds: Vec::new() }
    }

    /// The row, now. Those that stay keep what is known of them.
    pub(super) fn set(&mut self, nodes: Vec<NodeId>, now: Duration) {
        let mut known = self.standbys.take().unwrap_or_default();
        let standby = |node: NodeId| {
            let place = known.iter().position(|standby| standby.node == node);
            place.map_or(Standby { node, heard: now, said: None }, |place| known.swap_remove(place))
        };
        self.standbys = Some(nodes.into_iter().map(standby).collect());
    }

    /// A standby told how it stands; of one that is not in the row nothing is kept.
    pub(super) fn reported(&mut self, status: &ReplicaStatus, now: Duration) {
        let standbys = self.standbys.iter_mut().flatten();
        if let Some(standby) = standbys.into_iter().find(|standby| standby.node == status.node) {
            standby.heard = standby.heard.max(now);
            standby.said = Some(Said {
                applied: status.applied.map(|tail| tail.offset),
                durable: status.durable.map(|tail| tail.offset),
                follows: status.following == Following::Live,
            });
        }
    }

    /// A snapshot that stands there is given away: what follows it is kept for a while.
    pub(super) fn seeding(&mut self, applied: [Offset; 2], now: Duration) {
        self.seeds.retain(|(until, _)| *until > now);
        self.seeds.push((now + SEEDING_MAX, applied));
    }

    /// Whether there are any.
    pub(super) fn has_standbys(&self) -> bool {
        self.standbys.as_ref().is_some_and(|standbys| !standbys.is_empty())
    }

    /// The standbys in the order of the row, and whether each is in sync.
    pub(super) fn standbys(&self, committed: [Offset; 2], now: Duration) -> Vec<(NodeId, bool)> {
        let standbys = self.standbys.iter().flatten();
        standbys.map(|standby| (standby.node.clone(), standby.is_in_sync(committed, now))).collect()
    }

    /// How far the log may be trimmed: what is durable here and at every standby in sync.
    pub(super) fn trim_point(&self, own: [Offset; 2], committed: [Offset; 2], now: Duration) -> [Offset; 2] {
        if self.standbys.is_none() && now < self.unknown_until {
            return [Offset(0); 2];
        }
        let standbys = self.standbys.iter().flatten().filter(|standby| standby.is_in_sync(committed, now));
        let durable = standbys.map(|standby| standby.said.map_or([Offset(0); 2], |said| said.durable));
        let seeds = self.seeds.iter().filter(|(until, at)| now < *until && lacks(*at, committed) <= UNSAFE_MAX);
        durable.chain(seeds.map(|(_, at)| *at)).fold(own, |[messages, receipts], [of_messages, of_receipts]| {
            [messages.min(of_messages), receipts.min(of_receipts)]
        })
    }
}

impl Standby {
    fn is_in_sync(&self, committed: [Offset; 2], now: Duration) -> bool {
        let keeps_up = |said: Said| {
            said.follows
                && lacks(said.applied, committed) <= LACKING_MAX
                && lacks(said.durable, committed) <= UNSAFE_MAX
        };
        now.saturating_sub(self.heard) < SILENCE_MAX && self.said.is_none_or(keeps_up)
    }
}

fn lacks(at: [Offset; 2], committed: [Offset; 2]) -> u64 {
    committed.iter().zip(at).map(|(committed, at)| committed.0.saturating_sub(at.0)).sum()
}
