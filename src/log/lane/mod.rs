//! The append lane of a node: per place of the log (a Redis master; the embedded log has one) one
//! cycle in flight, all its shards' batches together. While it is away the next batches gather, so
//! batching grows with load by itself. An in-doubt batch is sent again, unchanged, in the next
//! cycle, until there is a definite answer; the others do not wait for it, and places do not wait
//! for each other.
//!
//! A batch without an answer is sent again only while its shard has a lease: it is carried out
//! whether or not the answer comes back, and tells the standbys each time that the owner lives.
//! What is held so is sent with the next proof (`proof.rs`, ADR 15).
//!
//! A place without space is told to those who write (`full.rs`), who send it nothing but a look now
//! and then.
//!
//! When a place has made no second copy for a second, a batch that lacks nothing else is put to the
//! witnesses of its shard. It is sent again meanwhile: whichever is first ends it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::ids::ShardId;
use crate::log::lane::copies::Copies;
use crate::log::lane::witness::{Registry, Unwitnessed};
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{Batch, ShardLog, Token};

mod copies;
mod cycle;
mod full;
mod job;
mod proof;
mod standing;
#[cfg(test)]
mod tests;
mod witness;

use full::Fullness;
use job::Job;
use proof::Proof;
use standing::Doubts;
pub use standing::{Standing, Standings};
pub use witness::{Witnessed, Witnesses};

/// Places with a loop of their own; further ones go with place 0. Far more than there are masters.
const PLACES_MAX: usize = 64;
/// Batches waiting for a cycle of one place. A stream has at most one batch here, so this is
/// reached only with more than half as many shards; then shards wait for room.
const QUEUE_MAX: usize = 4096;

/// The definite end of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definite {
    /// In the log, at the commit level.
    Committed,
    /// Another token is current. `doubted`: an earlier attempt was in doubt, so the batch may stand
    /// in the log, written before the token changed; else it is surely not there.
    Fenced {
        /// The current token.
        current: Token,
        /// See above.
        doubted: bool,
    },
    /// The stream has another tail, under our own token.
    TailMismatch {
        /// The stream's tail.
        found: Tail,
    },
    /// Surely not in the log.
    NotWritten(String),
}

/// The way to the lane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lane {
    log: Arc<dyn ShardLog>,
    places: Arc<Mutex<HashMap<u64, Place>>>,
    witnesses: Registry,
    /// Of the shard whose lane this is.
    proof: Option<Proof>,
}

/// The way to one place's loop.
#[derive(Debug, Clone)]
struct Place {
    number: u64,
    queue: mpsc::Sender<Job>,
    standing: watch::Receiver<Standing>,
    doubts: Doubts,
    fullness: Fullness,
    unwitnessed: Unwitnessed,
}

impl Lane {
    /// A lane to this log. Its loops start with the first batch of each place and end when every
    /// handle is dropped and nothing is in doubt.
    #[must_use]
    pub fn spawn(log: Arc<dyn ShardLog>) -> Self {
        Self {
            log,
            places: Arc::default(),
            witnesses: Arc::default(),
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
    pub fn append(&self, batch: Batch) -> oneshot::Receiver<Definite> {
        let (answer, end) = oneshot::channel();
        let queue = self.place(batch.shard).queue;
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
    pub fn witnessed_by(&self, shard: ShardId, witnesses: Arc<dyn Witnesses>) -> Witnessed {
        let registry = Arc::clone(&self.witnesses);
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
    pub fn standing(&self, shard: ShardId) -> Standing {
        self.watch_standing(shard).now()
    }

    /// The same, to wait for a change. Whatever is not clear is tried again until it is, so it
    /// becomes clear by itself; ask again after that, for the shard may have got another place.
    /// Closed when the lane has ended.
    #[must_use]
    pub fn watch_standing(&self, shard: ShardId) -> Standings {
        let Place {
            standing,
            doubts,
            fullness,
            unwitnessed,
            ..
        } = self.place(shard);
        Standings {
            shard,
            place: standing,
            doubts,
            fullness,
            unwitnessed,
            witnesses: Arc::clone(&self.witnesses),
        }
    }

    fn place(&self, shard: ShardId) -> Place {
        let wanted = self.log.place(shard);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let number = if places.len() < PLACES_MAX || places.contains_key(&wanted) {
            wanted
        } else {
            0
        };
        let place = places.entry(number).or_insert_with(|| {
            let (queue, jobs) = mpsc::channel(QUEUE_MAX);
            let (stands, standing) = watch::channel(Standing::Clear);
            let unwitnessed = Unwitnessed::default();
            let (log, witnesses) = (Arc::clone(&self.log), Arc::clone(&self.witnesses));
            let copies = Copies {
                missing: None,
                asked: JoinSet::new(),
                witnesses,
                unwitnessed: Arc::clone(&unwitnessed),
            };
            let (doubts, fullness) = (Doubts::default(), Fullness::default());
            let here = Here {
                number,
                log,
                places: Arc::downgrade(&self.places),
                fullness: fullness.clone(),
                witnesses: Arc::clone(&self.witnesses),
            };
            drop(tokio::spawn(cycle::run(
                here,
                jobs,
                (stands, doubts.clone()),
                copies,
            )));
            Place {
                number,
                queue,
                standing,
                doubts,
                fullness,
                unwitnessed,
            }
        });
        place.clone()
    }
}

/// What the loop of a place knows of the others, without keeping the lane alive.
struct Here {
    number: u64,
    log: Arc<dyn ShardLog>,
    places: Weak<Mutex<HashMap<u64, Place>>>,
    fullness: Fullness,
    witnesses: Registry,
}

impl Here {
    /// What goes into a cycle, and what waits here for another one.
    fn choose(&self, jobs: Vec<Job>, silent: bool) -> (Vec<Job>, Vec<Job>) {
        // One batch of a stream at a time, also when the shard was lost and claimed again.
        let mut streams = HashSet::new();
        let goes =
            |job: &Job| !job.is_held(silent) && streams.insert((job.batch.shard, job.batch.stream));
        self.keep(jobs).into_iter().partition(goes)
    }

    /// Hands what belongs to another place by now over to its loop, and gives back the rest: a
    /// batch that is sent on to a server which hangs would hold up every cycle of this one.
    fn keep(&self, jobs: Vec<Job>) -> Vec<Job> {
        let stays = |job: Job| {
            let shard = job.batch.shard;
            if self.log.place(shard) == self.number {
                return Some(job);
            }
            let Some(places) = self.places.upgrade() else {
                return Some(job);
            };
            let (log, witnesses) = (Arc::clone(&self.log), Arc::clone(&self.witnesses));
            let lane = Lane {
                log,
                places,
                witnesses,
                proof: None,
            };
            let place = lane.place(shard);
            if place.number == self.number {
                return Some(job);
            }
            match place.queue.try_send(Job {
                asked: false,
                ..job
            }) {
                Ok(()) => None,
                Err(full) => Some(full.into_inner()),
            }
        };
        jobs.into_iter().filter_map(stays).collect()
    }
}

/// The batches of a lane without loops, and where their ends are told.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Loose(mpsc::Receiver<Job>);

#[cfg(test)]
impl Loose {
    /// The next batch that waits.
    pub(crate) fn next(&mut self) -> Option<(Batch, oneshot::Sender<Definite>)> {
        self.0
            .try_recv()
            .ok()
            .and_then(|job| Some((job.batch, job.answer?)))
    }
}

#[cfg(test)]
impl Lane {
    /// A lane without loops, of a log with one place: whoever holds the other end decides what
    /// becomes of a batch.
    pub(crate) fn loose(log: Arc<dyn ShardLog>) -> (Self, Loose) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (_, standing) = watch::channel(Standing::Clear);
        let places = HashMap::from([(
            0,
            Place {
                number: 0,
                queue,
                standing,
                doubts: Doubts::default(),
                fullness: Fullness::default(),
                unwitnessed: Unwitnessed::default(),
            },
        )]);
        let (places, witnesses) = (Arc::new(Mutex::new(places)), Arc::default());
        (
            Self {
                log,
                places,
                witnesses,
                proof: None,
            },
            Loose(jobs),
        )
    }
}
