//! What the loop is started with, and what it keeps in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::ids::{ConversationName, NodeId, Offset, Seq, ShardId, UserId};
use crate::log::lane::{Lane, Witnessed};
use crate::log::lease::Lease;
use crate::log::record::{OutboxPosition, Record, Tail};
use crate::log::{PerStream, Token};
use crate::protocol::Retention;
use crate::shard::file::store::Store;
use crate::shard::file::worker::Stood;
use crate::shard::replicas::Replicas;
use crate::shard::write::agreed::Agreed;
use crate::shard::write::append::Appender;
use crate::shard::write::filter::KeyFilter;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::input::{Completion, Input, Waiter};
use crate::shard::write::owner::keys::{StampedKey, StampedUse, UsedKey};
use crate::shard::write::owner::marks::Marks;
use crate::shard::write::owner::memory::{HeadMemory, Taken};
use crate::shard::write::owner::messages::Unapplied;
use crate::shard::write::owner::parking::Parking;
use crate::shard::write::owner::sought::Sought;
use crate::shard::write::presence::Presences;
use crate::shard::write::subscriptions::Subscriptions;
use crate::shard::write::typing::Typists;

/// What the loop is started with.
#[derive(Debug)]
pub(in crate::shard) struct Setup {
    pub shard: ShardId,
    pub token: Token,
    pub node: NodeId,
    /// Where the streams end that the epoch of this owner follows.
    pub tails: PerStream<Tail>,
    pub store: Store,
    pub lane: Lane,
    /// Until the loop ends, its standbys stand in for a second copy in the log.
    pub _witnessed: Witnessed,
    pub clock: Clock,
    pub lease: Arc<Lease>,
    pub filter: KeyFilter,
    /// Stamped keys of the last minute, from the raw entries.
    pub stamped: Vec<StampedKey>,
    pub heads_max: usize,
    /// What the deployment says of how long events are kept.
    pub retention: Retention,
    /// Bytes of heads of the process, which all its shards share.
    pub heads_bytes_max: u64,
    pub head_memory: Arc<HeadMemory>,
    pub agreed: Arc<Agreed>,
    /// Writes parked at once; more are refused.
    pub queue_max: usize,
    pub stream_bytes_max: u64,
    pub inputs: mpsc::Receiver<Input>,
    pub committed: PerStream<Arc<watch::Sender<Tail>>>,
    pub applied: PerStream<watch::Receiver<Tail>>,
    pub trimmed: watch::Receiver<PerStream<Offset>>,
    /// What stood in the log when the shard was opened.
    pub stood: watch::Receiver<Stood>,
    /// Offset of the last record that has rows in the outbox.
    pub outbox_due: Arc<watch::Sender<Offset>>,
    /// Offset of the last record that closed a conversation, since the shard was opened.
    pub closings: Arc<watch::Sender<Offset>>,
    /// The other replicas.
    pub replicas: Arc<dyn Replicas>,
    /// Set when the loop ends.
    pub closed: watch::Sender<bool>,
}

/// The loop's state.
#[derive(Debug)]
pub(in crate::shard) struct Owner {
    pub(super) setup: Setup,
    pub(super) appenders: PerStream<Appender<Waiter>>,
    pub(super) conversations: HashMap<ConversationName, ConversationState>,
    /// What they take in memory.
    pub(super) heads_taken: Taken,
    /// Order of use, roughly, for eviction.
    pub(super) order: VecDeque<ConversationName>,
    /// Messages that unapplied records sent or changed.
    pub(super) messages: Unapplied,
    /// Writes whose message is sought.
    pub(super) sought: Sought,
    /// Records of the messages stream, decided and not applied yet.
    pub(super) unapplied: VecDeque<(Offset, Record)>,
    /// Last unapplied index change by user, and by (user, conversation) with its seq.
    pub(super) index_touched: HashMap<UserId, Offset>,
    pub(super) index_recent: HashMap<(UserId, ConversationName), (Seq, Offset)>,
    /// Delivered marks that wait for the receipts stream; the highest seq wins.
    pub(super) delivered: HashMap<ConversationName, HashMap<UserId, Seq>>,
    pub(super) delivered_count: usize,
    /// Keys that routers stamped, for a minute, and the order in which they expire.
    pub(super) stamped: HashMap<StampedUse, UsedKey>,
    pub(super) stamped_order: VecDeque<(Duration, StampedUse)>,
    /// Pieces of work that wait behind look-ups, of all conversations.
    pub(super) waiting: usize,
    /// Look-ups so far.
    pub(super) looked_up: u64,
    pub(super) subscriptions: Subscriptions,
    pub(super) typists: Typists,
    pub(super) presences: Presences,
    pub(super) marks: Marks,
    pub(super) outbox_progress: Option<OutboxPosition>,
    /// Fills wait until this much is applied: what was committed when heads were dropped.
    pub(super) fill_floor: PerStream<Offset>,
    pub(super) completions: mpsc::Sender<Completion>,
    pub(super) lookups: Arc<Semaphore>,
    pub(super) parking: Parking,
    /// The shard is about to be given to another node.
    pub(super) holding: Option<Holding>,
    pub(super) closing: bool,
    pub(super) taken: bool,
}

/// Why the loop decides nothing.
#[derive(Debug)]
pub(super) enum Holding {
    /// Something is on its way still; whoever asked waits for the tails.
    Ending(oneshot::Sender<PerStream<Tail>>),
    /// Nothing is on its way, and the tails were told.
    Still,
}

impl Owner {
    /// Unix milliseconds, on the clock of this node.
    pub(super) fn now(&self) -> u64 {
        self.setup.clock.now_ms()
    }
}
