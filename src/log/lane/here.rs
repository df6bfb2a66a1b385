//! What the loop of a place knows of the others, without keeping the lane alive.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use crate::ids::ShardId;
use crate::log::ShardLog;
use crate::log::lane::full::Fullness;
use crate::log::lane::job::Job;

/// The loops of the other places.
pub(super) trait Others: Send + Sync {
    /// The place that batches of a shard go to now, by its number, and the queue of its loop.
    fn place_of(self: Arc<Self>, shard: ShardId) -> (u64, mpsc::Sender<Job>);
}

/// See the head of this file.
pub(super) struct Here {
    pub(super) number: u64,
    pub(super) log: Arc<dyn ShardLog>,
    pub(super) others: Weak<dyn Others>,
    pub(super) fullness: Fullness,
}

impl Here {
    /// What goes into a cycle, and what waits here for another one.
    pub(super) fn choose(&self, jobs: Vec<Job>, silent: bool) -> (Vec<Job>, Vec<Job>) {
        // One batch of a stream at a time, also when the shard was lost and claimed again.
        let mut streams = HashSet::new();
        let goes =
            |job: &Job| !job.is_held(silent) && streams.insert((job.batch.shard, job.batch.stream));
        self.keep(jobs).into_iter().partition(goes)
    }

    /// Hands what belongs to another place by now over to its loop, and gives back the rest: a
    /// batch that is sent on to a server which hangs would hold up every cycle of this one.
    pub(super) fn keep(&self, jobs: Vec<Job>) -> Vec<Job> {
        let stays = |job: Job| {
            let shard = job.batch.shard;
            if self.log.place(shard) == self.number {
                return Some(job);
            }
            let Some(others) = self.others.upgrade() else {
                return Some(job);
            };
            let (number, queue) = others.place_of(shard);
            if number == self.number {
                return Some(job);
            }
            match queue.try_send(Job {
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
