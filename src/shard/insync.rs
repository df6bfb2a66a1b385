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
/// A standby that was not heard of for so long is not asked to confirm an entry; one that lives reports every second.
const WITNESS_SILENCE_MAX: Duration = Duration::from_secs(3);
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

    /// Those that have to confirm an entry of which the log has no second copy: in sync, and heard of just now. A dead one
    /// would hold up all writes for as long as it counts for the trim.
    pub(super) fn witnesses(&self, committed: [Offset; 2], now: Duration) -> Vec<NodeId> {
        let standbys = self.standbys.iter().flatten();
        let asked = standbys.filter(|standby| standby.is_heard(now) && standby.is_in_sync(committed, now));
        asked.map(|standby| standby.node.clone()).collect()
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
    fn is_heard(&self, now: Duration) -> bool {
        self.said.is_some() && now.saturating_sub(self.heard) < WITNESS_SILENCE_MAX
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Epoch, ShardId};
    use crate::shard::log::record::Tail;

    fn node(number: u8) -> NodeId {
        NodeId::from(format!("node-{number}").as_str())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn offsets(messages: u64, receipts: u64) -> [Offset; 2] {
        [Offset(messages), Offset(receipts)]
    }

    fn report(number: u8, applied: [Offset; 2], durable: [Offset; 2], following: Following) -> ReplicaStatus {
        let tails = |offsets: [Offset; 2]| offsets.map(|offset| Tail { offset, ..Tail::EMPTY });
        let (applied, durable) = (tails(applied), tails(durable));
        ReplicaStatus { shard: ShardId(1), node: node(number), applied, durable, max_epoch: Epoch(1), following }
    }

    #[test]
    fn a_standby_counts_with_nothing_until_it_reports_or_half_a_minute_has_passed() {
        let mut known = InSync::new(true, at(100));
        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        assert_eq!(known.trim_point(own, committed, at(129)), offsets(0, 0), "the row is not known");
        assert_eq!(known.trim_point(own, committed, at(130)), own, "nobody tells it");
        known.set(vec![node(1), node(2)], at(110));
        assert_eq!(known.trim_point(own, committed, at(111)), offsets(0, 0));
        known.reported(&report(1, committed, offsets(95, 3), Following::Live), at(115));
        assert_eq!(known.trim_point(own, committed, at(139)), offsets(0, 0), "node-2 was not heard");
        assert_eq!(known.trim_point(own, committed, at(140)), offsets(90, 3));
        assert_eq!(known.standbys(committed, at(140)), [(node(1), true), (node(2), false)]);
        assert_eq!(known.trim_point(own, committed, at(145)), own, "both are silent");
    }

    #[test]
    fn those_that_stay_in_the_row_keep_what_is_known_of_them() {
        let mut known = InSync::new(false, at(0));
        assert!(!known.has_standbys());
        known.set(vec![node(1), node(2)], at(0));
        known.reported(&report(1, offsets(9, 9), offsets(5, 5), Following::Live), at(50));
        known.set(vec![node(3), node(1)], at(60));
        let committed = offsets(9, 9);
        assert_eq!(known.standbys(committed, at(60)), [(node(3), true), (node(1), true)]);
        known.reported(&report(2, committed, committed, Following::Live), at(60));
        assert_eq!(known.standbys(committed, at(80)), [(node(3), true), (node(1), false)]);
        known.set(Vec::new(), at(80));
        assert!(!known.has_standbys());
        assert_eq!(known.trim_point(committed, committed, at(80)), committed);
    }

    #[test]
    fn one_that_lags_far_or_does_not_follow_is_out() {
        let committed = offsets(1_000_000, 1_000_000);
        let lacking = |applied: u64, durable: u64, following| {
            let mut known = InSync::new(false, at(0));
            known.set(vec![node(1)], at(0));
            let applied = offsets(1_000_000, 1_000_000 - applied);
            known.reported(&report(1, applied, offsets(1_000_000 - durable, 1_000_000), following), at(0));
            known.standbys(committed, at(1)) == [(node(1), true)]
        };
        assert!(lacking(50_000, 0, Following::Live) && !lacking(50_001, 0, Following::Live));
        assert!(lacking(0, 500_000, Following::Live) && !lacking(0, 500_001, Following::Live));
        for not in [Following::Behind, Following::Diverged(String::new()), Following::Damaged(String::new())] {
            assert!(!lacking(0, 0, not));
        }
    }

    #[test]
    fn what_follows_a_snapshot_is_kept_for_a_while() {
        let mut known = InSync::new(false, at(0));
        known.set(Vec::new(), at(0));
        known.seeding(offsets(40, 7), at(10));
        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        assert_eq!(known.trim_point(own, committed, at(309)), offsets(40, 7));
        assert_eq!(known.trim_point(own, committed, at(310)), own);
        assert_eq!(
            known.trim_point(offsets(900_000, 9), offsets(900_000, 9), at(20)),
            offsets(900_000, 9),
            "not for ever"
        );
    }

    #[derive(Debug, Clone)]
    enum Step {
        Row(Vec<u8>),
        Report(u8, u64, u64, bool),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => proptest::collection::btree_set(0..4_u8, 0..4).prop_map(|nodes| Step::Row(nodes.into_iter().collect())),
            4 => (0..4_u8, 0..200_000_u64, 0..200_000_u64, any::<bool>())
                .prop_map(|(node, applied, durable, follows)| Step::Report(node, applied.max(durable), durable, follows)),
            2 => (0..40_u64).prop_map(Step::Pass),
        ]
    }

    #[test]
    fn witnesses_are_those_in_sync_that_were_heard_of_just_now() {
        let mut known = InSync::new(true, at(0));
        known.set(vec![node(1), node(2), node(3)], at(0));
        let none = [Offset(0); 2];
        assert_eq!(known.witnesses(none, at(1)), [], "none has reported, though each counts for the trim");
        known.reported(&report(1, none, none, Following::Live), at(10));
        known.reported(&report(2, none, none, Following::Behind), at(10));
        assert_eq!(known.witnesses(none, at(12)), [node(1)]);
        assert_eq!(known.witnesses(none, at(13)), [], "it may be dead");
        assert_eq!(known.standbys(none, at(13))[0], (node(1), true), "the log is kept for it");
        known.reported(&report(1, none, none, Following::Live), at(20));
        assert_eq!(known.witnesses(offsets(LACKING_MAX + 1, 0), at(20)), [], "it lacks too much");
    }

    proptest! {
        // I8, whatever was told in whatever order: never beyond what is durable here or at one that is in sync.
        #[test]
        fn the_trim_point_is_never_beyond_what_a_standby_in_sync_has_on_its_disk(
            steps in proptest::collection::vec(step(), 1..60), own in 0..200_000_u64
        ) {
            let (mut known, mut now) = (InSync::new(true, at(1)), at(1));
            let committed = offsets(200_000, 200_000);
            let mut told = std::collections::BTreeMap::new();
            let mut row = Vec::new();
            for step in steps {
                match step {
                    Step::Row(nodes) => {
                        told.retain(|number, _| nodes.contains(number));
                        row.clone_from(&nodes);
                        known.set(nodes.into_iter().map(node).collect(), now);
                    }
                    Step::Report(number, applied, durable, follows) => {
                        let following = if follows { Following::Live } else { Following::Behind };
                        known.reported(&report(number, offsets(applied, applied), offsets(durable, durable), following), now);
                        if row.contains(&number) {
                            told.insert(number, (now, durable));
                        }
                    }
                    Step::Pass(seconds) => now += at(seconds),
                }
                let point = known.trim_point(offsets(own, own), committed, now);
                prop_assert!(point[0].0 <= own && point[1].0 <= own);
                for (name, in_sync) in known.standbys(committed, now) {
                    let number = (0..4).find(|number| node(*number) == name).expect("one of ours");
                    let (heard, durable) = told.get(&number).copied().unwrap_or((now, 0));
                    if in_sync {
                        prop_assert!(point[0].0 <= durable && point[1].0 <= durable);
                        prop_assert!(now - heard < SILENCE_MAX);
                    }
                }
            }
        }
    }
}
