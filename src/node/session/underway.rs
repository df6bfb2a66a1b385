//! The commands of one session that are under way, and how much of the session each shard may take.
//!
//! A session has places for commands that are expected to be answered promptly. One that was not
//! answered within [`PROMPT`] waits for its owner, and gives its place back, so that what is read
//! behind it goes on. A shard takes a part of the places at most: what is beyond it waits while the
//! shard answers promptly, and is refused at once when the shard does not.
//!
//! **Invariants.** Commands are enqueued in the order in which they came; a refused one was not
//! written, and changes nothing of the order of the others. At most [`PROMPT_MAX`] and [`LATE_MAX`]
//! commands of a session are under way; the room for their answers is bounded by the session. A
//! command waits here for [`PROMPT`] at most because of one shard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::ids::ShardId;
use crate::problem::Problem;
use crate::telemetry;

/// A command that is not answered by then waits for its owner.
pub(super) const PROMPT: Duration = Duration::from_millis(250);
/// Commands of one session that are expected to be answered promptly; beyond it nothing more is
/// read from the socket.
const PROMPT_MAX: usize = 256;
/// Commands of one session that wait for their owners and have given their places back; further
/// ones keep theirs.
const LATE_MAX: usize = 512;
/// Commands of one session under way at one shard.
pub(super) const PER_SHARD: usize = 128;

/// The commands under way of one session.
#[derive(Debug)]
pub(super) struct UnderWay {
    prompt: Arc<Semaphore>,
    late: Arc<Semaphore>,
    shards: Mutex<HashMap<ShardId, Share>>,
    /// A share became smaller, or late.
    changed: Notify,
    /// Bytes that the answers of one shard may take, if it is more than one answer.
    bytes_max: usize,
}

/// What a shard takes of a session.
#[derive(Debug, Default)]
struct Share {
    commands: usize,
    bytes: usize,
    /// Commands that were not answered promptly.
    late: usize,
}

/// Whether a shard may take more.
enum Standing {
    Taken,
    Full,
    /// Full, and it does not answer promptly.
    Late,
}

impl UnderWay {
    /// Nothing is under way. `bytes_max` is what all answers may take.
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            prompt: Arc::new(Semaphore::new(PROMPT_MAX)),
            late: Arc::new(Semaphore::new(LATE_MAX)),
            shards: Mutex::default(),
            changed: Notify::new(),
            bytes_max: bytes_max / 4,
        })
    }

    fn shards(&self) -> MutexGuard<'_, HashMap<ShardId, Share>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a command to a shard, whose answer has room of so many bytes; waits for one. To
    /// be called for one command after the other.
    ///
    /// # Errors
    /// `unavailable`: the shard has its share of the session, and does not answer.
    pub(super) async fn enter(
        self: &Arc<Self>,
        shard: ShardId,
        bytes: usize,
    ) -> Result<Place, Problem> {
        loop {
            match self.take(shard, bytes) {
                Standing::Taken => break,
                Standing::Full => self.changed.notified().await,
                Standing::Late => {
                    telemetry::SESSION_COMMANDS_REFUSED.add(1, &[]);
                    let detail = "what this belongs to does not answer, and enough of this session waits for it; \
                                  nothing was written: try again";
                    return Err(Problem::unavailable(detail));
                }
            }
        }

        let mut place = Place {
            under_way: Arc::clone(self),
            shard,
            bytes,
            is_late: false,
            permit: None,
        };
        place.permit = match Arc::clone(&self.prompt).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_none) => Arc::clone(&self.prompt).acquire_owned().await.ok(),
        };

        Ok(place)
    }

    fn take(&self, shard: ShardId, bytes: usize) -> Standing {
        let mut shards = self.shards();
        let share = shards.entry(shard).or_default();
        let is_full = share.commands >= PER_SHARD
            || share.commands > 0 && share.bytes + bytes > self.bytes_max;
        if is_full {
            return if share.late > 0 {
                Standing::Late
            } else {
                Standing::Full
            };
        }
        share.commands += 1;
        share.bytes += bytes;
        Standing::Taken
    }
}

/// The place of a command under way; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    under_way: Arc<UnderWay>,
    shard: ShardId,
    bytes: usize,
    is_late: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// The command was not answered promptly: it gives its place to others.
    pub(super) fn grow_late(&mut self) {
        if let Ok(late) = Arc::clone(&self.under_way.late).try_acquire_owned() {
            self.permit = Some(late);
        }
        if let Some(share) = self.under_way.shards().get_mut(&self.shard)
            && !self.is_late
        {
            self.is_late = true;
            share.late += 1;
        }
        self.under_way.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.under_way.shards().entry(self.shard) {
            let share = entry.get_mut();
            share.commands = share.commands.saturating_sub(1);
            share.bytes = share.bytes.saturating_sub(self.bytes);
            share.late = share.late.saturating_sub(usize::from(self.is_late));
            if share.commands == 0 {
                entry.remove();
            }
        }
        self.under_way.changed.notify_one();
    }
}
