//! Joins a node's parts: owners and links, hub, HTTP face; and begins what it does beside serving.
//! Nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cluster::announce::Announcer;
use crate::cluster::coordinator::{Coordinator, CoordinatorDeps};
use crate::cluster::map::ShardMap;
use crate::cluster::table::reach::Reach;
use crate::cluster::table::{NodeAddresses, Table};
use crate::link::front::server::FrontServer;
use crate::link::{self, Credentials, Role};
use crate::node::context::{Life, Setup};
use crate::node::custody::balancer::Balancer;
use crate::node::custody::cutoff::CutOff;
use crate::node::custody::gauges;
use crate::node::custody::observe::Observer;
use crate::node::custody::renewal::Renewals;
use crate::node::custody::shards::Shards;
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
        retention: setup.config.shard.retention,
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

/// Begins to look after the table, and to have shards moved, as long as the node leads. `None`
/// where whoever starts the nodes looks after the table.
pub(super) fn coordinate(setup: &Setup, owners: &Owners, life: &Life) -> Option<Balancer> {
    let (replicas, evens) = (setup.config.replicas?, setup.config.balance);
    let (balancer, balanced) = Balancer::new(&setup.id, owners, (replicas, evens));
    balancer.spawn(life);
    let deps = CoordinatorDeps {
        node: setup.id.clone(),
        identity: setup.identity,
        replicas,
        store: Arc::clone(&setup.table),
        log: Arc::clone(&setup.log),
        claimed: setup.claimed.clone(),
        evens,
        balanced,
    };
    life.spawn(Coordinator::new(deps).run());
    Some(balancer)
}

/// Begins to tell where the node is, and waits for a table that names it, at most `table_wait` if
/// that is given.
pub(super) async fn announce(
    setup: &Setup,
    addresses: &NodeAddresses,
    table_wait: Option<Duration>,
    (life, reach): (&Life, &Arc<Reach>),
) -> Result<watch::Receiver<Arc<Table>>, String> {
    let announcer = Announcer {
        store: Arc::clone(&setup.table),
        node: setup.id.clone(),
        addresses: addresses.clone(),
    };
    life.spawn(announcer.clone().run());
    announcer
        .follow(table_wait, life.all.clone(), Arc::clone(reach))
        .await
}

/// Begins to measure the shards that are open here, and the disk of the folder.
pub(super) fn measure(
    setup: &Setup,
    life: &Life,
    (shards, observer): (&Shards, &Observer),
    (table, reach): (&watch::Receiver<Arc<Table>>, &Arc<Reach>),
) {
    let told = (setup.id.clone(), setup.config.replicas.unwrap_or(1));
    life.spawn(gauges::of_shards(
        told,
        shards.clone(),
        observer.clone(),
        table.clone(),
        Arc::clone(reach),
    ));
    life.spawn(gauges::of_disk(setup.id.clone(), setup.folder.clone()));
}

/// Begins to prove that the node owns its shards, and to look whether it is cut off from the log
/// alone.
pub(super) fn keep_proven(
    setup: &Setup,
    life: &Life,
    shards: &Shards,
    (owners, hub): (&Owners, &Arc<Hub>),
    reach: &Arc<Reach>,
) -> Result<(), String> {
    if let Some(renewals) = Renewals::of(setup, shards.clone(), Arc::clone(reach)) {
        renewals.spawn(setup, life)?;
    }
    if let Some(cut_off) = CutOff::of(setup, shards.clone(), (owners, hub), reach) {
        life.spawn(cut_off.run());
    }
    Ok(())
}
