//! The way to the lane, of a node and of each of its shards.

use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::ids::ShardId;
use crate::log::lane::job::{Definite, Job};
use crate::log::lane::places::{Place, Places};
use crate::log::lane::proof::Proof;
use crate::log::lane::standing::{Standing, Standings};
use crate::log::lane::witness::{Witnessed, Witnesses};
use crate::log::lease::Lease;
use crate::log::{Batch, ShardLog};

/// The way to the lane. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(super) places: Arc<Places>,
    /// The proof of the shard whose lane this is.
    pub(super) proof: Option<Proof>,
}

impl Lane {
    /// A lane to this log. Its loops start with the first batch of each place and end when every
    /// handle is dropped and nothing is in doubt.
    #[must_use]
    pub(crate) fn spawn(log: Arc<dyn ShardLog>) -> Self {
        Self {
            places: Arc::new(Places::new(log)),
            proof: None,
        }
    }

    /// The same lane, for a shard with this lease: what is appended by it is not sent again
    /// unanswered without one.
    #[must_use]
    pub(crate) fn proven_by(&self, lease: Arc<Lease>, clock: Clock) -> Self {
        Self {
            proof: Some(Proof { lease, clock }),
            ..self.clone()
        }
    }

    /// Queues a batch; the receiver gets its definite end. A stream must have one batch here at a
    /// time.
    ///
    /// When the queue is full the batch waits for room in a task of its own. Dropping the receiver
    /// does not undo the append.
    #[must_use]
    pub(crate) fn append(&self, batch: Batch) -> oneshot::Receiver<Definite> {
        let (answer, end) = oneshot::channel();
        let queue = self.places.of(batch.shard).queue;
        let job = Job::new(batch, answer, self.proof.clone());
        if let Err(error) = queue.try_send(job) {
            drop(tokio::spawn(async move {
                queue.send(error.into_inner()).await.ok()
            }));
        }
        end
    }

    /// From now on, until what is returned is dropped, batches of the shard that lack only a second
    /// copy are put to these.
    #[must_use]
    pub(crate) fn witnessed_by(&self, shard: ShardId, witnesses: Arc<dyn Witnesses>) -> Witnessed {
        let registry = Arc::clone(&self.places.witnesses);
        registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, Arc::clone(&witnesses));
        Witnessed {
            shard,
            witnesses,
            registry,
        }
    }

    /// How a shard stands now: the place that its batches go to, and what of its own is in doubt.
    #[must_use]
    pub(crate) fn standing(&self, shard: ShardId) -> Standing {
        self.watch_standing(shard).now()
    }

    /// The same, to wait for a change. Whatever is not clear is tried again until it is, so it
    /// becomes clear by itself; ask again after that, for the shard may have got another place.
    /// Closed when the lane has ended.
    #[must_use]
    pub(crate) fn watch_standing(&self, shard: ShardId) -> Standings {
        let Place {
            standing,
            doubts,
            fullness,
            unwitnessed,
            ..
        } = self.places.of(shard);
        Standings {
            shard,
            place: standing,
            doubts,
            fullness,
            unwitnessed,
            witnesses: Arc::clone(&self.places.witnesses),
        }
    }
}
