//! What is known of the standbys of a shard, and what follows from it for the trim.

use std::time::Duration;

use crate::ids::{NodeId, Offset};
use crate::log::PerStream;
use crate::shard::insync::bounds::{Bounds, lacks, reaches};
use crate::shard::insync::seeds::Seeds;
use crate::shard::replicas::{Following, ReplicaStatus};

/// A standby that was not heard of for so long is not in sync; one that lives reports every second.
const REPORT_MAX: Duration = Duration::from_secs(3);
/// The log is held back no more for a standby that was not heard of for so long.
pub(in crate::shard) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A standby is out when so many committed records are not in its file …
const LACKING_MAX: u64 = 50_000;
/// … or so many not on its disk, or more than its share of the log's bytes.
const UNSAFE_MAX: u64 = 500_000;

/// What is known of the standbys of a shard.
#[derive(Debug, Clone)]
pub(in crate::shard) struct InSync {
    /// `None` until the row is known.
    standbys: Option<Vec<Standby>>,
    /// Until when the log is held back for a row that is not known.
    unknown_until: Duration,
    /// Snapshots on their way.
    seeds: Seeds,
    bounds: Bounds,
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
    applied: PerStream<Offset>,
    durable: PerStream<Offset>,
    follows: bool,
}

impl InSync {
    /// What is known of a shard that is opened now. `shared`: other nodes may have replicas of it,
    /// so the log is held back until its row is told.
    pub(in crate::shard) fn new(shared: bool, now: Duration) -> Self {
        let unknown_until = if shared {
            now + SILENCE_MAX
        } else {
            Duration::ZERO
        };
        Self {
            standbys: None,
            unknown_until,
            seeds: Seeds::default(),
            bounds: Bounds::default(),
        }
    }

    /// How the log stands now. Nothing in it goes back.
    pub(in crate::shard) fn bound(&mut self, found: Bounds) {
        self.bounds = self.bounds.later(found);
    }

    /// The row, now. Those that stay keep what is known of them.
    pub(in crate::shard) fn set(&mut self, nodes: Vec<NodeId>, now: Duration) {
        let mut known = self.standbys.take().unwrap_or_default();
        let standby = |node: NodeId| {
            let place = known.iter().position(|standby| standby.node == node);
            place.map_or(
                Standby {
                    node,
                    heard: now,
                    said: None,
                },
                |place| known.swap_remove(place),
            )
        };
        self.standbys = Some(nodes.into_iter().map(standby).collect());
    }

    /// A standby told how it stands; of one that is not in the row nothing is kept.
    pub(in crate::shard) fn reported(&mut self, status: &ReplicaStatus, now: Duration) {
        let standbys = self.standbys.iter_mut().flatten();
        if let Some(standby) = standbys
            .into_iter()
            .find(|standby| standby.node == status.node)
        {
            standby.heard = standby.heard.max(now);
            standby.said = Some(Said {
                applied: status.applied.map(|tail| tail.offset),
                durable: status.durable.map(|tail| tail.offset),
                follows: status.following == Following::Live,
            });
        }
        self.seeds.reported(status);
    }

    /// A snapshot that stands there is written for a node: what follows it is kept for a while.
    pub(in crate::shard) fn seeding(
        &mut self,
        to: &NodeId,
        applied: PerStream<Offset>,
        now: Duration,
    ) {
        self.seeds.begin(to, applied, now);
    }

    /// The copy for that node goes on.
    pub(in crate::shard) fn seeding_goes_on(&mut self, to: &NodeId, now: Duration) {
        self.seeds.go_on(to, now);
    }

    /// Whether a snapshot that stands there can still be followed on from, with room left for the
    /// time that it takes.
    pub(in crate::shard) fn can_seed(&self, applied: PerStream<Offset>) -> bool {
        reaches(applied, self.bounds.gone) && reaches(applied, self.bounds.standbys)
    }

    /// Whether there are any.
    pub(in crate::shard) fn has_standbys(&self) -> bool {
        self.standbys
            .as_ref()
            .is_some_and(|standbys| !standbys.is_empty())
    }

    /// The standbys in the order of the row, and whether each is in sync.
    pub(in crate::shard) fn standbys(
        &self,
        committed: PerStream<Offset>,
        now: Duration,
    ) -> Vec<(NodeId, bool)> {
        let standbys = self.standbys.iter().flatten();
        standbys
            .map(|standby| {
                (
                    standby.node.clone(),
                    self.is_in_sync(standby, committed, now),
                )
            })
            .collect()
    }

    /// Those that have to confirm an entry of which the log has no second copy: in sync. A dead one
    /// would hold up all writes for as long as it counts for the trim.
    pub(in crate::shard) fn witnesses(
        &self,
        committed: PerStream<Offset>,
        now: Duration,
    ) -> Vec<NodeId> {
        let asked = self
            .standbys
            .iter()
            .flatten()
            .filter(|standby| self.is_in_sync(standby, committed, now));
        asked.map(|standby| standby.node.clone()).collect()
    }

    /// Whether a standby in sync has more on its disk than this, and nothing less.
    pub(in crate::shard) fn is_outdone(
        &self,
        durable: PerStream<Offset>,
        committed: PerStream<Offset>,
        now: Duration,
    ) -> bool {
        let mut in_sync = self
            .standbys
            .iter()
            .flatten()
            .filter(|standby| self.is_in_sync(standby, committed, now));
        let has_more = |said: Said| said.durable != durable && reaches(said.durable, durable);
        in_sync.any(|standby| standby.said.is_some_and(has_more))
    }

    fn is_in_sync(&self, standby: &Standby, committed: PerStream<Offset>, now: Duration) -> bool {
        let is_heard = standby.said.is_some() && now.saturating_sub(standby.heard) < REPORT_MAX;
        is_heard && self.is_waited_for(standby, committed, now)
    }

    /// Whether the log is held back for it.
    fn is_waited_for(
        &self,
        standby: &Standby,
        committed: PerStream<Offset>,
        now: Duration,
    ) -> bool {
        let keeps_up = |said: Said| {
            said.follows
                && lacks(said.applied, committed) <= LACKING_MAX
                && lacks(said.durable, committed) <= UNSAFE_MAX
                && reaches(said.durable, self.bounds.gone)
                && reaches(said.durable, self.bounds.standbys)
        };
        now.saturating_sub(standby.heard) < SILENCE_MAX && standby.said.is_none_or(keeps_up)
    }

    /// How far the log may be trimmed: what is durable here and at every standby in sync.
    pub(in crate::shard) fn trim_point(
        &self,
        own: PerStream<Offset>,
        committed: PerStream<Offset>,
        now: Duration,
    ) -> PerStream<Offset> {
        if self.standbys.is_none() && now < self.unknown_until {
            return PerStream::both(Offset(0));
        }
        let standbys = self
            .standbys
            .iter()
            .flatten()
            .filter(|standby| self.is_waited_for(standby, committed, now));
        let durable =
            standbys.map(|standby| standby.said.map(|said| said.durable).unwrap_or_default());
        let seeds = self.seeds.kept(self.bounds, (committed, UNSAFE_MAX), now);
        durable.chain(seeds).fold(own, |lowest, other| {
            lowest.zip(other).map(|(lowest, other)| lowest.min(other))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Epoch, ShardId};
    use crate::log::record::Tail;

    fn node(number: u8) -> NodeId {
        NodeId::from(format!("node-{number}").as_str())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn offsets(messages: u64, receipts: u64) -> PerStream<Offset> {
        PerStream {
            messages: Offset(messages),
            receipts: Offset(receipts),
        }
    }

    fn report(
        number: u8,
        applied: PerStream<Offset>,
        durable: PerStream<Offset>,
        following: Following,
    ) -> ReplicaStatus {
        let tails = |offsets: PerStream<Offset>| {
            offsets.map(|offset| Tail {
                offset,
                ..Tail::EMPTY
            })
        };
        let (applied, durable) = (tails(applied), tails(durable));
        ReplicaStatus {
            shard: ShardId(1),
            node: node(number),
            applied,
            durable,
            max_epoch: Epoch(1),
            following,
        }
    }

    #[test]
    fn a_standby_counts_with_nothing_until_it_reports_or_half_a_minute_has_passed() {
        let mut known = InSync::new(true, at(100));
        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        assert_eq!(
            known.trim_point(own, committed, at(129)),
            offsets(0, 0),
            "the row is not known"
        );
        assert_eq!(
            known.trim_point(own, committed, at(130)),
            own,
            "nobody tells it"
        );

        known.set(vec![node(1), node(2)], at(110));
        assert_eq!(known.trim_point(own, committed, at(111)), offsets(0, 0));

        known.reported(
            &report(1, committed, offsets(95, 3), Following::Live),
            at(115),
        );

        assert_eq!(
            known.trim_point(own, committed, at(139)),
            offsets(0, 0),
            "node-2 was not heard"
        );
        assert_eq!(known.trim_point(own, committed, at(140)), offsets(90, 3));
        assert_eq!(
            known.trim_point(own, committed, at(145)),
            own,
            "both are silent"
        );
    }

    #[test]
    fn those_that_stay_in_the_row_keep_what_is_known_of_them() {
        let mut known = InSync::new(false, at(0));
        assert!(!known.has_standbys());

        known.set(vec![node(1), node(2)], at(0));
        known.reported(
            &report(1, offsets(9, 9), offsets(5, 5), Following::Live),
            at(50),
        );

        known.set(vec![node(3), node(1)], at(60));
        let committed = offsets(9, 9);
        assert_eq!(
            known.standbys(committed, at(52)),
            [(node(3), false), (node(1), true)]
        );
        assert_eq!(
            known.trim_point(committed, committed, at(60)),
            offsets(0, 0),
            "the log is kept for both"
        );

        known.reported(&report(2, committed, committed, Following::Live), at(60));
        known.reported(&report(3, committed, committed, Following::Live), at(79));
        assert_eq!(
            known.standbys(committed, at(80)),
            [(node(3), true), (node(1), false)]
        );

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
            known.reported(
                &report(
                    1,
                    applied,
                    offsets(1_000_000 - durable, 1_000_000),
                    following,
                ),
                at(0),
            );
            known.standbys(committed, at(1)) == [(node(1), true)]
        };

        assert!(lacking(50_000, 0, Following::Live) && !lacking(50_001, 0, Following::Live));
        assert!(lacking(0, 500_000, Following::Live) && !lacking(0, 500_001, Following::Live));

        for not in [
            Following::Behind,
            Following::Diverged(String::new()),
            Following::Damaged(String::new()),
        ] {
            assert!(!lacking(0, 0, not));
        }
    }

    #[test]
    fn what_follows_a_snapshot_is_kept_for_a_while() {
        let mut known = InSync::new(false, at(0));
        known.set(Vec::new(), at(0));
        known.seeding(&node(1), offsets(40, 7), at(10));
        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        assert_eq!(known.trim_point(own, committed, at(609)), offsets(40, 7));
        assert_eq!(known.trim_point(own, committed, at(610)), own);
        assert_eq!(
            known.trim_point(offsets(900_000, 9), offsets(900_000, 9), at(20)),
            offsets(900_000, 9),
            "not for ever"
        );
    }

    #[test]
    fn what_follows_a_copy_is_kept_however_long_it_takes_while_it_goes_on_and_no_longer_than_its_receiver_reports()
     {
        let mut known = InSync::new(false, at(0));
        known.set(vec![node(1)], at(0));
        known.seeding(&node(1), offsets(40, 7), at(0));

        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        for minute in 0..120 {
            known.seeding_goes_on(&node(1), at(minute * 60));
            let point = known.trim_point(own, committed, at(minute * 60 + 59));
            assert_eq!(point, offsets(40, 7));
        }

        known.seeding_goes_on(&node(2), at(7_200));
        known.reported(
            &report(1, offsets(60, 7), offsets(60, 7), Following::Live),
            at(7_201),
        );

        assert_eq!(
            known.trim_point(own, committed, at(7_201)),
            offsets(60, 7),
            "it counts by what it says"
        );

        known.set(Vec::new(), at(7_202));
        assert_eq!(known.trim_point(own, committed, at(7_202)), own);
    }

    #[test]
    fn a_copy_under_way_holds_the_log_back_within_its_share_of_the_bytes() {
        let mut known = InSync::new(false, at(0));
        known.set(Vec::new(), at(0));
        known.seeding(&node(1), offsets(40, 7), at(0));

        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        known.bound(Bounds {
            standbys: offsets(60, 0),
            seeds: offsets(40, 0),
            ..Bounds::default()
        });

        assert_eq!(known.trim_point(own, committed, at(1)), offsets(40, 7));
        assert!(
            !known.can_seed(offsets(59, 7)) && known.can_seed(offsets(60, 7)),
            "a further attempt needs room"
        );

        known.bound(Bounds {
            seeds: offsets(41, 0),
            ..Bounds::default()
        });
        assert_eq!(known.trim_point(own, committed, at(1)), own);
    }

    #[test]
    fn a_standby_that_applies_all_and_makes_nothing_durable_is_out_when_its_share_of_the_bytes_is_taken()
     {
        let mut known = InSync::new(false, at(0));
        known.set(vec![node(1)], at(0));

        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        known.reported(
            &report(1, committed, offsets(50, 9), Following::Live),
            at(0),
        );

        known.bound(Bounds {
            standbys: offsets(50, 0),
            ..Bounds::default()
        });

        assert_eq!(known.standbys(committed, at(1)), [(node(1), true)]);
        assert_eq!(known.trim_point(own, committed, at(1)), offsets(50, 9));

        known.bound(Bounds {
            standbys: offsets(51, 0),
            ..Bounds::default()
        });

        assert_eq!(known.standbys(committed, at(1)), [(node(1), false)]);
        assert_eq!(
            (
                known.trim_point(own, committed, at(1)),
                known.witnesses(committed, at(1))
            ),
            (own, Vec::new())
        );

        // What is gone, it would not find after a loss of power, though little is left that it
        // lacks.
        known.bound(Bounds {
            gone: own,
            ..Bounds::default()
        });

        known.reported(
            &report(1, committed, offsets(89, 9), Following::Live),
            at(2),
        );

        assert_eq!(known.standbys(committed, at(2)), [(node(1), false)]);
        known.reported(&report(1, committed, own, Following::Live), at(3));
        assert_eq!(known.standbys(committed, at(3)), [(node(1), true)]);
    }

    #[test]
    fn a_standby_is_in_sync_only_while_it_reports_though_the_log_is_kept_for_it_for_longer() {
        let mut known = InSync::new(true, at(0));
        known.set(vec![node(1)], at(0));

        let (own, committed) = (offsets(90, 9), offsets(100, 10));
        assert_eq!(
            known.standbys(committed, at(0)),
            [(node(1), false)],
            "nobody has heard of it yet"
        );

        known.reported(
            &report(1, committed, offsets(80, 9), Following::Live),
            at(10),
        );

        assert_eq!(known.standbys(committed, at(12)), [(node(1), true)]);
        assert_eq!(known.standbys(committed, at(13)), [(node(1), false)]);
        assert_eq!(known.trim_point(own, committed, at(39)), offsets(80, 9));
        assert_eq!(known.trim_point(own, committed, at(40)), own);
    }

    #[test]
    fn an_owner_is_outdone_by_a_standby_in_sync_with_more_on_its_disk() {
        let mut known = InSync::new(false, at(0));
        known.set(vec![node(1)], at(0));

        let committed = offsets(100, 10);
        let mut outdone = |durable, own, second| {
            known.reported(&report(1, committed, durable, Following::Live), at(0));
            known.is_outdone(own, committed, at(second))
        };

        assert!(outdone(offsets(81, 9), offsets(80, 9), 1));
        assert!(
            !outdone(offsets(81, 9), offsets(80, 9), 3),
            "it may be dead"
        );
        assert!(
            !outdone(offsets(80, 9), offsets(80, 9), 1),
            "it has as little"
        );
        assert!(
            !outdone(offsets(81, 8), offsets(80, 9), 1),
            "it has less of the other stream"
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

        let none = PerStream::both(Offset(0));
        assert_eq!(
            known.witnesses(none, at(1)),
            [],
            "none has reported, though each counts for the trim"
        );

        known.reported(&report(1, none, none, Following::Live), at(10));
        known.reported(&report(2, none, none, Following::Behind), at(10));
        assert_eq!(known.witnesses(none, at(12)), [node(1)]);
        assert_eq!(known.witnesses(none, at(13)), [], "it may be dead");

        known.reported(&report(1, none, none, Following::Live), at(20));
        assert_eq!(
            known.witnesses(offsets(LACKING_MAX + 1, 0), at(20)),
            [],
            "it lacks too much"
        );
    }

    proptest! {
        // I8, whatever was told in whatever order: never beyond what is durable here or at one that
        // is in sync.
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
                prop_assert!(point.messages.0 <= own && point.receipts.0 <= own);
                for (name, in_sync) in known.standbys(committed, now) {
                    let number = (0..4).find(|number| node(*number) == name).expect("one of ours");
                    let (heard, durable) = told.get(&number).copied().unwrap_or((now, 0));
                    if in_sync {
                        prop_assert!(point.messages.0 <= durable && point.receipts.0 <= durable);
                        prop_assert!(now - heard < REPORT_MAX);
                    }
                }
            }
        }
    }
}
