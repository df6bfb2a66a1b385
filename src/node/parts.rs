//! Joins a node's parts: owners and links, hub, HTTP face. Nothing is decided here.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::link::front::server::FrontServer;
use crate::link::{self, Credentials, Role};
use crate::node::context::{Life, Setup};
use crate::node::http::{self, Http};
use crate::node::listeners::Listeners;
use crate::node::owners::{self, Owners};
use crate::node::session::Hub;
use crate::node::standby::{reports, verify};

/// What a node's parts are reached by.
#[derive(Debug)]
pub(super) struct Faces {
    /// The way to owners.
    pub(super) owners: Owners,
    /// The sessions.
    pub(super) hub: Arc<Hub>,
    /// The way in for routers.
    pub(super) front: Arc<FrontServer>,
}

/// Starts owners, hub, REST face and peer server.
///
/// # Errors
/// One clear line: the number of shards cannot be.
pub(super) fn serve(
    setup: &Setup,
    listeners: Listeners,
    table: watch::Receiver<Arc<Table>>,
    life: &Life,
    reach: Arc<Reach>,
) -> Result<Faces, String> {
    let shards = setup.identity.shards;
    let map = ShardMap::new(shards).ok_or_else(|| format!("there cannot be {shards} shards"))?;
    let link = link::Config::default();
    // When it is full, a shard drops the push and tells the hub to subscribe again.
    let (pushes, pushed) = mpsc::channel(link.pushes_max);
    let credentials = Credentials {
        id: setup.id.clone(),
        role: Role::Node,
        cluster: setup.identity.cluster,
        key: setup.cluster_key.clone(),
    };
    let snapshots = setup.folder.join("snapshots");
    let beside = setup.beside.clone();
    let owners = Owners::new(owners::Setup {
        credentials,
        map,
        table,
        pushes,
        reach,
        link,
        snapshots,
        beside,
    });
    let (verifier, clock) = (setup.verifier.clone(), setup.clock.clone());
    let hub = Hub::spawn(
        owners.clone(),
        verifier.clone(),
        clock,
        setup.config.session.clone(),
        pushed,
    );
    let config = http::Config {
        requests_per_second: setup.config.requests_per_second,
        burst: setup.config.request_burst,
        ..http::Config::new(setup.id.clone())
    };
    let face = Arc::new(Http::new(owners.clone(), verifier, config));
    let front = FrontServer::new(face, Arc::<Hub>::clone(&hub), link::Config::front());
    let peers = owners.serve_peers(listeners.peer, Some(Arc::clone(&front)));
    life.spawn(reports::run(owners.clone()));
    if let Some(every) = setup.config.seeding.verify_every {
        life.spawn(verify::run(owners.clone(), every));
    }
    let (all, links, routers) = (life.all.clone(), owners.clone(), Arc::clone(&front));
    life.tasks.spawn(async move {
        all.cancelled().await;
        routers.shutdown().await;
        peers.shutdown().await;
        links.shutdown().await;
    });
    Ok(Faces { owners, hub, front })
}
