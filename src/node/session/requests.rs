//! What bounds the questions to owners. A shard has few places of its own, so that one that does
//! not answer costs only those who ask it; what is asked of it meanwhile gathers and goes together.
//! All shards share a number of places for *work*: a question that was not answered promptly only
//! waits, and gives that place back.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::ids::ShardId;
use crate::node::session::board::work::Ask;

/// Questions of one kind to one shard under way at once.
pub(super) const PER_SHARD: usize = 4;
/// Questions under way at once that are still expected to be answered promptly.
const PROMPT_MAX: usize = 64;
/// A question that is not answered by then waits for its owner.
const PROMPT: Duration = Duration::from_millis(100);
/// Subscriptions in one question.
const BATCH_MAX: usize = 500;
/// So many waiting subscriptions of a shard are looked through for those that mean nobody any more.
const TIDY_AT: usize = 2_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Subscriptions, for the first time.
    Subscribe,
    /// Subscriptions that failed before.
    Again,
    /// Events for sessions that are behind.
    Span,
    /// A user's index.
    Index,
}

/// The places, by shard and kind.
#[derive(Debug)]
pub(super) struct Requests {
    prompt: Semaphore,
    lanes: Mutex<HashMap<(ShardId, Kind), Arc<Lane>>>,
}

#[derive(Debug)]
struct Lane {
    places: Semaphore,
    /// The last question got no answer: the next ones are not expected to get theirs promptly.
    failing: AtomicBool,
}

impl Requests {
    /// All places are free.
    pub(super) fn new() -> Self {
        Self {
            prompt: Semaphore::new(PROMPT_MAX),
            lanes: Mutex::default(),
        }
    }

    fn lane(&self, shard: ShardId, kind: Kind) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Lane {
                places: Semaphore::new(PER_SHARD),
                failing: AtomicBool::new(false),
            })
        };
        Arc::clone(lanes.entry((shard, kind)).or_insert_with(new))
    }

    /// Asks when there is a place, if `request` then still finds something to ask. `late` is called
    /// once if the answer does not come promptly. The answer says whether it is one.
    pub(super) async fn run<T, F>(
        &self,
        (shard, kind): (ShardId, Kind),
        request: impl FnOnce() -> Option<F>,
        late: impl FnOnce(),
    ) -> Option<T>
    where
        F: Future<Output = (T, bool)>,
    {
        let lane = self.lane(shard, kind);
        let _place = lane.places.acquire().await.ok()?;
        let prompt = match lane.failing.load(Ordering::Relaxed) {
            false => Some(self.prompt.acquire().await.ok()?),
            true => None,
        };

        let mut asked = std::pin::pin!(request()?);
        let (answer, answered) = match timeout(PROMPT, &mut asked).await {
            Ok(answered) => answered,
            Err(_elapsed) => {
                drop(prompt);
                late();
                asked.await
            }
        };
        lane.failing.store(!answered, Ordering::Relaxed);
        Some(answer)
    }
}

/// Subscriptions that wait for a place, by shard and kind. Each stands for one user in one
/// conversation, so there are no more of them than of those, beside some that mean nobody any more.
#[derive(Debug, Default)]
pub(super) struct Gathered(Mutex<HashMap<(ShardId, Kind), Gathering>>);

#[derive(Debug)]
struct Gathering {
    asks: Vec<Ask>,
    tidy_at: usize,
    takers: usize,
}

impl Gathered {
    fn all(&self) -> MutexGuard<'_, HashMap<(ShardId, Kind), Gathering>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds questions; true when the caller has to see to it that somebody takes them. `wanted`
    /// tells which still mean someone.
    pub(super) fn add(
        &self,
        of: (ShardId, Kind),
        asks: Vec<Ask>,
        wanted: impl Fn(&Ask) -> bool,
    ) -> bool {
        let mut all = self.all();
        let new = || Gathering {
            asks: Vec::new(),
            tidy_at: TIDY_AT,
            takers: 0,
        };
        let gathering = all.entry(of).or_insert_with(new);
        gathering.asks.extend(asks);
        if gathering.asks.len() > gathering.tidy_at {
            gathering.asks.retain(wanted);
            gathering.tidy_at = TIDY_AT.max(gathering.asks.len() * 2);
        }
        let free = gathering.takers < PER_SHARD;
        gathering.takers += usize::from(free);
        free
    }

    /// What can be asked in one go; `None` when there is nothing, and the caller takes no more.
    pub(super) fn take(&self, of: (ShardId, Kind)) -> Option<Vec<Ask>> {
        let mut all = self.all();
        let gathering = all.get_mut(&of)?;
        if gathering.asks.is_empty() {
            gathering.takers -= 1;
            if gathering.takers == 0 {
                all.remove(&of);
            }
            return None;
        }
        let count = gathering.asks.len().min(BATCH_MAX);
        Some(gathering.asks.drain(..count).collect())
    }
}
