//! The way from this node to the owner of any shard: the local shard if it is ours, else a link to
//! the node that the table names, with hints followed and one budget for all attempts.
//!
//! **Invariants.** A request that may have been served is repeated only when that does no harm;
//! else, and when the budget ends in doubt, the answer is `outcome_unknown`, never `unavailable`.
//! Whoever subscribed is told when what he subscribed to may have been missed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::map::ShardMap;
use crate::cluster::table::Table;
use crate::cluster::table::reach::Reach;
use crate::ids::{ConversationName, NodeId, Offset, ShardId, UserId};
use crate::link::front::server::FrontServer;
use crate::link::{Config, Credentials};
use crate::node::link::client::Link;
use crate::node::link::frame::{Body, Outcome};
use crate::node::link::replica::{ReplicaAnswer, ReplicaAsk};
use crate::node::link::server::{self, PeerServer};
use crate::node::link::{Asker, Serve};
use crate::node::owners::attempt::Route;
use crate::node::owners::line::{Lines, line_of};
use crate::node::owners::local::LocalShards;
use crate::node::owners::places::Places;
use crate::problem::Problem;
use crate::protocol::ConversationItem;
use crate::shard::command::{Command, Done, Found, Freshness, Interest, Push, Query, Subscribed};
use crate::shard::replicas::Replicas;
use crate::shard::write::subscriptions::Subscriber;
use crate::shard::{IndexPage, ShardHandle, Standby};

mod attempt;
mod backups;
mod beside;
pub(in crate::node) mod custody;
mod hints;
mod line;
mod local;
mod offer;
pub(in crate::node) mod offers;
mod outboxes;
mod own_replicas;
mod places;
mod presence;
mod replicas;
mod rounds;

#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
pub(in crate::node) mod testing;
#[cfg(test)]
mod tests;

pub use beside::Beside;

/// One for each name asked for, and how sure all of them are.
pub type Summaries = (Vec<Result<Option<ConversationItem>, Problem>>, Freshness);

/// What [`Owners`] are made of.
#[derive(Debug)]
pub struct Setup {
    /// Who we are.
    pub credentials: Credentials,
    /// The map of slots to shards.
    pub map: ShardMap,
    /// The table as this node follows it.
    pub table: watch::Receiver<Arc<Table>>,
    /// Takes the pushes of everything subscribed.
    pub pushes: mpsc::Sender<Push>,
    /// What is known of this node's way to the log, and of others'.
    pub reach: Arc<Reach>,
    /// Settings of links.
    pub link: Config,
    /// Folder of the snapshots that are given to other nodes; emptied.
    pub snapshots: PathBuf,
    /// The other nodes of this process.
    pub beside: Beside,
}

/// Reaches owners. Cheap to clone.
///
/// Pushes of everything subscribed through it, local or remote, arrive in the one channel given at
/// its construction. A broken link, a dropped push and a moved shard all arrive there as
/// `Push::Resubscribe` for the shards concerned. An answer and a push come by different ways, so
/// either may be seen first.
#[derive(Debug, Clone)]
pub struct Owners {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    setup: Setup,
    local: Arc<LocalShards>,
    /// Serves requests for our own shards, ours and those of peers: `local`, but in tests.
    service: Arc<dyn Serve>,
    /// This node as one that asks its own shards.
    asker: Asker,
    links: Mutex<HashMap<NodeId, (Link, CancellationToken)>>,
    places: Arc<Places>,
    /// The order of sends that are under way.
    lines: Lines,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Owners {
    /// Starts to follow the table. Must be called within a tokio runtime; its tasks run until
    /// [`Owners::shutdown`].
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let local = Arc::new(LocalShards::of(&setup));
        let service: Arc<dyn Serve> = Arc::<LocalShards>::clone(&local);
        Self::assemble(setup, local, service)
    }

    fn assemble(setup: Setup, local: Arc<LocalShards>, service: Arc<dyn Serve>) -> Self {
        let subscriber = Subscriber::new(setup.pushes.clone());
        let asker = Asker {
            node: setup.credentials.id.clone(),
            subscriber,
        };
        setup.beside.enter(&asker.node, &service);
        let inner = Inner {
            setup,
            local,
            service,
            asker,
            links: Mutex::default(),
            places: Arc::default(),
            lines: Lines::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let owners = Self {
            inner: Arc::new(inner),
        };
        owners.inner.tasks.spawn(places::follow(owners.clone()));
        let (shards, stop) = (Arc::clone(&owners.inner.local), owners.inner.stop.clone());
        owners
            .inner
            .tasks
            .spawn(async move { stop.run_until_cancelled(shards.tidy_snapshots()).await });
        owners
    }

    /// Serves the shards of this node to other nodes, on the peer port, and there `front` to
    /// routers.
    #[must_use]
    pub fn serve_peers(
        &self,
        listener: TcpListener,
        front: Option<Arc<FrontServer>>,
    ) -> PeerServer {
        let setup = server::Setup {
            credentials: self.inner.setup.credentials.clone(),
            service: Arc::clone(&self.inner.service),
            front,
            table: self.inner.setup.table.clone(),
            reach: Arc::clone(&self.inner.setup.reach),
            config: self.inner.setup.link.clone(),
        };
        PeerServer::spawn(listener, setup)
    }

    /// From now on the shard is served here.
    pub fn insert_local(&self, shard: ShardHandle) {
        self.inner.local.insert(shard);
    }

    /// From now on the shard is not served here; to be called before it is closed. Sessions of this
    /// node are told to subscribe again; those of other nodes are by the shard itself or by their
    /// own view of the table.
    pub fn remove_local(&self, shard: ShardId) -> Option<ShardHandle> {
        let removed = self.inner.local.remove(shard);
        if removed.is_some() {
            self.inner.places.lost_shard(shard);
        }
        removed
    }

    /// From now on this node's standby of a shard answers its other replicas.
    pub fn insert_standby(&self, standby: Standby) {
        self.inner.local.insert_standby(standby);
    }

    /// From now on it does not; to be called before it is closed or takes the shard over.
    pub fn remove_standby(&self, shard: ShardId) -> Option<Standby> {
        self.inner.local.remove_standby(shard)
    }

    /// Every standby of this node.
    #[must_use]
    pub fn standbys(&self) -> Vec<Standby> {
        self.inner.local.standbys()
    }

    /// This node's replica of a shard, owned or standing by.
    pub(in crate::node) fn own(&self, shard: ShardId) -> Option<own_replicas::Own> {
        self.inner.local.own(shard)
    }

    /// The way from a shard of this node to its other replicas.
    #[must_use]
    pub fn replicas(&self) -> Arc<dyn Replicas> {
        Arc::new(replicas::LinkedReplicas::of(self))
    }

    /// Asks a node, be it this one, something of its replica of a shard. `None` when it has none,
    /// or does not answer in time.
    pub async fn ask_replica(
        &self,
        node: &NodeId,
        shard: ShardId,
        ask: ReplicaAsk,
        deadline: Instant,
    ) -> Option<ReplicaAnswer> {
        match self
            .ask_node(node, Body::Replica { shard, ask }, deadline)
            .await?
        {
            Outcome::Replica(answer) => Some(answer),
            _ => None,
        }
    }

    /// Asks a named node once, whatever it owns.
    pub(in crate::node) async fn ask_node(
        &self,
        node: &NodeId,
        body: Body,
        deadline: Instant,
    ) -> Option<Outcome> {
        let route = if node == self.node() {
            Route::Here
        } else {
            Route::Node(node.clone())
        };
        match self.send(&route, &body, deadline).await {
            Ok(outcome) => Some(outcome),
            Err(missed) => {
                tracing::debug!(%node, ?missed, "a node did not answer");
                None
            }
        }
    }

    /// Ends all links. What waits for an answer gets none: `outcome_unknown` or `unavailable`.
    pub async fn shutdown(&self) {
        self.inner
            .setup
            .beside
            .leave(self.node(), self.inner.asker.subscriber.id());
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The map of slots to shards.
    #[must_use]
    pub fn map(&self) -> ShardMap {
        self.inner.setup.map
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.inner.setup.credentials.id
    }

    /// The table as followed now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.inner.setup.table.borrow())
    }

    /// To watch the table as it is followed.
    pub(in crate::node) fn watch_table(&self) -> watch::Receiver<Arc<Table>> {
        self.inner.setup.table.clone()
    }

    /// What is known of this node's way to the log.
    pub(in crate::node) fn reach(&self) -> &Arc<Reach> {
        &self.inner.setup.reach
    }

    /// The shard, if it is served here now: see `LocalShards::here`.
    #[must_use]
    pub fn local(&self, shard: ShardId) -> Option<ShardHandle> {
        self.inner.local.here(shard)
    }

    /// Executes a command at the owner of `shard`. The command is *enqueued* before this returns,
    /// so two calls in a row for one conversation are decided in that order; the returned future
    /// waits for the answer. Sends (and reactions) of one user to one conversation keep that order
    /// also when they have to be repeated, or the shard moves between them: see [`line`]. Therefore
    /// their futures are to be polled, all of them.
    ///
    /// Dropping the future does not undo the command.
    ///
    /// # Errors
    /// As the client sees it.
    pub fn execute(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Done, Problem>> + Send + 'static {
        let line = line_of(&command);
        let body = Body::Execute { shard, command };
        let asked = match line {
            Some(line) => self.ask_in_line(line, shard, body, deadline),
            None => self.ask(shard, body, deadline),
        };
        async move {
            match asked.await? {
                Outcome::Done(done) => Ok(done),
                _ => Err(attempt::outcome_unknown()),
            }
        }
    }

    /// Reads at the owner of `shard`.
    ///
    /// # Errors
    /// As the client sees it.
    pub async fn query(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem> {
        match self
            .ask(shard, Body::Query { shard, query }, deadline)
            .await?
        {
            Outcome::Found(found, freshness) => Ok((found, freshness)),
            _ => Err(attempt::unavailable()),
        }
    }

    /// Summaries for a list, with one request per owning *node*, side by side. In the order of
    /// `names`; `Err` where the owner did not answer in time. All of them together are as fresh as
    /// the stalest.
    pub async fn summaries(
        &self,
        reader: &UserId,
        names: &[ConversationName],
        deadline: Instant,
    ) -> Summaries {
        let stale_ms = AtomicU64::new(0);
        let items = names
            .iter()
            .map(|name| (self.shard_of(name), name.clone()))
            .collect();
        let build = |parts| Body::Summaries {
            reader: reader.clone(),
            parts,
        };
        let unpack = |outcome| match outcome {
            Outcome::Summaries(parts) => Some(parts),
            Outcome::StaleSummaries { parts, ms } => {
                stale_ms.fetch_max(ms.max(1), Ordering::Relaxed);
                Some(parts)
            }
            _ => None,
        };
        let items = self.in_rounds(items, deadline, build, unpack).await;
        let freshness = match stale_ms.into_inner() {
            0 => Freshness::Strict,
            ms => Freshness::Stale { ms },
        };
        (items, freshness)
    }

    /// Subscribes to conversations of any shards, with one request per owning node, side by side.
    /// In the order given; what could not be asked is [`Subscribed::Failed`]. Answers when the last
    /// owner has, or at the deadline.
    pub async fn subscribe(&self, interests: Vec<Interest>, deadline: Instant) -> Vec<Subscribed> {
        let items = interests
            .into_iter()
            .map(|interest| (self.shard_of(&interest.conversation), interest))
            .collect();
        let build = |parts| Body::Subscribe { parts };
        let unpack = |outcome| match outcome {
            Outcome::Subscribed(parts) => Some(parts),
            _ => None,
        };
        let answers = self.in_rounds(items, deadline, build, unpack).await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(Subscribed::Failed))
            .collect()
    }

    /// Ends interests. What cannot be told to the owner now is not: the owner forgets this node
    /// when the link ends.
    pub fn unsubscribe(&self, interests: Vec<(ConversationName, UserId)>) {
        let mut by_route: HashMap<Route, HashMap<ShardId, Vec<_>>> = HashMap::new();
        for interest in interests {
            let shard = self.shard_of(&interest.0);
            by_route
                .entry(self.route(shard))
                .or_default()
                .entry(shard)
                .or_default()
                .push(interest);
        }
        for (route, parts) in by_route {
            self.tell(
                &route,
                Body::Unsubscribe {
                    parts: parts.into_iter().collect(),
                },
            );
        }
    }

    /// Subscribes to a user's index; see [`ShardHandle::subscribe_index`].
    ///
    /// # Errors
    /// When the owner cannot be asked now.
    pub async fn subscribe_index(
        &self,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, Problem> {
        let shard = self.inner.setup.map.shard_of(user.slot());
        match self
            .ask(
                shard,
                Body::SubscribeIndex {
                    shard,
                    user,
                    after,
                    limit,
                },
                deadline,
            )
            .await?
        {
            Outcome::IndexPage(page) => Ok(page),
            _ => Err(attempt::unavailable()),
        }
    }

    /// Ends interest in a user's index.
    pub fn unsubscribe_index(&self, user: UserId) {
        let shard = self.inner.setup.map.shard_of(user.slot());
        self.tell(&self.route(shard), Body::UnsubscribeIndex { shard, user });
    }

    fn shard_of(&self, name: &ConversationName) -> ShardId {
        self.inner.setup.map.shard_of(name.slot())
    }
}
