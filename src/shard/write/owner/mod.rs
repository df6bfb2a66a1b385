//! The owner's loop of one shard: the single writer. It decides commands against heads, lets
//! records gather in the two append sides, and when a batch is committed answers, pushes and wakes
//! the workers, in that order of records.
//!
//! Never awaits anything but its own inputs: look-ups in SQLite run beside it and come back as
//! [`Completion`]s, while the commands of that conversation wait in their order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::ids::{ConversationName, NodeId, Offset, Seq, ShardId, UserId};
use crate::log::lane::{Definite, Lane, Witnessed};
use crate::log::lease::Lease;
use crate::log::record::{OutboxPosition, Record, Tail};
use crate::log::{PerStream, Stream, Token};
use crate::shard::file::store::Store;
use crate::shard::file::worker::Stood;
use crate::shard::replicas::Replicas;
use crate::shard::write::agreed::Agreed;
use crate::shard::write::append::Appender;
use crate::shard::write::filter::KeyFilter;
use crate::shard::write::owner::conversation::{ConversationState, UsedKey};
use crate::shard::write::owner::holding::Holding;
use crate::shard::write::owner::input::{Completion, Waiter};
use crate::shard::write::owner::memory::Taken;
use crate::shard::write::owner::messages::Unapplied;
use crate::shard::write::owner::parking::Parking;
use crate::shard::write::owner::piece::WorkKind;
use crate::shard::write::owner::seeking::Sought;
use crate::shard::write::owner::stamped::StampedUse;
use crate::shard::write::owner::time::Marks;
use crate::shard::write::presence::{Moment, Presences};
use crate::shard::write::subscriptions::Subscriptions;
use crate::shard::write::typing::Typists;

mod input;

mod piece;

mod conversation;

mod seeking;

mod work;

mod lookup;

mod messages;

mod decide;

mod edits;

mod resubmit;

mod receipts;

mod stamped;

mod typing;

mod presence;

mod ticket;

mod time;

mod commit;

mod memory;

mod parking;

mod holding;

pub(in crate::shard) use decide::message_unknown;
pub(in crate::shard) use input::{Accepted, Admission, Asked, Change, Input, Ticket, Want, Write};
pub use memory::HeadMemory;
pub(in crate::shard) use stamped::StampedKey;
pub(in crate::shard) use ticket::page_of;

/// Inputs taken at once before the batches are pumped.
const INPUTS_AT_ONCE: usize = 256;
/// Look-ups in SQLite at the same time.
const LOOKUPS_MAX: usize = 32;
/// Housekeeping: expiry of stamped keys, lagged subscribers, outbox progress.
const TICK: Duration = Duration::from_millis(250);

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
    /// The other replicas.
    pub replicas: Arc<dyn Replicas>,
    /// Set when the loop ends.
    pub closed: watch::Sender<bool>,
}

/// The loop's state.
#[derive(Debug)]
pub(in crate::shard) struct Owner {
    setup: Setup,
    appenders: PerStream<Appender<Waiter>>,
    conversations: HashMap<ConversationName, ConversationState>,
    /// What they take in memory.
    heads_taken: Taken,
    /// Order of use, roughly, for eviction.
    order: VecDeque<ConversationName>,
    /// Messages that unapplied records sent or changed.
    messages: Unapplied,
    /// Writes whose message is sought.
    sought: Sought,
    /// Records of the messages stream, decided and not applied yet.
    unapplied: VecDeque<(Offset, Record)>,
    /// Last unapplied index change by user, and by (user, conversation) with its seq.
    index_touched: HashMap<UserId, Offset>,
    index_recent: HashMap<(UserId, ConversationName), (Seq, Offset)>,
    /// Delivered marks that wait for the receipts stream; the highest seq wins.
    delivered: HashMap<ConversationName, HashMap<UserId, Seq>>,
    delivered_count: usize,
    /// Keys that routers stamped, for a minute, and the order in which they expire.
    stamped: HashMap<StampedUse, UsedKey>,
    stamped_order: VecDeque<(Duration, StampedUse)>,
    /// Pieces of work that wait behind look-ups, of all conversations.
    waiting: usize,
    /// Look-ups so far.
    looked_up: u64,
    subscriptions: Subscriptions,
    typists: Typists,
    presences: Presences,
    marks: Marks,
    outbox_progress: Option<OutboxPosition>,
    /// Fills wait until this much is applied: what was committed when heads were dropped.
    fill_floor: PerStream<Offset>,
    completions: mpsc::Sender<Completion>,
    lookups: Arc<Semaphore>,
    parking: Parking,
    /// The shard is about to be given to another node.
    holding: Option<Holding>,
    closing: bool,
    taken: bool,
}

/// Starts the loop.
pub(in crate::shard) fn spawn(setup: Setup) {
    let (completions, completed) = mpsc::channel(LOOKUPS_MAX * 2);
    let mut owner = Owner {
        appenders: PerStream::from_fn(|stream| {
            Appender::new(setup.shard, stream, setup.token, setup.tails[stream])
        }),
        conversations: HashMap::new(),
        heads_taken: Taken::new(Arc::clone(&setup.head_memory), setup.heads_bytes_max),
        order: VecDeque::new(),
        messages: Unapplied::default(),
        sought: Sought::default(),
        unapplied: VecDeque::new(),
        index_touched: HashMap::new(),
        index_recent: HashMap::new(),
        delivered: HashMap::new(),
        delivered_count: 0,
        stamped: HashMap::new(),
        stamped_order: VecDeque::new(),
        waiting: 0,
        looked_up: 0,
        subscriptions: Subscriptions::new(setup.shard),
        typists: Typists::default(),
        presences: Presences::new(Moment {
            now: setup.clock.since_boot(),
            ms: setup.clock.now_ms(),
        }),
        marks: Marks::new(&setup.clock, setup.tails),
        outbox_progress: None,
        fill_floor: PerStream::both(Offset(0)),
        completions,
        lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        parking: Parking::new(setup.lane.watch_standing(setup.shard), setup.queue_max),
        holding: None,
        closing: false,
        taken: false,
        setup,
    };
    owner.remember_stamped();
    owner.announce();
    drop(tokio::spawn(owner.run(completed)));
}

/// Why the loop ends.
enum Stop {
    Closed,
    Lost,
}

impl Owner {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each thing that may happen"
    )]
    async fn run(mut self, mut completed: mpsc::Receiver<Completion>) {
        let mut inputs = Vec::with_capacity(INPUTS_AT_ONCE);
        let mut tick = tokio::time::interval(TICK);
        let PerStream {
            messages: mut messages_applied,
            receipts: mut receipts_applied,
        } = self.setup.applied.clone();
        let mut trimmed = self.setup.trimmed.clone();
        let stop = loop {
            tokio::select! {
                biased;
                end = self.appenders.messages.end() => {
                    if self.batch_ended(Stream::Messages, end) { break Stop::Lost; }
                }
                end = self.appenders.receipts.end() => {
                    if self.batch_ended(Stream::Receipts, end) { break Stop::Lost; }
                }
                Some(completion) = completed.recv() => {
                    self.look_at_log();
                    self.complete(completion);
                }
                () = self.parking.changed() => self.look_at_log(),
                Ok(()) = messages_applied.changed() => {
                    let upto = messages_applied.borrow_and_update().offset;
                    self.applied(upto);
                }
                Ok(()) = receipts_applied.changed() => { receipts_applied.borrow_and_update(); }
                Ok(()) = trimmed.changed() => {
                    for (stream, upto) in *trimmed.borrow_and_update() {
                        self.appenders[stream].trimmed(upto);
                    }
                }
                _ = tick.tick() => {
                    // The shard may have got another place in the log.
                    self.parking.watch(self.setup.lane.watch_standing(self.setup.shard));
                    self.look_at_log();
                    self.housekeeping();
                }
                count = self.setup.inputs.recv_many(&mut inputs, INPUTS_AT_ONCE) => {
                    if count == 0 { break Stop::Closed; }
                    self.look_at_log();
                    for input in inputs.drain(..) {
                        self.take(input);
                    }
                }
            }
            if self.taken {
                break Stop::Lost;
            }
            if self.parking.is_stalled() {
                self.look_at_log();
            }
            self.unpark();
            self.pump();
            self.tell_tails();
            if self.closing
                && self.appenders.messages.is_idle()
                && self.appenders.receipts.is_idle()
            {
                break Stop::Closed;
            }
        };
        self.end(&stop);
    }

    fn end(mut self, stop: &Stop) {
        self.subscriptions.tell_all();
        self.write_all_seen();
        let waiting = self
            .appenders
            .messages
            .take_waiting()
            .chain(self.appenders.receipts.take_waiting());
        for (_, waiter) in waiting {
            commit::fail(waiter, matches!(stop, Stop::Lost));
        }
        self.setup.closed.send_replace(true);
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each input")]
    fn take(&mut self, input: Input) {
        match input {
            Input::Write(mut asked) => {
                asked.turn = self.parking.turn();
                self.take_write(asked);
            }
            Input::Delivered(marks) => self.take_delivered(marks),
            Input::Begin {
                conversation,
                reader,
                want,
                answer,
            } => {
                self.work(
                    &conversation,
                    WorkKind::Begin {
                        reader,
                        want,
                        answer,
                    },
                );
            }
            Input::Subscribe {
                subscriber,
                conversation,
                user,
                answer,
            } => {
                self.work(
                    &conversation,
                    WorkKind::Subscribe {
                        subscriber,
                        user,
                        answer,
                    },
                );
            }
            Input::Locate { id, answer } => {
                // What is not committed does not exist for anyone yet.
                let committed = self.appenders.messages.committed().offset;
                answer
                    .send(
                        self.messages
                            .committed(id, committed)
                            .map(|message| message.at.clone()),
                    )
                    .ok();
            }
            Input::Tail {
                conversation,
                answer,
            } => drop(answer.send(self.committed_ticket(&conversation))),
            Input::Touched {
                conversations,
                user,
                answer,
            } => {
                answer
                    .send(self.touched(&conversations, user.as_ref()))
                    .ok();
            }
            Input::Unsubscribe(subscriber, interests) => {
                for (conversation, user) in interests {
                    self.subscriptions.remove(subscriber, &conversation, &user);
                }
            }
            Input::SubscribeIndex {
                subscriber,
                user,
                answer,
            } => {
                self.subscriptions.add_index(&subscriber, &user);
                self.user_came(&user);
                let touched = self.index_touched.get(&user).copied().unwrap_or_default();
                answer
                    .send(touched.min(self.appenders.messages.committed().offset))
                    .ok();
            }
            Input::UnsubscribeIndex(subscriber, user) => {
                self.subscriptions.remove_index(subscriber, &user)
            }
            Input::Typing(typing, answer) => self.take_typing(typing, answer),
            Input::Presence { by, users, answer } => {
                answer.send(self.presence_of(by.as_ref(), &users)).ok();
            }
            Input::Unwatch(subscriber, users) => self.presences.unwatch(subscriber, &users),
            Input::Forget(subscriber) => self.subscriptions.forget(subscriber),
            Input::OutboxDelivered(upto) => {
                self.outbox_progress = self.outbox_progress.max(Some(upto))
            }
            Input::UsedKeys { keys, last } => self.remember_used(&keys, last),
            Input::Committed(answer) => drop(answer.send(self.committed_tails())),
            Input::Hold(told) => self.hold(told),
            Input::Release => self.release(),
            Input::Given(answer) => drop(answer.send(self.give_up())),
            Input::Close => {
                self.closing = true;
                // Surely not written; whoever owns the shard next may be asked.
                self.parking.clear();
            }
            Input::Taken => {
                // What this means, whoever opens the shard next says: another node that it has
                // taken it over, this one that the log has lost it.
                tracing::info!(shard = %self.setup.shard, "the shard is no longer owned here by the log; it ends here");
                (self.closing, self.taken) = (true, true);
            }
            Input::Unfit(why) => {
                tracing::warn!(shard = %self.setup.shard, ?why, "this replica is no longer fit to own the shard; it ends here");
                (self.closing, self.taken) = (true, true);
            }
            #[cfg(test)]
            Input::Waiting(answer) => {
                answer
                    .send(self.appenders.messages.waiting() + self.appenders.receipts.waiting())
                    .ok();
            }
            #[cfg(test)]
            Input::Parked(answer) => {
                answer.send(self.parking.len()).ok();
            }
            #[cfg(test)]
            Input::Heads(answer) => {
                answer.send(self.conversations.len()).ok();
            }
        }
    }

    fn pump(&mut self) {
        if !self.appenders.receipts.is_away() {
            self.flush_delivered();
        }
        let lane = self.setup.lane.clone();
        self.appenders.messages.pump(&lane);
        self.appenders.receipts.pump(&lane);
    }

    fn now(&self) -> u64 {
        self.setup.clock.now_ms()
    }
}

/// Definite ends are named here so that `commit` reads as the story of a batch.
type End = Definite;
