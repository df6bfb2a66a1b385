//! Erasing what closed conversations left, step by step (ADR 26). What is next is read in the file
//! alone, so whoever owns the shard next goes on where this owner stood; what goes is told by
//! records, so that replicas stay equal.
//!
//! **Bound.** One step of a shard is on its way at a time, and [`REST`] lies between two.

use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::ids::{ConversationName, Offset, Seq};
use crate::log::Stream;
use crate::shard::command::ShardError;
use crate::shard::file::store::Left;
use crate::shard::state::Inner;
use crate::shard::write::owner::{Accepted, Step, Write};

/// Messages and events that go with one step.
const SEQS: u64 = 1_000;

/// Pause between two steps.
const REST: Duration = Duration::from_millis(100);

/// Pause before a step that was not taken is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a step may take to be committed.
const BUDGET: Duration = Duration::from_secs(5);

/// Erases closed conversations as long as the shard is owned here.
pub(in crate::shard) async fn erase(shard: Weak<Inner>) {
    let Some((mut closings, mut closed)) = shard
        .upgrade()
        .map(|shard| (shard.closings.subscribe(), shard.closed.clone()))
    else {
        return;
    };

    // Nothing of what is read here tells that the receipts stream has no more to come.
    let mut swept = None;
    let erasing = async {
        loop {
            let upto = *closings.borrow_and_update();
            let Some(shard) = shard.upgrade() else { return };
            let went = shard.erase_next(upto, &mut swept).await;
            drop(shard);
            match went {
                Ok(true) => tokio::time::sleep(REST).await,
                Ok(false) if closings.changed().await.is_err() => return,
                Ok(false) => {}
                Err(_refused) => tokio::time::sleep(AGAIN).await,
            }
        }
    };

    tokio::select! {
        () = erasing => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

impl Inner {
    /// Takes the next step, once the file has everything up to there. False when there is none.
    /// `swept`: the conversation of which a step of the receipts stream was taken here.
    async fn erase_next(
        &self,
        upto: Offset,
        swept: &mut Option<ConversationName>,
    ) -> Result<bool, ShardError> {
        self.in_file(Stream::Messages, upto).await?;
        let Some(left) = self.store.left_to_erase().await? else {
            return Ok(false);
        };

        let step = next(&left, swept.as_ref() == Some(&left.conversation));
        let write = Write::Erase {
            conversation: left.conversation.clone(),
            step,
        };
        let accepted = self.write(write, Instant::now() + BUDGET).await?;
        let (Accepted::Changed { offset, .. }, stream) = (accepted, step.stream()) else {
            return Ok(true);
        };
        self.in_file(stream, offset).await?;

        match step {
            Step::Erase(Stream::Receipts) => *swept = Some(left.conversation),
            Step::Last => {
                tracing::info!(shard = %self.shard, conversation = %left.conversation, "a deleted conversation is erased");
            }
            Step::Prune(_) | Step::Erase(Stream::Messages) => {}
        }
        Ok(true)
    }

    /// Waits until the file has a record.
    pub(in crate::shard) async fn in_file(
        &self,
        stream: Stream,
        offset: Offset,
    ) -> Result<(), ShardError> {
        let mut applied = self.applied(stream);
        let reached = applied.wait_for(|tail| tail.offset >= offset).await;
        reached.map(drop).map_err(|_closed| ShardError::NotOwner)
    }
}

/// What goes next. `is_swept`: a step of the receipts stream stands behind all its receipts.
fn next(left: &Left, is_swept: bool) -> Step {
    let end = left.last.0.saturating_sub(1);
    if left.pruned.0 < end {
        return Step::Prune(Seq(end.min(left.pruned.0 + SEQS)));
    }
    if left.has_members {
        return Step::Erase(Stream::Messages);
    }
    if left.has_receipts || !is_swept {
        return Step::Erase(Stream::Receipts);
    }
    Step::Last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pruned: u64, has_members: bool, has_receipts: bool) -> Left {
        Left {
            conversation: ConversationName::parse("c").expect("a name"),
            pruned: Seq(pruned),
            last: Seq(2_500),
            has_members,
            has_receipts,
        }
    }

    #[test]
    fn steps_are_bounded_and_end_with_the_last() {
        let steps = [
            (left(0, true, true), false, Step::Prune(Seq(1_000))),
            (left(2_000, true, true), false, Step::Prune(Seq(2_499))),
            (
                left(2_499, true, true),
                false,
                Step::Erase(Stream::Messages),
            ),
            (
                left(2_499, false, true),
                true,
                Step::Erase(Stream::Receipts),
            ),
            (
                left(2_499, false, false),
                false,
                Step::Erase(Stream::Receipts),
            ),
            (left(2_499, false, false), true, Step::Last),
        ];
        for (left, is_swept, step) in steps {
            assert_eq!(next(&left, is_swept), step, "{left:?}");
        }
    }
}
