//! The places of a lane, each with a loop that is begun with its first batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::ids::ShardId;
use crate::log::ShardLog;
use crate::log::lane::copies::Copies;
use crate::log::lane::cycle::{self, QUEUE_MAX};
use crate::log::lane::full::Fullness;
use crate::log::lane::here::{Here, Others};
use crate::log::lane::job::Job;
use crate::log::lane::standing::{Doubts, Standing};
use crate::log::lane::witness::{Registry, Unwitnessed};

/// Places with a loop of their own; further ones go with place 0. Far more than there are masters.
pub(super) const PLACES_MAX: usize = 64;

/// The way to one place's loop.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) queue: mpsc::Sender<Job>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) doubts: Doubts,
    pub(super) fullness: Fullness,
    pub(super) unwitnessed: Unwitnessed,
}

/// The places of one log.
#[derive(Debug)]
pub(super) struct Places {
    log: Arc<dyn ShardLog>,
    open: Mutex<HashMap<u64, Place>>,
    pub(super) witnesses: Registry,
}

impl Places {
    /// None is begun yet.
    pub(super) fn new(log: Arc<dyn ShardLog>) -> Self {
        Self {
            log,
            open: Mutex::default(),
            witnesses: Arc::default(),
        }
    }

    /// One place for all batches, without a loop.
    #[cfg(test)]
    pub(super) fn one(log: Arc<dyn ShardLog>, place: Place) -> Self {
        Self {
            open: Mutex::new(HashMap::from([(0, place)])),
            ..Self::new(log)
        }
    }

    /// How many are begun.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The place that batches of a shard go to now.
    pub(super) fn of(self: &Arc<Self>, shard: ShardId) -> Place {
        let wanted = self.log.place(shard);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = if open.len() < PLACES_MAX || open.contains_key(&wanted) {
            wanted
        } else {
            0
        };
        let place = open.entry(number).or_insert_with(|| self.begin(number));
        place.clone()
    }

    /// Begins the loop of a place.
    fn begin(self: &Arc<Self>, number: u64) -> Place {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (stands, standing) = watch::channel(Standing::Clear);
        let (doubts, fullness) = (Doubts::default(), Fullness::default());
        let unwitnessed = Unwitnessed::default();
        let copies = Copies {
            missing: None,
            asked: JoinSet::new(),
            witnesses: Arc::clone(&self.witnesses),
            unwitnessed: Arc::clone(&unwitnessed),
        };

        let others: Weak<Self> = Arc::downgrade(self);
        let here = Here {
            number,
            log: Arc::clone(&self.log),
            others,
            fullness: fullness.clone(),
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
    }
}

impl Others for Places {
    fn place_of(self: Arc<Self>, shard: ShardId) -> (u64, mpsc::Sender<Job>) {
        let place = self.of(shard);
        (place.number, place.queue)
    }
}
