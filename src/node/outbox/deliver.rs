//! The delivery of one outbox: its rows are read, sent to the shards of their users, and told as
//! delivered.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::ids::ShardId;
use crate::log::record::{IndexChange, OutboxPosition};
use crate::node::outbox::window::Window;
use crate::node::owners::Owners;
use crate::problem::Problem;
use crate::shard::ShardHandle;
use crate::shard::command::Command;
use crate::shard::delivery::Reached;
use crate::shard::outbox::{LAST_ROWS_MAX, OutboxPage};
use crate::telemetry;

/// Rows read at once.
const ROWS_AT_ONCE: u32 = 1_000;

/// Budget of one delivery to one shard.
const DELIVERY_BUDGET: Duration = Duration::from_secs(5);

/// Shortest pause after a failed delivery, whoever waits for one.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Further pauses, unless someone waits for a delivery.
const BACKOFF: Backoff = Backoff::new(PAUSE_MIN, Duration::from_secs(2));

/// One in so many failed deliveries to one shard in a row is logged, the first of them too.
const LOG_EVERY: u32 = 16;

/// An outbox, as its delivery sees it.
#[async_trait]
pub(super) trait Outbox: Send + Sync {
    fn shard(&self) -> ShardId;
    /// Rows behind a place; waits until there may be some. `None` when there will be no more.
    async fn page(&self, after: OutboxPosition, limit: u32) -> Option<OutboxPage>;
    /// How far it is delivered, and what of that is to be logged.
    fn delivered(&self, delivered: Reached, progress: Option<OutboxPosition>);
    /// Changes when someone waits for what is not delivered.
    fn hurried(&self) -> watch::Receiver<()>;
}

#[async_trait]
impl Outbox for ShardHandle {
    fn shard(&self) -> ShardId {
        self.id()
    }

    async fn page(&self, after: OutboxPosition, limit: u32) -> Option<OutboxPage> {
        self.outbox_page(after, limit).await
    }

    fn delivered(&self, delivered: Reached, progress: Option<OutboxPosition>) {
        self.outbox_delivered(delivered, progress);
    }

    fn hurried(&self) -> watch::Receiver<()> {
        self.outbox_hurried()
    }
}

/// Delivers the outbox of an owned shard until the shard is closed or `stop` fires. May be dropped
/// at any moment: what was not told as delivered is delivered again by whoever owns the shard next.
pub(crate) async fn deliver(shard: ShardHandle, owners: Owners, stop: CancellationToken) {
    let ended = async {
        shard.closed().await;
        sleep(LAST_ROWS_MAX).await;
    };
    tokio::select! {
        () = run(&shard, &owners) => {}
        // What is on its way to a shard that does not answer holds up nobody who waits for this one
        // to end.
        () = ended => {}
        () = stop.cancelled() => {}
    }
}

/// Until the outbox ends, and what was on its way then has arrived.
pub(super) async fn run(outbox: &impl Outbox, owners: &Owners) {
    let mut window = Window::default();
    let mut flights: FuturesUnordered<BoxFuture<'_, ShardId>> = FuturesUnordered::new();
    let mut open = true;
    while open {
        let from = window.from();
        let mut reading = outbox.page(from, ROWS_AT_ONCE);

        // Read on, or again from where something was left that has room now.
        while open && window.from() == from {
            tokio::select! {
                page = &mut reading => match page {
                    Some(page) => {
                        window.take(page, |row| owners.map().shard_of(row.change.user.slot()));
                        outbox.delivered(window.reached(), None);
                    }
                    None => open = false,
                },
                Some(shard) = flights.next() => arrived(outbox, &mut window, shard),
            }
            for (to, changes) in window.depart() {
                flights.push(Box::pin(deliver_to(outbox, owners, to, changes)));
            }
        }
    }
    while let Some(shard) = flights.next().await {
        arrived(outbox, &mut window, shard);
    }
}

fn arrived(outbox: &impl Outbox, window: &mut Window, shard: ShardId) {
    telemetry::OUTBOX_ROWS.add(u64::try_from(window.arrived(shard)).unwrap_or(0), &[]);
    let progress = window.progress();
    outbox.delivered(window.reached(), progress);
}

/// Delivers changes to one shard, however long it takes; whoever awaits it looks whether the outbox
/// is still open.
async fn deliver_to(
    outbox: &impl Outbox,
    owners: &Owners,
    to: ShardId,
    changes: Vec<IndexChange>,
) -> ShardId {
    let from = outbox.shard();
    let mut hurried = outbox.hurried();
    let mut failures = 0_u32;
    let mut pauses = BACKOFF.pauses();
    loop {
        let deadline = Instant::now() + DELIVERY_BUDGET;
        match owners
            .execute(to, Command::Index(changes.clone()), deadline)
            .await
        {
            Ok(_) => return to,
            Err(problem) => log_failure(from, to, failures, &problem),
        }
        telemetry::OUTBOX_RETRIES.add(1, &[]);
        failures = failures.saturating_add(1);

        sleep(PAUSE_MIN).await;
        // Either way it is time; an outbox without anyone to hurry it has ended.
        drop(timeout(pauses.next_jittered(), hurried.changed()).await);
    }
}

fn log_failure(from: ShardId, to: ShardId, failures: u32, problem: &Problem) {
    if !failures.is_multiple_of(LOG_EVERY) {
        return;
    }
    if problem.code.retryable() {
        tracing::warn!(%from, %to, failures, %problem, "outbox cannot be delivered yet");
    } else {
        // Never dropped: the index would differ from the memberships for ever.
        tracing::error!(%from, %to, failures, %problem, "outbox is refused by the shard of its users");
    }
}
