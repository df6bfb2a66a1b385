//! One snapshot that is given: to whom, how it stands, and its file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::ids::{NodeId, ShardId};
use crate::node::link::replica::ReplicaAnswer;
use crate::shard::file::snapshot::Snapshot;
use crate::telemetry::SNAPSHOTS;

/// A snapshot that nobody asked for during this time is dropped when another one has to wait for
/// it: who reads on asks every few seconds, even when a low rate or a slow link makes it wait.
const UNREAD_IN_WAY: Duration = Duration::from_secs(15);

/// A snapshot of one shard for one node.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) shard: ShardId,
    pub(super) to: NodeId,
    pub(super) asked: Instant,
    pub(super) state: State,
    pub(super) file: Owned,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A snapshot that was read to its end.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) shard: ShardId,
    pub(super) since: Instant,
    pub(super) said: Snapshot,
    pub(super) file: Owned,
}

#[derive(Debug)]
pub(super) enum State {
    Writing,
    Written(Snapshot),
}

/// A file that goes with its owner.
#[derive(Debug)]
pub(super) struct Owned(pub(super) PathBuf);

impl Drop for Owned {
    fn drop(&mut self) {
        // It is not there when it could not be written.
        std::fs::remove_file(&self.0).ok();
    }
}

/// What a node is answered that has asked for this shard before, if its snapshot is begun or still
/// fresh. One that is not fresh any more is dropped.
pub(super) fn answer_begun(
    offers: &mut HashMap<u64, Offer>,
    (shard, to): (ShardId, &NodeId),
    is_fresh: impl Fn(&Snapshot) -> bool,
) -> Option<ReplicaAnswer> {
    let (&id, offer) = offers
        .iter_mut()
        .find(|(_, offer)| (offer.shard, &offer.to) == (shard, to))?;
    offer.asked = Instant::now();

    match &offer.state {
        State::Writing => Some(ReplicaAnswer::Preparing),
        State::Written(said) if is_fresh(said) => Some(ReplicaAnswer::Ready {
            id,
            said: said.clone(),
        }),
        // The log went on without it.
        State::Written(_) => {
            drop(offers.remove(&id));
            None
        }
    }
}

/// Offers a snapshot that another node has read to its end.
pub(super) fn offer_spare(
    offers: &mut HashMap<u64, Offer>,
    (shard, to): (ShardId, &NodeId),
    Spare { said, file, .. }: Spare,
    permit: OwnedSemaphorePermit,
) -> ReplicaAnswer {
    let (id, state) = (rand::random(), State::Written(said.clone()));
    offers.insert(
        id,
        Offer {
            shard,
            to: to.clone(),
            asked: Instant::now(),
            state,
            file,
            permit,
        },
    );
    ReplicaAnswer::Ready { id, said }
}

/// The permit of the one that nobody has asked for for the longest time, if that is long: its
/// reader may have died.
pub(super) fn take_abandoned(offers: &mut HashMap<u64, Offer>) -> Option<OwnedSemaphorePermit> {
    let unread = offers
        .iter()
        .filter(|(_, offer)| !matches!(offer.state, State::Writing));
    let (&id, offer) = unread.min_by_key(|(_, offer)| offer.asked)?;
    if offer.asked.elapsed() < UNREAD_IN_WAY {
        return None;
    }
    let Offer {
        shard, to, permit, ..
    } = offers.remove(&id)?;
    tracing::info!(%shard, %to, "a snapshot is not read on, and another one waits; dropped");
    SNAPSHOTS.add(1, &[("result", "unread")]);
    Some(permit)
}
