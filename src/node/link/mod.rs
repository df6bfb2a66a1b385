//! Links: how nodes talk to each other. The node that asks opens one WebSocket with binary frames
//! to the node that owns; requests go one way, answers and pushes the other. So there is at most
//! one link per ordered pair of nodes.
//!
//! **Invariants.** Nothing of a frame is parsed before both ends have proven the cluster key
//! ([`crate::link`]). Requests are served in the order in which they were made; answers come in any
//! order, and an answer may overtake a push or the other way round. A request that was never handed
//! to the socket was surely not served; of one that was, nothing is known until its answer. Every
//! queue, wait and frame has a bound, named in [`crate::link::Config`] or beside its constant.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use crate::ids::{NodeId, ShardId};
use crate::node::link::frame::{Body, Outcome};
use crate::shard::command::ShardError;
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};

pub(crate) mod frame;

pub(crate) mod handing;

pub(crate) mod replica;

pub(crate) mod client;

mod outgoing;

mod queue;

mod opened;

pub(crate) mod server;

mod port;

mod accepted;

/// Who asks: a node that has proven itself.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// The node.
    pub node: NodeId,
    /// Its end of pushes.
    pub subscriber: Subscriber,
}

/// What becomes of a request that is being served.
pub(crate) type Serving =
    Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + 'static>>;

/// What serves requests: this node's own shards, for this node and for its peers alike.
pub(crate) trait Serve: fmt::Debug + Send + Sync + 'static {
    /// True when this node owns the shard now.
    fn owns(&self, shard: ShardId) -> bool;

    /// Serves a request of `asker`, until `deadline` at most. A command, and the end of an
    /// interest, is *enqueued* before this returns; the first poll of the future enqueues
    /// everything else.
    ///
    /// Dropping the future undoes nothing.
    fn serve(&self, body: Body, deadline: Instant, asker: &Asker) -> Serving;

    /// The subscriber's link is gone: ends all its interests.
    fn forget(&self, subscriber: SubscriberId);

    /// True when [`Serve::moved`] may have something to tell.
    fn knows_of_moves(&self) -> bool {
        false
    }

    /// Which of these shards are at another node than the table says, and where.
    fn moved(&self, _shards: &[ShardId]) -> Vec<(ShardId, NodeId)> {
        Vec::new()
    }
}
