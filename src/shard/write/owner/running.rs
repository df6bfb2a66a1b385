//! The loop: it waits for the next thing that happens, takes it in, and sends off what has
//! gathered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::ids::Offset;
use crate::log::{PerStream, Stream};
use crate::shard::write::append::Appender;
use crate::shard::write::owner::input::Completion;
use crate::shard::write::owner::marks::Marks;
use crate::shard::write::owner::memory::Taken;
use crate::shard::write::owner::messages::Unapplied;
use crate::shard::write::owner::parking::Parking;
use crate::shard::write::owner::sought::Sought;
use crate::shard::write::owner::{Owner, Setup, commit};
use crate::shard::write::presence::{Moment, Presences};
use crate::shard::write::subscriptions::Subscriptions;
use crate::shard::write::typing::Typists;

/// Inputs taken at once before the batches are pumped.
const INPUTS_AT_ONCE: usize = 256;

/// Look-ups in SQLite at the same time.
const LOOKUPS_MAX: usize = 32;

/// Housekeeping: expiry of stamped keys, lagged subscribers, outbox progress.
const TICK: Duration = Duration::from_millis(250);

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

    fn pump(&mut self) {
        if !self.appenders.receipts.is_away() {
            self.flush_delivered();
        }
        let lane = self.setup.lane.clone();
        self.appenders.messages.pump(&lane);
        self.appenders.receipts.pump(&lane);
    }
}
