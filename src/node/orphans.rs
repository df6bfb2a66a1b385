//! Sends what only a diverged replica has to the shard's owner again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ids::ShardId;
use crate::node::owners::Owners;
use crate::shard::command::{Command, Done};
use crate::shard::log::ShardLog;
use crate::shard::log::record::Event;
use crate::shard::orphans;

/// Time for one message.
const BUDGET: Duration = Duration::from_secs(5);

/// Pause before one that was not answered is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the orphans of a file that was put aside to the shard's owner, one after the other in their order, until each is
/// answered. May be dropped at any time and begun anew: what is there already is recognised.
pub(super) async fn resubmit(owners: &Owners, log: &dyn ShardLog, shard: ShardId, aside: &Path) {
    let found = found(log, shard, aside).await;
    let (orphans, mut written) = (found.len(), 0_u32);
    for event in found {
        written += u32::from(resubmitted(owners, shard, event).await);
    }
    if orphans > 0 {
        tracing::warn!(%shard, orphans, written, "messages that only a diverged file had were sent again");
    }
}

/// The orphans of that file, as soon as log and file can be read.
async fn found(log: &dyn ShardLog, shard: ShardId, aside: &Path) -> Vec<Arc<Event>> {
    loop {
        match orphans(shard, log, aside).await {
            Ok(found) => return found,
            Err(error) => tracing::warn!(%shard, %error, "orphans cannot be read yet"),
        }
        sleep(PAUSE).await;
    }
}

/// Sends one until it is answered; true when it was written now.
async fn resubmitted(owners: &Owners, shard: ShardId, event: Arc<Event>) -> bool {
    loop {
        let command = Command::Resubmit(Arc::clone(&event));
        match owners.execute(shard, command, Instant::now() + BUDGET).await {
            Ok(done) => return matches!(done, Done::Resubmitted(true)),
            Err(problem) if problem.code.retryable() => sleep(PAUSE).await,
            Err(problem) => {
                tracing::error!(%shard, %problem, "an orphan is refused");
                return false;
            }
        }
    }
}
