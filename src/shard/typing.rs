//! Who types, on its way to the loop: it waits for no commit, and goes where there is room.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::problem::{Code, Problem};
use crate::shard::command::{Done, ShardError, Typing};
use crate::shard::state::Inner;
use crate::shard::write::owner::Input;
use crate::telemetry;

/// Brings whether a user may tell others that they type.
pub(super) type May = oneshot::Receiver<Result<(), Problem>>;

impl Inner {
    /// Somebody else may own the shard by now.
    pub(super) fn is_unproven(&self) -> bool {
        self.lease.has_ended(self.clock.since_boot())
    }

    /// Queues it if less than half of the queue is taken.
    pub(super) fn begin_typing(&self, typing: Typing) -> Option<May> {
        let (answer, answered) = oneshot::channel();
        let has_room = self.inputs.capacity() > self.inputs.max_capacity() / 2;
        if has_room && self.inputs.try_send(Input::Typing(typing, answer)).is_ok() {
            return Some(answered);
        }
        telemetry::TYPING.add(1, &[("result", "dropped")]);
        None
    }

    /// Waits for the answer; what was not queued is allowed, and missing.
    pub(super) async fn typed(
        &self,
        answered: Option<May>,
        deadline: Instant,
    ) -> Result<Done, ShardError> {
        let Some(answered) = answered else {
            return Ok(Done::Typed);
        };
        match tokio::time::timeout_at(deadline.into(), answered).await {
            // Meanwhile they may have been let in elsewhere.
            Ok(Ok(Err(problem))) if problem.code == Code::NotParticipant && self.is_unproven() => {
                let detail = "whether you take part cannot be proven now; try again";
                Err(Problem::new(Code::Stale, detail).into())
            }
            Ok(Ok(allowed)) => Ok(allowed.map(|()| Done::Typed)?),
            Ok(Err(_)) => Err(ShardError::NotOwner),
            Err(_) => Err(Problem::unavailable("the shard did not get to this in time").into()),
        }
    }
}
