//! What the workers of a standby follow up to, and when they cannot.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ids::ShardId;
use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::file::store::{Past, Store};
use crate::shard::file::worker::{PERSISTS, tell};
use crate::shard::replicas::Following;

/// Sets what the workers follow up to, and sees when they cannot.
pub(super) struct Watcher {
    pub(super) shard: ShardId,
    pub(super) store: Store,
    pub(super) targets: PerStream<watch::Sender<Tail>>,
    pub(super) sees: watch::Receiver<Option<PerStream<Tail>>>,
    pub(super) ends: watch::Receiver<Following>,
    pub(super) following: Arc<watch::Sender<Following>>,
    pub(super) over: CancellationToken,
    /// Since when the log's tails are no past of the file.
    pub(super) another_since: Option<Instant>,
}

impl Watcher {
    pub(super) async fn run(mut self) {
        let over = self.over.clone();
        over.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&mut self) {
        loop {
            tokio::select! {
                biased;
                ended = self.ends.wait_for(|ends| *ends != Following::Live) => {
                    if let Ok(ended) = ended {
                        tell(&self.following, ended.clone());
                    }
                    return;
                }
                changed = self.sees.changed() => if changed.is_err() { return },
            }
            let seen = *self.sees.borrow_and_update();
            let mut looks = Ok(());
            for (stream, tail) in seen.into_iter().flatten() {
                looks = looks.and(self.look(stream, tail).await);
            }
            match looks {
                Ok(()) => self.another_since = None,
                Err(Following::Diverged(_))
                    if self
                        .another_since
                        .get_or_insert_with(Instant::now)
                        .elapsed()
                        < PERSISTS => {}
                Err(why) => {
                    // What becomes of its file is told by who puts it aside or has it seeded.
                    tracing::info!(shard = %self.shard, ?why, "this standby no longer follows the log");
                    tell(&self.following, why);
                    return;
                }
            }
        }
    }

    /// Follows up to a tail that the log has, or finds that it is another log than the file's.
    async fn look(&self, stream: Stream, tail: Tail) -> Result<(), Following> {
        let target = &self.targets[stream];
        match self.store.past(stream, tail).await {
            Ok(Past::Beyond) => target.send_modify(|target| *target = tail),
            // At the file, or fallen back behind it: there is nothing to read. The target may lie
            // where the log no longer is.
            Ok(Past::Ours | Past::Unknown) => {
                let applied = self.store.progress().applied[stream];
                target.send_modify(|target| *target = applied);
            }
            Ok(Past::Another) => {
                let line = format!(
                    "the log of {} ends at {}, where this file has another history",
                    stream.as_str(),
                    tail.offset
                );
                return Err(Following::Diverged(line));
            }
            Err(error) if error.is_damage() => return Err(Following::Damaged(error.to_string())),
            Err(error) => {
                tracing::warn!(shard = %self.shard, %error, "the file of a standby cannot be read")
            }
        }

        Ok(())
    }
}
