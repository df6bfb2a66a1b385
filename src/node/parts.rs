//! Joins a node's parts: owners and links, hub, HTTP face, outbox delivery. Nothing is decided here.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::ids::ShardId;
use crate::node::owners::Owners;
use crate::node::session::Hub;
use crate::node::table::Table;
use crate::node::{Life, Listeners, Setup};
use crate::shard::ShardHandle;
use crate::shard::command::Push;

/// Pushes waiting for the hub; when it is full, an owner drops and tells the hub to subscribe again.
const PUSHES_MAX: usize = 8_192;

/// What a node's parts are reached by.
#[derive(Debug)]
pub(super) struct Faces {
    /// The way to owners.
    pub(super) owners: Owners,
    /// The sessions.
    pub(super) hub: Arc<Hub>,
}

/// Starts owners, hub, peer server and HTTP face.
///
/// # Errors
/// One clear line.
pub(super) fn serve(
    setup: &Setup,
    listeners: Listeners,
    table: watch::Receiver<Arc<Table>>,
    life: &Life,
) -> Result<Faces, String> {
    let (pushes, pushed) = mpsc::channel::<Push>(PUSHES_MAX);
    drop((table, pushes, listeners, life.request_tasks.clone()));
    let owners: Owners = Err("not joined yet: owners, links and HTTP face".to_owned())?;
    let (verifier, clock) = (setup.verifier.clone(), setup.clock.clone());
    let hub = Hub::spawn(owners.clone(), verifier, clock, setup.config.session.clone(), pushed);
    Ok(Faces { owners, hub })
}

/// Lets local requests and links reach a shard that was opened.
pub(super) fn insert_local(owners: &Owners, handle: ShardHandle) {
    drop((owners.clone(), handle));
}

/// Forgets a shard that ended.
pub(super) fn remove_local(owners: &Owners, shard: ShardId) {
    drop((owners.clone(), shard));
}

/// Delivers the outbox of a shard to the shards of users until the shard ends.
pub(super) async fn deliver_outbox(owners: Owners, handle: ShardHandle) {
    drop(owners);
    while handle.outbox(1).await.is_some() {}
}
