//! What the loop does while the log does not answer: writes that are not decided yet are parked, in
//! their order, and decided when it answers again. Nothing undecided is written, so a parked write
//! whose budget ends is surely not there. Reads and subscriptions go on.

use std::time::Duration;

use crate::log::lane::Standing;
use crate::problem::Problem;
use crate::shard::write::append::Appender;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::input::Asked;
use crate::shard::write::owner::parking::no_space;

/// A lane that is not clear for so long is stalled. Shorter doubts pass without anyone noticing.
const STALLED_AFTER: Duration = Duration::from_secs(1);

impl Owner {
    /// The epoch of this owner is committed in both streams.
    pub(super) fn is_announced(&self) -> bool {
        let committed = self.appenders.each_ref().map(Appender::committed);
        committed
            .zip(self.setup.tails)
            .all(|(committed, begun)| committed.offset > begun.offset)
    }

    /// Looks whether the log is stalled: the epoch of this owner is not committed yet, its lane has
    /// not been clear for a while, or nothing proves that the shard is ours, so that even a refusal
    /// might be out of date. Likewise while it is about to be given away.
    pub(super) fn look_at_log(&mut self) {
        let since = match self.parking.standing.now() {
            Standing::Clear => None,
            Standing::InDoubt { since } | Standing::NotReplicated { since } => Some(since),
        };

        // Without space writes are refused, not parked; the lane has told why.
        let is_full = self.parking.is_full();
        let in_doubt = !is_full && since.is_some_and(|since| since.elapsed() >= STALLED_AFTER);
        let announced = self.is_announced();
        let proven = !self.setup.lease.has_ended(self.setup.clock.since_boot());
        let stalled = !announced || in_doubt || !proven || self.holding.is_some();

        // Each opening waits for its epoch; that is no event.
        if announced && stalled != self.parking.told {
            self.parking.told = stalled;
            self.say_stalled(stalled);
        }

        self.parking.stalled = stalled;
        if is_full {
            for (_, asked) in std::mem::take(&mut self.parking.parked) {
                asked.answer.send(Err(no_space().into())).ok();
            }
        }
    }

    fn say_stalled(&self, stalled: bool) {
        let (shard, parked) = (self.setup.shard, self.parking.parked.len());
        if stalled {
            tracing::info!(%shard, "writes of the shard are parked");
        } else {
            tracing::info!(%shard, parked, "writes of the shard are decided again");
        }
    }

    /// Parks a write when it cannot be decided now, or must not overtake those that are parked;
    /// refuses it when the log has no space. Gives it back otherwise.
    pub(super) fn park(&mut self, asked: Asked) -> Option<Asked> {
        let parking = &mut self.parking;
        if parking.refuses(asked.turn) {
            asked.answer.send(Err(no_space().into())).ok();
            return None;
        }

        let waits = parking.stalled
            || parking
                .parked
                .first_key_value()
                .is_some_and(|(first, _)| *first < asked.turn);
        if !waits {
            return Some(asked);
        }

        if parking.parked.len() >= parking.max {
            let problem = Problem::unavailable(
                "the log does not answer and too many writes wait for it; retry later",
            );
            asked.answer.send(Err(problem.into())).ok();
        } else {
            parking.parked.insert(asked.turn, asked);
        }

        None
    }

    /// Decides parked writes in their order, when the log answers and as long as there is space
    /// behind the batch in flight. Those whose caller has left are dropped.
    pub(super) fn unpark(&mut self) {
        while !self.parking.stalled
            && !self.appenders.messages.is_full()
            && !self.appenders.receipts.is_full()
        {
            let Some((_, asked)) = self.parking.parked.pop_first() else {
                return;
            };
            if asked.has_caller() {
                self.take_write(asked);
            }
        }
    }

    /// Drops parked writes whose caller has left, to make space.
    pub(super) fn tidy_parked(&mut self) {
        self.parking.parked.retain(|_, asked| asked.has_caller());
    }
}
