//! A lane without loops, for tests: whoever holds the other end decides what becomes of a batch.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::log::lane::cycle::QUEUE_MAX;
use crate::log::lane::full::Fullness;
use crate::log::lane::job::{Definite, Job};
use crate::log::lane::places::{Place, Places};
use crate::log::lane::standing::{Doubts, Standing};
use crate::log::lane::way::Lane;
use crate::log::lane::witness::Unwitnessed;
use crate::log::{Batch, ShardLog};

/// The batches of a lane without loops, and where their ends are told.
#[derive(Debug)]
pub(crate) struct Loose(mpsc::Receiver<Job>);

impl Loose {
    /// The next batch that waits.
    pub(crate) fn next(&mut self) -> Option<(Batch, oneshot::Sender<Definite>)> {
        self.0
            .try_recv()
            .ok()
            .and_then(|job| Some((job.batch, job.answer?)))
    }
}

impl Lane {
    /// A lane without loops, of a log with one place: whoever holds the other end decides what
    /// becomes of a batch.
    pub(crate) fn loose(log: Arc<dyn ShardLog>) -> (Self, Loose) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (_, standing) = watch::channel(Standing::Clear);
        let place = Place {
            number: 0,
            queue,
            standing,
            doubts: Doubts::default(),
            fullness: Fullness::default(),
            unwitnessed: Unwitnessed::default(),
        };

        (
            Self {
                places: Arc::new(Places::one(log, place)),
                proof: None,
            },
            Loose(jobs),
        )
    }
}
