//! The read lease of an owner: until when it may answer reads without the stale mark. Pure; times
//! are of the clock that runs on while the machine sleeps.
//!
//! Whoever would take the shard must first have seen an unchanged control record for the takeover
//! watch T on its own clock. A proof of ownership that was *sent* at some moment changed the record
//! not before that moment, so until T after it nobody else owns the shard; a tenth of T is left for
//! clocks that run at different rates.
//!
//! It also says who may give a sign of life to those who would take the shard: a renewal that was
//! not answered is followed by none without a question (ADR 15).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of T, in tenths.
const TENTHS: u32 = 9;

/// When nothing proves the ownership any more.
const LOST: u64 = u64::MAX;

/// How sure a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Freshness {
    /// Proven: nothing acknowledged before the read began is missing.
    Strict,
    /// The owner could not prove its lease; the answer may lack what was acknowledged in the last
    /// `ms` milliseconds.
    Stale {
        /// Milliseconds since the last proof.
        ms: u64,
    },
}

impl Freshness {
    /// Of an answer that is made of two.
    #[must_use]
    pub(crate) fn stalest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stale { ms: one }, Self::Stale { ms: two }) => Self::Stale { ms: one.max(two) },
            (Self::Strict, rest) | (rest, Self::Strict) => rest,
        }
    }
}

/// The lease of one shard.
#[derive(Debug)]
pub(crate) struct Lease {
    /// How long a proof holds; `None`: for ever, since nobody else can own the shard.
    span: Option<Duration>,
    /// When the last proof was sent, in milliseconds since boot; [`LOST`] when it is known to hold
    /// no more.
    proven: AtomicU64,
    /// What was sent before that proves nothing: the owner was about to give its shard away. In
    /// milliseconds since boot.
    ended: AtomicU64,
    /// The last renewal has no answer, so far.
    unanswered: AtomicBool,
}

impl Lease {
    /// Proven by a claim that was sent at that time.
    #[must_use]
    pub(crate) fn new(takeover_watch: Option<Duration>, sent: Duration) -> Self {
        let span = takeover_watch.map(|watch| watch * TENTHS / 10);
        let (ended, unanswered) = (AtomicU64::new(0), AtomicBool::new(false));
        Self {
            span,
            proven: AtomicU64::new(whole_ms(sent)),
            ended,
            unanswered,
        }
    }

    /// Ends it until it is proven by what is sent from now on: the shard may be another's in a
    /// moment.
    pub(crate) fn end(&self, now: Duration) {
        // Beyond the millisecond that `now` is in, for that may have begun with a proof.
        self.ended
            .fetch_max(whole_ms(now).saturating_add(1), Ordering::SeqCst);
    }

    /// Takes an end back, for the shard was surely not given away: what proved it before proves it
    /// still.
    pub(crate) fn go_on(&self) {
        self.ended.store(0, Ordering::SeqCst);
    }

    /// A renewal is on its way. False when the one before it had no answer: then it may not be sent
    /// before a question that moves nothing is answered.
    pub(crate) fn renewing(&self) -> bool {
        !self.unanswered.swap(true, Ordering::SeqCst)
    }

    /// Another proof, sent at that time, was answered as current. An older one than the last, and
    /// one after the loss, do nothing.
    pub(crate) fn prove(&self, sent: Duration) {
        self.unanswered.store(false, Ordering::SeqCst);
        // `LOST` is the highest: it stays.
        self.proven
            .fetch_max(whole_ms(sent).min(LOST - 1), Ordering::SeqCst);
    }

    /// The ownership is known to be lost.
    pub(crate) fn lose(&self) {
        self.proven.store(LOST, Ordering::SeqCst);
    }

    /// How much longer it holds; zero when it has ended, `None` when it never ends.
    #[must_use]
    pub(crate) fn remaining(&self, now: Duration) -> Option<Duration> {
        let proven = self.proven.load(Ordering::SeqCst);
        if proven == LOST || proven < self.ended.load(Ordering::SeqCst) {
            return Some(Duration::ZERO);
        }
        Some((Duration::from_millis(proven) + self.span?).saturating_sub(now))
    }

    /// The ownership is known to be lost.
    #[must_use]
    pub(crate) fn is_lost(&self) -> bool {
        self.proven.load(Ordering::SeqCst) == LOST
    }

    /// Nobody else can own the shard.
    #[must_use]
    pub(crate) fn never_ends(&self) -> bool {
        self.span.is_none()
    }

    /// It has ended.
    #[must_use]
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        self.remaining(now) == Some(Duration::ZERO)
    }

    /// How sure an answer is that was gathered *before* `now` was read.
    #[must_use]
    pub(crate) fn freshness(&self, now: Duration) -> Freshness {
        if self.has_ended(now) {
            Freshness::Stale {
                ms: self.age_ms(now),
            }
        } else {
            Freshness::Strict
        }
    }

    /// Milliseconds since the last proof, at least 1.
    #[must_use]
    pub(crate) fn age_ms(&self, now: Duration) -> u64 {
        let proven = self.proven.load(Ordering::SeqCst);
        // After a loss no one knows since when: at least as long as a watch.
        let since = if proven == LOST {
            self.span.map_or(1, whole_ms)
        } else {
            whole_ms(now).saturating_sub(proven)
        };
        since.max(1)
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(LOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(3);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_ends_nine_tenths_of_the_watch_after_its_last_proof_was_sent() {
        let lease = Lease::new(Some(T), at(1_000));
        assert_eq!(lease.remaining(at(1_500)), Some(at(2_200)));
        assert_eq!(lease.freshness(at(3_699)), Freshness::Strict);
        assert_eq!(lease.freshness(at(3_700)), Freshness::Stale { ms: 2_700 });
        lease.prove(at(3_000));
        assert_eq!(lease.freshness(at(5_699)), Freshness::Strict);
        assert_eq!(lease.freshness(at(9_000)), Freshness::Stale { ms: 6_000 });
    }

    #[test]
    fn an_answer_that_comes_late_does_not_shorten_a_lease() {
        let lease = Lease::new(Some(T), at(1_000));
        lease.prove(at(2_000));
        lease.prove(at(1_500));
        assert_eq!(lease.remaining(at(2_000)), Some(at(2_700)));
    }

    #[test]
    fn a_lease_that_was_ended_is_proven_again_only_by_what_was_sent_after() {
        let lease = Lease::new(Some(T), at(1_000));
        lease.end(at(1_200));
        assert_eq!(lease.freshness(at(1_200)), Freshness::Stale { ms: 200 });

        for sent in [1_100, 1_200] {
            lease.prove(at(sent));
            assert!(
                lease.has_ended(at(1_201)),
                "sent before the end, or in that very millisecond"
            );
        }

        lease.prove(at(1_201));
        assert_eq!(lease.remaining(at(1_201)), Some(at(2_700)));

        lease.end(at(1_300));
        lease.go_on();
        assert_eq!(
            lease.freshness(at(1_300)),
            Freshness::Strict,
            "it was not given away"
        );

        let local = Lease::new(None, at(1_000));
        local.end(at(1_200));
        assert!(local.has_ended(at(1_300)), "whatever the log is");
    }

    #[test]
    fn what_is_lost_is_not_proven_again() {
        let lease = Lease::new(Some(T), at(1_000));
        lease.lose();
        lease.prove(at(2_000));
        assert_eq!(lease.freshness(at(2_000)), Freshness::Stale { ms: 2_700 });
        let local = Lease::new(None, at(1_000));
        local.lose();
        assert!(local.has_ended(at(1_000)), "whatever the log is");
    }

    #[test]
    fn where_nobody_else_can_own_the_shard_the_lease_never_ends() {
        let lease = Lease::new(None, at(1));
        assert_eq!(
            (
                lease.remaining(at(u64::MAX / 2)),
                lease.has_ended(at(u64::MAX / 2))
            ),
            (None, false)
        );
        assert_eq!(lease.freshness(Duration::MAX), Freshness::Strict);
    }
}
