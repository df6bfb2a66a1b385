//! Nodes for tests: real links over loopback, with a service that answers what the test tells it
//! to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::cluster::map::ShardMap;
use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{ClusterId, NodeId, ShardId};
use crate::link::proof::ClusterKey;
use crate::link::{Config, Credentials, Role};
use crate::log::Identity;
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::server::PeerServer;
use crate::node::link::{Asker, Serve, Serving};
use crate::node::owners::local::LocalShards;
use crate::node::owners::{Beside, Owners, Setup};
use crate::shard::command::{Push, ShardError};
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};

/// Shards in tests.
pub(in crate::node) const SHARDS: u32 = 16;

type Delay = dyn Fn(&Body) -> Duration + Send;
type Answering = dyn Fn(&Body) -> Result<Outcome, ShardError> + Send + Sync;

/// Answers by a function, after a delay of the test's choice, and remembers what it was asked.
pub(in crate::node) struct Fake {
    answering: Box<Answering>,
    /// How long the answer to a request takes.
    pub(in crate::node) delay: Mutex<Box<Delay>>,
    /// Whether it answers at the deadline of each request, as one that waits for the log does.
    pub(in crate::node) at_deadline: AtomicBool,
    bodies: Mutex<Vec<Body>>,
    pub(in crate::node) owned: Mutex<HashSet<ShardId>>,
    pub(in crate::node) subscribers: Mutex<Vec<Subscriber>>,
    pub(in crate::node) forgotten: Mutex<Vec<SubscriberId>>,
    /// Who asked, in order.
    pub(in crate::node) askers: Mutex<Vec<NodeId>>,
}

impl Fake {
    pub(in crate::node) fn new(
        answering: impl Fn(&Body) -> Result<Outcome, ShardError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answering: Box::new(answering),
            delay: Mutex::new(Box::new(|_| Duration::ZERO)),
            at_deadline: AtomicBool::new(false),
            bodies: Mutex::default(),
            owned: Mutex::default(),
            subscribers: Mutex::default(),
            forgotten: Mutex::default(),
            askers: Mutex::default(),
        })
    }

    /// Everything asked so far, in order.
    pub(in crate::node) fn bodies(&self) -> Vec<Body> {
        self.bodies.lock().expect("not poisoned").clone()
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Serve for Fake {
    fn owns(&self, shard: ShardId) -> bool {
        self.owned.lock().expect("not poisoned").contains(&shard)
    }

    fn serve(&self, body: Body, deadline: Instant, asker: &Asker) -> Serving {
        let answer = (self.answering)(&body);
        let delay = (self.delay.lock().expect("not poisoned"))(&body);
        let until = self.at_deadline.load(Ordering::SeqCst).then_some(deadline);
        self.bodies.lock().expect("not poisoned").push(body);

        self.subscribers
            .lock()
            .expect("not poisoned")
            .push(asker.subscriber.clone());
        self.askers
            .lock()
            .expect("not poisoned")
            .push(asker.node.clone());
        async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            if let Some(until) = until {
                tokio::time::sleep_until(until.into()).await;
            }
            answer
        }
        .boxed()
    }

    fn forget(&self, subscriber: SubscriberId) {
        self.forgotten
            .lock()
            .expect("not poisoned")
            .push(subscriber);
    }
}

/// Waits for a condition, at most 20 s.
pub(in crate::node) async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the condition holds in the end");
}

pub(in crate::node) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(in crate::node) fn credentials(node: &str) -> Credentials {
    Credentials {
        id: NodeId::from(node),
        role: Role::Node,
        cluster: ClusterId(Uuid::nil()),
        key: ClusterKey::new(&[7; 32]).expect("long enough"),
    }
}

/// A table in which all shards belong to the first node.
pub(in crate::node) fn table(version: u64, nodes: &[(&str, String)]) -> Arc<Table> {
    let addresses = |peer: &String| NodeAddresses::of_peer(peer.clone());
    let named: BTreeMap<_, _> = nodes
        .iter()
        .map(|(node, peer)| (NodeId::from(*node), addresses(peer)))
        .collect();
    let owner: Vec<_> = nodes
        .first()
        .map(|(node, _)| NodeId::from(*node))
        .into_iter()
        .collect();
    let rows = (0..SHARDS).map(|_| owner.clone()).collect();

    Arc::new(Table {
        version,
        identity: Identity {
            cluster: ClusterId(Uuid::nil()),
            shards: SHARDS,
        },
        nodes: named,
        rows,
        claimed: BTreeSet::new(),
        changes: Changes::default(),
    })
}

/// A folder that nobody has made.
fn no_folder() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("rookery-none-{:x}", rand::random::<u64>()))
}

/// A node with a process of its own.
pub(in crate::node) fn node(
    name: &str,
    fake: &Arc<Fake>,
    table: watch::Receiver<Arc<Table>>,
    link: Config,
) -> (Owners, mpsc::Receiver<Push>) {
    node_beside(Beside::default(), (name, fake), table, link)
}

/// A node that shares its process with those `beside` it.
pub(in crate::node) fn node_beside(
    beside: Beside,
    (name, fake): (&str, &Arc<Fake>),
    table: watch::Receiver<Arc<Table>>,
    link: Config,
) -> (Owners, mpsc::Receiver<Push>) {
    let (pushes, pushed) = mpsc::channel(64);
    let map = ShardMap::new(SHARDS).expect("a power of two");
    let (reach, snapshots) = (Arc::default(), no_folder());
    let setup = Setup {
        credentials: credentials(name),
        map,
        table,
        pushes,
        reach,
        link,
        snapshots,
        beside,
    };
    let local = Arc::new(LocalShards::of(&setup));

    (
        Owners::assemble(setup, local, Arc::<Fake>::clone(fake)),
        pushed,
    )
}

/// A node that owns every shard.
pub(in crate::node) fn lone_node(fake: &Arc<Fake>) -> (Owners, mpsc::Receiver<Push>) {
    fake.owned
        .lock()
        .expect("not poisoned")
        .extend((0..16).map(ShardId));
    let (_, table) = watch::channel(table(1, &[("a", String::new())]));
    node("a", fake, table, Config::default())
}

/// A requesting node `a`, and an owner `b` of every shard, with a real link between them.
pub(in crate::node) struct Pair {
    pub(in crate::node) owners: Owners,
    pub(in crate::node) pushed: mpsc::Receiver<Push>,
    pub(in crate::node) server: PeerServer,
    pub(in crate::node) table: watch::Sender<Arc<Table>>,
}

impl Pair {
    pub(in crate::node) async fn new(fake: &Arc<Fake>, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        Self::through(fake, config, listener, address)
    }

    /// The requester reaches the owner by `address`, be it the listener's or one in between.
    pub(in crate::node) fn through(
        fake: &Arc<Fake>,
        config: Config,
        listener: TcpListener,
        address: String,
    ) -> Self {
        Self::with(fake, (config.clone(), config), listener, address)
    }

    /// Each with settings of its own, the requester's first.
    pub(in crate::node) async fn of(fake: &Arc<Fake>, configs: (Config, Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        Self::with(fake, configs, listener, address)
    }

    fn with(
        fake: &Arc<Fake>,
        (requesters, serving): (Config, Config),
        listener: TcpListener,
        address: String,
    ) -> Self {
        let (sender, receiver) = watch::channel(table(1, &[("b", address), ("a", String::new())]));
        fake.owned
            .lock()
            .expect("not poisoned")
            .extend((0..16).map(ShardId));
        let (owner, _) = node("b", fake, receiver.clone(), serving);
        let server = owner.serve_peers(listener, None);
        let nothing = Fake::new(|_| Err(ShardError::NotOwner));
        let (owners, pushed) = node("a", &nothing, receiver, requesters);
        Self {
            owners,
            pushed,
            server,
            table: sender,
        }
    }
}
