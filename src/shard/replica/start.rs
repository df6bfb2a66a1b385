//! How an owned shard starts: its workers, its owner, and the handle to both.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};

use crate::ids::{NodeId, Offset};
use crate::log::lane::Witnessed;
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{PerStream, Token};
use crate::shard::delivery::Waits;
use crate::shard::erasing;
use crate::shard::error::OpenError;
use crate::shard::file::store::Store;
use crate::shard::file::worker::{Setup as WorkerSetup, Workers};
use crate::shard::handle::ShardHandle;
use crate::shard::insync::InSync;
use crate::shard::options::Opening;
use crate::shard::replica::ends::Ends;
use crate::shard::replica::witnesses::StandbysInSync;
use crate::shard::retention;
use crate::shard::state::Inner;
use crate::shard::write::filter::KeyFilter;
use crate::shard::write::owner::{self, Input, Setup, StampedKey};
use crate::shard::write::used_keys;

/// What a shard is owned by.
pub(super) struct Owned {
    pub(super) token: Token,
    pub(super) tails: PerStream<Tail>,
    pub(super) lease: Arc<Lease>,
    /// The standbys that said that they follow.
    pub(super) answered: Vec<NodeId>,
}

/// Has the standbys stand in for the second copies that the log does not make, until what is
/// returned is dropped.
fn witnessed(
    opening: &Opening,
    (standbys, committed): (
        &Arc<watch::Sender<InSync>>,
        &PerStream<Arc<watch::Sender<Tail>>>,
    ),
    begun: PerStream<Tail>,
    answered: Vec<NodeId>,
) -> Witnessed {
    let witnesses = StandbysInSync {
        shard: opening.shard,
        replicas: Arc::clone(&opening.replicas),
        standbys: Arc::clone(standbys),
        committed: committed.clone(),
        begun: begun.map(|tail| tail.offset),
        answered,
        clock: opening.clock.clone(),
    };
    opening
        .lane
        .witnessed_by(opening.shard, Arc::new(witnesses))
}

/// The standbys, of which none was heard yet.
fn unheard(opening: &Opening) -> Arc<watch::Sender<InSync>> {
    let shared = opening.config.takeover_watch.is_some();
    Arc::new(watch::Sender::new(InSync::new(
        shared,
        opening.clock.since_boot(),
    )))
}

/// What the task of the owner and the handle of its shard have in common.
struct Shared {
    token: Token,
    /// Where the streams ended when the shard was opened.
    tails: PerStream<Tail>,
    lease: Arc<Lease>,
    store: Store,
    committed: PerStream<Arc<watch::Sender<Tail>>>,
    standbys: Arc<watch::Sender<InSync>>,
    outbox_due: Arc<watch::Sender<Offset>>,
    closings: Arc<watch::Sender<Offset>>,
}

/// The owner's ends of what the handle is connected by.
struct OwnerEnds {
    inputs: mpsc::Receiver<Input>,
    closed: watch::Sender<bool>,
}

/// Starts the workers and the owner of a shard, and makes the handle to them.
pub(super) async fn start(
    opening: Opening,
    store: Store,
    owned: Owned,
) -> Result<ShardHandle, OpenError> {
    let outbox = Waits::of(&opening)?;
    let stamped = used_keys::stamped(&store).await?;
    let (shared, answered) = Shared::of(&opening, store, owned);
    let (token, tails) = (shared.token, shared.tails);

    let workers = shared.start_workers(&opening);
    let (inputs, taken) = mpsc::channel(opening.config.queue_max);
    let (closing, closed) = watch::channel(false);
    let ends = OwnerEnds {
        inputs: taken,
        closed: closing,
    };
    owner::spawn(shared.owner(&opening, &workers, (answered, stamped), ends));
    let fault = Ends::begin(
        &workers,
        (&shared.standbys, &shared.committed, &opening.clock),
        &inputs,
    );
    drop(tokio::spawn(used_keys::read(
        shared.store.clone(),
        opening.shard,
        inputs.downgrade(),
    )));

    let inner = Arc::new(Inner {
        shard: opening.shard,
        node: opening.node,
        token,
        begun: tails.map(|tail| tail.offset),
        applied: PerStream::from_fn(|stream| workers.applied(stream)),
        durable: workers.durable(),
        workers: Mutex::new(Some(workers)),
        store: shared.store,
        clock: opening.clock,
        config: opening.config,
        inputs,
        committed: shared.committed,
        outbox_due: shared.outbox_due,
        closings: shared.closings,
        outbox,
        closed,
        giving: watch::Sender::new(false),
        lease: shared.lease,
        lane: opening.lane,
        standbys: shared.standbys,
        fault,
        progressed: Mutex::default(),
    });
    drop(tokio::spawn(erasing::erase(Arc::downgrade(&inner))));
    drop(tokio::spawn(retention::retain(Arc::downgrade(&inner))));
    Ok(ShardHandle(inner))
}

impl Shared {
    /// Of a shard that is owned now, and the standbys that said that they follow.
    fn of(opening: &Opening, store: Store, owned: Owned) -> (Self, Vec<NodeId>) {
        let tails = owned.tails;
        let shared = Self {
            token: owned.token,
            tails,
            lease: owned.lease,
            store,
            committed: tails.map(|tail| Arc::new(watch::Sender::new(tail))),
            standbys: unheard(opening),
            outbox_due: Arc::new(watch::Sender::new(tails.messages.offset)),
            closings: Arc::default(),
        };
        (shared, owned.answered)
    }

    /// Starts what takes the committed records into the file.
    fn start_workers(&self, opening: &Opening) -> Workers {
        Workers::spawn(WorkerSetup {
            shard: opening.shard,
            log: Arc::clone(&opening.log),
            store: self.store.clone(),
            trimming: Some(opening.trimming(self.token, &self.standbys)),
            committed: self.committed.each_ref().map(|tail| tail.subscribe()),
            config: opening.config.worker.clone(),
        })
    }

    /// What the owner is started with. From here on the standbys, of which some have `answered`,
    /// stand in for second copies.
    fn owner(
        &self,
        opening: &Opening,
        workers: &Workers,
        (answered, stamped): (Vec<NodeId>, Vec<StampedKey>),
        ends: OwnerEnds,
    ) -> Setup {
        Setup {
            _witnessed: witnessed(
                opening,
                (&self.standbys, &self.committed),
                self.tails,
                answered,
            ),
            shard: opening.shard,
            token: self.token,
            node: opening.node.clone(),
            tails: self.tails,
            store: self.store.clone(),
            lane: opening
                .lane
                .proven_by(Arc::clone(&self.lease), opening.clock.clone()),
            clock: opening.clock.clone(),
            lease: Arc::clone(&self.lease),
            filter: KeyFilter::new(opening.clock.since_boot()),
            stamped,
            heads_max: opening.config.heads_max,
            retention: opening.config.retention,
            heads_bytes_max: opening.config.heads_bytes_max,
            head_memory: Arc::clone(&opening.config.common.head_memory),
            agreed: Arc::clone(&opening.config.common.agreed),
            queue_max: opening.config.queue_max,
            stream_bytes_max: opening.config.stream_bytes_max,
            inputs: ends.inputs,
            committed: self.committed.clone(),
            applied: PerStream::from_fn(|stream| workers.applied(stream)),
            trimmed: workers.trimmed(),
            stood: workers.stood(),
            outbox_due: Arc::clone(&self.outbox_due),
            closings: Arc::clone(&self.closings),
            replicas: Arc::clone(&opening.replicas),
            closed: ends.closed,
        }
    }
}
