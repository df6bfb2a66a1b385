//! The takeover watch of one shard: whether its owner has been silent for so long that a standby
//! may take the shard. Pure; times are of the clock that runs on while the machine sleeps.
//!
//! An owner's lease ends 0.9·T after it *sent* its last good renewal, and each renewal changes the
//! beat. Whoever has seen token and beat unchanged for T, counted from the *receipt* of the answer
//! that showed them first, and all that time on one lineage, knows that the lease has ended. Any
//! change of the three starts the watch again, also one backwards (a renewal may have been lost in
//! a failover of Redis), and so does an answer that took long: it is not known when in that time it
//! was true.

use std::time::Duration;

use crate::ids::Epoch;
use crate::log::Token;

/// Beyond T, for clocks that run at different rates.
const MARGIN: Duration = Duration::from_millis(250);

/// Each standby begins so much later than the one before it in the row.
const STAGGER: Duration = Duration::from_millis(500);

/// An answer that took longer than this part of T starts the watch again.
const ANSWER_PART: u32 = 4;

/// What one look at the control record showed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The token.
    pub token: Token,
    /// The beat.
    pub beat: u64,
    /// The lineage of the server process that answered.
    pub lineage: u64,
    /// When it was asked for.
    pub asked: Duration,
    /// When the answer was received.
    pub received: Duration,
}

/// The watch of one shard by one standby.
#[derive(Debug)]
pub(crate) struct Watch {
    takeover_watch: Duration,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    sight: Sight,
    /// Since when it is the same.
    since: Duration,
    /// Since when the token is older than what the own file has seen.
    behind_since: Option<Duration>,
}

impl Watch {
    /// With this watch time T.
    #[must_use]
    pub(crate) fn new(takeover_watch: Duration) -> Self {
        Self {
            takeover_watch,
            last: None,
        }
    }

    /// Notes what was seen. True when the standby of this rank may take the shard now, by
    /// compare-and-set on exactly this token and beat. `of_file` is the highest epoch that its file
    /// has seen: a lower one in the control record proves that the log fell back, and then there is
    /// nothing to wait for.
    pub(crate) fn saw(&mut self, sight: Sight, rank: u32, of_file: Epoch) -> bool {
        let fell_back = sight.token.epoch < of_file;
        let same = self
            .last
            .as_ref()
            .filter(|last| last.is_continued_by(&sight));
        let since = same
            .filter(|_| !self.is_late(&sight))
            .map_or(sight.received, |last| last.since);
        let behind_before = self.last.as_ref().and_then(|last| last.behind_since);

        let behind_since = fell_back.then(|| behind_before.unwrap_or(sight.received));
        self.last = Some(Last {
            sight,
            since,
            behind_since,
        });

        let stagger = STAGGER.saturating_mul(rank);
        let silent = sight.received.saturating_sub(since) >= self.wait(rank);
        silent
            || behind_since.is_some_and(|behind| sight.received.saturating_sub(behind) >= stagger)
    }

    /// When [`saw`](Self::saw) will be true first for the standby of this rank, if nothing changes.
    #[must_use]
    pub(crate) fn due_at(&self, rank: u32) -> Option<Duration> {
        self.last.as_ref().map(|last| last.since + self.wait(rank))
    }

    fn wait(&self, rank: u32) -> Duration {
        self.takeover_watch + MARGIN + STAGGER.saturating_mul(rank)
    }

    fn is_late(&self, sight: &Sight) -> bool {
        sight.received.saturating_sub(sight.asked) > self.takeover_watch / ANSWER_PART
    }
}

impl Last {
    /// Later, and nothing has changed.
    fn is_continued_by(&self, next: &Sight) -> bool {
        let of = |sight: &Sight| (sight.token, sight.beat, sight.lineage);
        of(&self.sight) == of(next) && self.sight.received <= next.received
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: Duration = Duration::from_secs(3);
    const OLD: Epoch = Epoch(0);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sight(beat: u64, lineage: u64, at: u64) -> Sight {
        let token = Token {
            epoch: Epoch(7),
            nonce: 1,
        };
        Sight {
            token,
            beat,
            lineage,
            asked: ms(at),
            received: ms(at + 1),
        }
    }

    /// When the watch is due first, looking every 250 ms.
    fn due(rank: u32, seen: impl Fn(u64) -> Sight) -> Option<u64> {
        let mut watch = Watch::new(T);
        (0..80)
            .map(|look| look * 250)
            .find(|at| watch.saw(seen(*at), rank, OLD))
    }

    #[test]
    fn standbys_are_due_one_after_the_other_once_the_beat_stands_still() {
        assert_eq!(due(0, |at| sight(5, 1, at)), Some(3_250));
        assert_eq!(due(1, |at| sight(5, 1, at)), Some(3_750));
        assert_eq!(due(2, |at| sight(5, 1, at)), Some(4_250));
        assert_eq!(due(0, |at| sight(at / 750, 1, at)), None, "it lives");
    }

    #[test]
    fn it_is_due_when_it_said_and_not_before() {
        for rank in 0..3 {
            let mut watch = Watch::new(T);
            assert_eq!(watch.due_at(rank), None, "nothing was seen");
            assert!(!watch.saw(sight(5, 1, 100), rank, OLD));
            let due = watch.due_at(rank).unwrap();
            let at = u64::try_from(due.as_millis()).unwrap() - 1;
            assert!(!watch.saw(sight(5, 1, at - 1), rank, OLD));
            assert_eq!(watch.due_at(rank), Some(due), "a look changes nothing");
            assert!(watch.saw(sight(5, 1, at), rank, OLD));
        }
    }

    #[test]
    fn any_change_also_backwards_and_another_lineage_start_it_again() {
        assert_eq!(
            due(0, |at| sight(if at < 2_000 { 5 } else { 6 }, 1, at)),
            Some(5_250)
        );
        assert_eq!(
            due(0, |at| sight(if at < 2_000 { 5 } else { 4 }, 1, at)),
            Some(5_250)
        );
        assert_eq!(
            due(0, |at| sight(5, if at < 2_000 { 1 } else { 2 }, at)),
            Some(5_250)
        );

        let other = Token {
            epoch: Epoch(7),
            nonce: 2,
        };
        let changed = |at| Sight {
            token: other,
            ..sight(5, 1, at)
        };

        assert_eq!(
            due(0, |at| if at < 2_000 {
                sight(5, 1, at)
            } else {
                changed(at)
            }),
            Some(5_250)
        );
    }

    #[test]
    fn an_answer_that_took_long_starts_it_again() {
        let late = |at| Sight {
            received: ms(at + 800),
            ..sight(5, 1, at)
        };
        let mut watch = Watch::new(T);
        assert!(!watch.saw(sight(5, 1, 0), 0, OLD) && !watch.saw(late(2_000), 0, OLD));
        let looks = (12..80).map(|look| look * 250);
        assert_eq!(
            looks
                .into_iter()
                .find(|at| watch.saw(sight(5, 1, *at), 0, OLD)),
            Some(6_250)
        );
        let mut always = Watch::new(T);
        assert!((0..20).all(|look| !always.saw(late(look * 1_000), 0, OLD)));
    }

    #[test]
    fn a_log_that_fell_back_is_due_at_once_and_in_the_order_of_the_row() {
        let mut first = Watch::new(T);
        assert!(!first.saw(sight(5, 1, 0), 0, Epoch(7)));
        assert!(first.saw(sight(6, 1, 250), 0, Epoch(8)));

        let mut second = Watch::new(T);
        let looks = [0, 250, 500, 750].map(|at| second.saw(sight(at, 1, at), 1, Epoch(8)));
        assert_eq!(looks, [false, false, true, true], "though the beat moves");
        assert!(!second.saw(
            Sight {
                token: Token {
                    epoch: Epoch(9),
                    nonce: 3
                },
                ..sight(1, 1, 1_000)
            },
            1,
            Epoch(8)
        ));
    }

    proptest! {
        /// The owner renews at some moments; each look has a delay before and after the server has
        /// read the record. When the watch is due, the lease of every renewal that took effect
        /// before the compare-and-set has ended.
        #[test]
        fn whoever_is_due_knows_that_the_lease_has_ended(
            renewals in prop::collection::btree_set(0_u64..15_000, 0..12),
            delays in prop::collection::vec((0_u64..900, 0_u64..900), 80),
            pauses in prop::collection::vec(0_u64..2_000, 80),
            rank in 0_u32..3,
        ) {
            let mut watch = Watch::new(T);
            let mut now = 0;
            for ((there, back), pause) in delays.into_iter().zip(pauses) {
                let (asked, read) = (now, now + there);
                let received = read + back;
                // A renewal is sent up to when it takes effect; its beat is how many there were.
                let beat = renewals.range(..=read).count() as u64;
                let seen = Sight { asked: ms(asked), received: ms(received), ..sight(beat, 1, 0) };
                if watch.saw(seen, rank, OLD) {
                    let last = renewals.range(..=read).next_back();
                    prop_assert!(last.is_none_or(|sent| sent + 2_700 <= received));
                    // And one that took effect later makes the compare-and-set fail.
                }
                now = received + pause;
            }
        }

        #[test]
        fn an_owner_that_renews_often_enough_is_never_taken_for_dead(
            offset in 0_u64..750,
            delays in prop::collection::vec((0_u64..300, 0_u64..300), 100),
        ) {
            let mut watch = Watch::new(T);
            let mut now = 0;
            for (there, back) in delays {
                let (asked, read) = (now, now + there);
                let seen = sight((read + offset) / 750, 1, 0);
                let seen = Sight { asked: ms(asked), received: ms(read + back), ..seen };
                prop_assert!(!watch.saw(seen, 0, OLD));
                now = read + back + 250;
            }
        }
    }
}
