//! What is older than conversations keep it goes, step by step (ADR 27). What is next is read in
//! the file alone, so whoever owns the shard next goes on where this owner stood; what goes is told
//! by records, so that replicas stay equal.
//!
//! **Bound.** One step of a shard is on its way at a time, and [`REST`] lies between two.

use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::ids::ConversationName;
use crate::log::Stream;
use crate::log::record::RETENTION_SINCE;
use crate::problem::Problem;
use crate::shard::command::ShardError;
use crate::shard::file::store::Outdated;
use crate::shard::state::Inner;
use crate::shard::write::owner::{Accepted, Retire, Write};

/// Messages and events that go with one step.
const SEQS: u64 = 1_000;

/// Pause between two steps.
const REST: Duration = Duration::from_millis(100);

/// Pause before a step that was not taken is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a step may take to be committed, and then to be in the file.
const BUDGET: Duration = Duration::from_secs(5);

/// What came of looking for what is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// A step was taken.
    Went,
    /// Nothing is old enough before that time, unless something is written; `None`: ever.
    Until(Option<u64>),
}

/// A time of day that no setting of the clock puts ahead: the one of the beginning and what has
/// passed since, or the clock's if that is earlier.
#[derive(Debug)]
struct Careful {
    began_ms: u64,
    began: Duration,
}

impl Careful {
    fn begun(clock: &Clock) -> Self {
        Self {
            began_ms: clock.now_ms(),
            began: clock.since_boot(),
        }
    }

    fn now_ms(&self, clock: &Clock) -> u64 {
        let passed = clock.since_boot().saturating_sub(self.began);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        clock.now_ms().min(self.began_ms.saturating_add(passed))
    }
}

/// Lets go what is outdated as long as the shard is owned here.
pub(in crate::shard) async fn retain(shard: Weak<Inner>) {
    let Some((time, mut closed, every)) = shard.upgrade().map(|shard| {
        let every = shard.config.retention_every;
        (Careful::begun(&shard.clock), shard.closed.clone(), every)
    }) else {
        return;
    };

    let retaining = async {
        loop {
            // What is held from before this look tells with it until when there is nothing to do.
            let Some(stood) = shard.upgrade().map(|shard| shard.stands()) else {
                return;
            };
            let Some(until) = let_go(&shard, &time).await else {
                return;
            };
            loop {
                tokio::time::sleep(every).await;
                let Some(shard) = shard.upgrade() else { return };
                let is_due = until.is_some_and(|until| until <= time.now_ms(&shard.clock));
                if is_due || shard.stands() != stood {
                    break;
                }
            }
        }
    };

    tokio::select! {
        () = retaining => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// Lets go everything that is outdated now. Returns when the next will be; outside: the shard is
/// gone.
async fn let_go(shard: &Weak<Inner>, time: &Careful) -> Option<Option<u64>> {
    // One time for all of it: a conversation comes to its end once.
    let now_ms = time.now_ms(&shard.upgrade()?.clock);
    loop {
        let looked = shard.upgrade()?.retire_next(now_ms).await;
        match looked {
            Ok(Looked::Went) => tokio::time::sleep(REST).await,
            Ok(Looked::Until(until)) => return Some(until),
            Err(_refused) => tokio::time::sleep(AGAIN).await,
        }
    }
}

impl Inner {
    /// Where the messages stream stands in the file.
    fn stands(&self) -> crate::ids::Offset {
        self.applied[Stream::Messages].borrow().offset
    }

    /// Takes the next step, if something is outdated at that time.
    async fn retire_next(&self, now_ms: u64) -> Result<Looked, ShardError> {
        if !self.config.common.agreed.all_read(RETENTION_SINCE) {
            return Ok(Looked::Until(Some(0)));
        }
        let Some(next) = self.store.next_retained(self.config.retention).await? else {
            return Ok(Looked::Until(None));
        };
        if next.due > now_ms {
            return Ok(Looked::Until(Some(next.due)));
        }

        let until = now_ms.saturating_sub(next.kept_ms);
        let name = next.conversation;
        let Some(outdated) = self.store.outdated(&name, (SEQS, until)).await? else {
            tracing::error!(shard = %self.shard, conversation = %name, "the file says that something is outdated, and has nothing that is");
            return Ok(Looked::Until(Some(0)));
        };
        self.retire_beside(&name, outdated).await?;

        let is_last = self.is_last(&name, outdated, until).await?;
        self.retire(&name, outdated, Retire::Events { is_last })
            .await?;
        Ok(Looked::Went)
    }

    /// Whether nothing behind that is outdated.
    async fn is_last(
        &self,
        name: &ConversationName,
        outdated: Outdated,
        until: u64,
    ) -> Result<bool, ShardError> {
        let more = self.store.outdated(name, (SEQS + 1, until)).await?;
        Ok(more.is_none_or(|more| more.up_to <= outdated.up_to))
    }

    /// Lets go what is kept beside messages, before they go: by these it is found. Nothing comes
    /// to it once nobody reacts any more.
    async fn retire_beside(
        &self,
        name: &ConversationName,
        outdated: Outdated,
    ) -> Result<(), ShardError> {
        self.retire(name, outdated, Retire::Quiet).await?;
        loop {
            let beside = self.store.beside(name, outdated.up_to).await?;
            if beside.is_empty() {
                return Ok(());
            }
            self.retire(name, outdated, Retire::Beside(beside.reacted))
                .await?;
            tokio::time::sleep(REST).await;
        }
    }

    /// Takes a step, and waits until the file has it.
    async fn retire(
        &self,
        name: &ConversationName,
        outdated: Outdated,
        step: Retire,
    ) -> Result<(), ShardError> {
        let stream = step.stream();
        let write = Write::Retire {
            conversation: name.clone(),
            outdated,
            step,
        };
        match self.write(write, Instant::now() + BUDGET).await? {
            Accepted::Changed { offset, .. } => {
                let applied = self.in_file(stream, offset);
                // What was waited for may have been taken back.
                let reached = tokio::time::timeout(BUDGET, applied).await;
                reached.unwrap_or_else(|_late| Err(Problem::unavailable("not applied yet").into()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_lets_nothing_go_early_and_one_set_back_lets_it_go_late() {
        let clock = Clock::manual(1_000_000);
        let time = Careful::begun(&clock);
        clock.pass(Duration::from_secs(5));
        assert_eq!(time.now_ms(&clock), 1_005_000);
        clock.set(9_000_000);
        assert_eq!(time.now_ms(&clock), 1_005_000);
        clock.pass(Duration::from_secs(5));
        assert_eq!(time.now_ms(&clock), 1_010_000);
        clock.set(1_000);
        assert_eq!(time.now_ms(&clock), 1_000);
    }
}
