//! What the parts of an owned shard share: the loop's inputs, the file, the workers, the tails.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::ids::{NodeId, Offset, ShardId};
use crate::log::lane::Lane;
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{PerStream, Stream, Token};
use crate::shard::delivery::Waits;
use crate::shard::file::store::Store;
use crate::shard::file::worker::Workers;
use crate::shard::insync::InSync;
use crate::shard::options::Config;
use crate::shard::replicas::Following;
use crate::shard::write::owner::Input;

/// The parts of an owned shard.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shard: ShardId,
    pub(super) node: NodeId,
    pub(super) token: Token,
    /// Where the streams ended when it was opened.
    pub(super) begun: PerStream<Offset>,
    pub(super) applied: PerStream<watch::Receiver<Tail>>,
    pub(super) durable: watch::Receiver<PerStream<Offset>>,
    pub(super) workers: Mutex<Option<Workers>>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) committed: PerStream<Arc<watch::Sender<Tail>>>,
    /// Offset of the last record that has rows in the outbox.
    pub(super) outbox_due: Arc<watch::Sender<Offset>>,
    /// Offset of the last committed record that closed a conversation, since it was opened.
    pub(super) closings: Arc<watch::Sender<Offset>>,
    /// Who waits for the outbox to be delivered.
    pub(super) outbox: Waits,
    pub(super) closed: watch::Receiver<bool>,
    /// It is being given to another node, and nobody here knows yet whether it was.
    pub(super) giving: watch::Sender<bool>,
    pub(super) lease: Arc<Lease>,
    pub(super) lane: Lane,
    pub(super) standbys: Arc<watch::Sender<InSync>>,
    /// Why it is no longer fit to own the shard.
    pub(super) fault: Arc<OnceLock<Following>>,
    /// Where its file was seen last, and since when it stands there.
    pub(super) progressed: Mutex<Progressed>,
}

impl Inner {
    pub(super) fn applied(&self, stream: Stream) -> watch::Receiver<Tail> {
        self.applied[stream].clone()
    }

    pub(super) fn hurry(&self, stream: Stream) {
        if let Some(workers) = &*self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            workers.hurry(stream);
        }
    }
}

/// Where the file of an owner was seen last, by stream, and since when it stands there, since boot.
#[derive(Debug, Default)]
pub(super) struct Progressed {
    pub(super) applied: PerStream<Option<(Offset, Duration)>>,
    pub(super) durable: PerStream<Option<(Offset, Duration)>>,
}
