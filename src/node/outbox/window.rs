//! Which rows of an outbox are on their way to which shard: a bounded window for each shard, so
//! that one that does not answer holds up none of the others. Pure.
//!
//! Rows are taken in the order of the outbox and leave it, shard by shard, in that order. One for
//! which there is no room is left where it is, in the file, and so is everything behind it for the
//! same shard; once there is room, the outbox is read again from there, and what other shards have
//! taken already is passed over.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::ShardId;
use crate::log::record::{IndexChange, OutboxPosition};
use crate::shard::delivery::{Reached, before};
use crate::shard::file::store::OutboxRow;
use crate::shard::outbox::OutboxPage;

/// Rows of one shard in memory.
const ROWS_MAX: usize = 1_000;

/// Rows of all shards in memory; beyond them each may have [`SHARE`].
const ROWS_MAX_ALL: usize = 4_000;

/// Rows that each shard may have whatever the others have.
const SHARE: usize = 16;

/// The rows for one shard.
#[derive(Debug, Default)]
struct Target {
    /// Its rows up to there were taken.
    taken: OutboxPosition,
    /// Taken, and not on their way yet.
    waiting: VecDeque<OutboxRow>,
    /// The first row on its way, and how many there are.
    flying: Option<(OutboxPosition, usize)>,
    /// The first row that was left in the file.
    left: Option<OutboxPosition>,
}

impl Target {
    fn held(&self) -> usize {
        self.waiting.len() + self.flying.map_or(0, |(_, count)| count)
    }

    /// The first row that the shard lacks.
    fn first(&self) -> Option<OutboxPosition> {
        let flying = self.flying.map(|(first, _)| first);
        flying
            .or_else(|| self.waiting.front().map(|row| row.position))
            .or(self.left)
    }
}

/// The windows of all shards. One entry for each shard that ever had a row.
#[derive(Debug, Default)]
pub(super) struct Window {
    targets: BTreeMap<ShardId, Target>,
    /// Everything up to there was looked at once.
    seen: OutboxPosition,
    /// The next page begins behind this.
    from: OutboxPosition,
    /// Rows in memory.
    held: usize,
    /// The last row that was taken.
    last: OutboxPosition,
    /// Known to the log, or that nothing is before it.
    told: Option<OutboxPosition>,
}

impl Window {
    /// The next page is to begin behind this.
    pub(super) fn from(&self) -> OutboxPosition {
        self.from
    }

    /// Takes what there is room for.
    pub(super) fn take(&mut self, page: OutboxPage, shard_of: impl Fn(&OutboxRow) -> ShardId) {
        for row in page.rows {
            let target = self.targets.entry(shard_of(&row)).or_default();
            let passed =
                row.position <= target.taken || target.left.is_some_and(|left| row.position > left);
            if passed {
                continue;
            }
            let held = target.held();
            if held < ROWS_MAX && (self.held < ROWS_MAX_ALL || held < SHARE) {
                target.taken = row.position;
                target.left = None;
                self.last = self.last.max(row.position);
                self.told.get_or_insert_with(|| before(row.position));
                self.held += 1;
                target.waiting.push_back(row);
            } else {
                target.left = Some(row.position);
            }
        }

        self.from = page.upto;
        self.seen = self.seen.max(page.upto);
    }

    /// What is to be sent now: everything that waits, for each shard to which nothing is on its
    /// way.
    pub(super) fn depart(&mut self) -> Vec<(ShardId, Vec<IndexChange>)> {
        let mut departing = Vec::new();
        for (shard, target) in &mut self.targets {
            let first = target.waiting.front().map(|row| row.position);
            if let (None, Some(first)) = (target.flying, first) {
                target.flying = Some((first, target.waiting.len()));
                departing.push((
                    *shard,
                    target.waiting.drain(..).map(|row| row.change).collect(),
                ));
            }
        }
        departing
    }

    /// What was on its way to a shard has arrived; how many rows.
    pub(super) fn arrived(&mut self, shard: ShardId) -> usize {
        let Some(target) = self.targets.get_mut(&shard) else {
            return 0;
        };
        let count = target.flying.take().map_or(0, |(_, count)| count);
        self.held = self.held.saturating_sub(count);
        if let Some(left) = target.left.filter(|_| target.waiting.is_empty()) {
            self.from = self.from.min(before(left));
        }
        count
    }

    /// How far the outbox is delivered.
    pub(super) fn reached(&self) -> Reached {
        let open = self
            .targets
            .iter()
            .filter_map(|(shard, target)| Some((*shard, target.first()?)));
        Reached {
            seen: self.seen,
            open: open.collect(),
        }
    }

    /// What is to be told to the log, if that has grown: never beyond the last row, never twice the
    /// same.
    pub(super) fn progress(&mut self) -> Option<OutboxPosition> {
        let upto = self.reached().prefix().min(self.last);
        let grown = self.told.filter(|told| upto > *told).map(|_| upto);
        self.told = self.told.max(grown);
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationName, Offset, Seq, UserId};

    const ALL: OutboxPosition = OutboxPosition {
        offset: Offset(1_000_000),
        index: u32::MAX,
    };

    fn at(offset: u64) -> OutboxPosition {
        OutboxPosition {
            offset: Offset(offset),
            index: 0,
        }
    }

    /// A row at an offset, for the user of a shard's number.
    fn row(offset: u64, shard: u16) -> OutboxRow {
        let change = IndexChange {
            user: UserId::parse(&format!("u{shard}")).expect("a name"),
            conversation: ConversationName::parse("c").expect("a name"),
            seq: Seq(offset),
            joined: true,
            at: 1,
            create_key: None,
            view: None,
        };
        OutboxRow {
            position: at(offset),
            change,
        }
    }

    fn shard_of(row: &OutboxRow) -> ShardId {
        ShardId(row.change.user.as_str()[1..].parse().expect("a number"))
    }

    /// The page behind a place, of everything there is.
    fn page(all: &[OutboxRow], from: OutboxPosition) -> OutboxPage {
        let rows: Vec<_> = all
            .iter()
            .filter(|row| row.position > from)
            .take(1_000)
            .cloned()
            .collect();
        let upto = if rows.len() < 1_000 {
            ALL
        } else {
            rows.last().map_or(ALL, |row| row.position)
        };
        OutboxPage { rows, upto }
    }

    fn read_all(window: &mut Window, all: &[OutboxRow]) {
        while window.from() < ALL {
            window.take(page(all, window.from()), shard_of);
        }
    }

    #[test]
    fn rows_of_other_shards_pass_one_that_does_not_answer_however_many_it_has() {
        // Far more for the shard that is dead than there is room for, and one for each other among
        // them.
        let number = |n: u64| {
            if n.is_multiple_of(1_000) {
                u16::try_from(n / 1_000).expect("small")
            } else {
                0
            }
        };
        let all: Vec<_> = (1..=20_000).map(|n| row(n, number(n))).collect();
        let mut window = Window::default();
        read_all(&mut window, &all);

        let departing = window.depart();
        assert_eq!(departing.len(), 21);

        for (shard, _) in departing.iter().filter(|(shard, _)| *shard != ShardId(0)) {
            assert_eq!(window.arrived(*shard), 1);
        }

        let delivered = window.reached();
        assert!((1..=20).all(|other| delivered.covers(ShardId(other), ALL)));
        assert!(!delivered.covers(ShardId(0), at(1)));
        assert!(window.held <= ROWS_MAX, "{}", window.held);
        assert_eq!(
            window.progress(),
            None,
            "the first row of all is not delivered"
        );
    }

    #[test]
    fn what_was_left_in_the_file_is_delivered_in_order_once_there_is_room_and_nothing_twice() {
        let all: Vec<_> = (1..=5_000).map(|n| row(n, (n % 2) as u16)).collect();
        let mut window = Window::default();
        let mut told: BTreeMap<ShardId, Vec<u64>> = BTreeMap::new();
        let mut progress = Vec::new();

        loop {
            read_all(&mut window, &all);
            let departing = window.depart();
            if departing.is_empty() {
                break;
            }
            for (shard, changes) in departing {
                told.entry(shard)
                    .or_default()
                    .extend(changes.iter().map(|change| change.seq.0));
                window.arrived(shard);
                progress.extend(window.progress());
            }
        }

        for (shard, seqs) in told {
            let expected: Vec<_> = (1..=5_000)
                .filter(|n| n % 2 == u64::from(shard.0))
                .collect();
            assert_eq!(seqs, expected, "{shard}");
        }

        assert!(progress.is_sorted());
        assert_eq!(progress.last(), Some(&at(5_000)));
        assert_eq!((window.held, window.reached()), (0, Reached::upto(ALL)));
    }

    #[test]
    fn many_shards_that_do_not_answer_leave_room_for_one_that_does() {
        let dead = (1..=10_000).map(|n| row(n, (n % 10) as u16));
        let all: Vec<_> = dead.chain([row(10_001, 77)]).collect();
        let mut window = Window::default();
        read_all(&mut window, &all);
        assert!(window.held <= ROWS_MAX_ALL + SHARE * 11, "{}", window.held);
        assert!(
            window
                .depart()
                .iter()
                .any(|(shard, _)| *shard == ShardId(77))
        );
    }

    #[test]
    fn progress_stays_before_the_first_row_that_is_not_delivered() {
        let all = [row(1, 1), row(2, 2), row(3, 1)];
        let mut window = Window::default();
        read_all(&mut window, &all);
        assert_eq!(window.depart().len(), 2);
        window.arrived(ShardId(1));
        assert!(window.progress().is_none_or(|upto| upto < at(2)));
        window.arrived(ShardId(2));
        assert_eq!((window.progress(), window.progress()), (Some(at(3)), None));
    }
}
