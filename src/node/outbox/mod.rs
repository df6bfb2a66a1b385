//! Delivers a shard's outbox: changes of users' indexes go to the shards of the users, at least once. A change that arrives
//! twice, or after a newer one, does nothing there (its seq tells). Progress is the position up to which *every* row is
//! delivered, so a user's shard that cannot be reached holds back what follows, at most one batch of which is tried.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ids::ShardId;
use crate::node::owners::Owners;
use crate::problem::Problem;
use crate::shard::ShardHandle;
use crate::shard::command::Command;
use crate::shard::log::record::{IndexChange, OutboxPosition};
use crate::shard::store::OutboxRow;
use crate::telemetry;

#[cfg(test)]
mod tests;

/// Rows taken at once. A conversation of 10,000 participants is delivered in ten batches.
const ROWS_AT_ONCE: u32 = 1_000;

/// Budget of one delivery to one shard.
const DELIVERY_BUDGET: Duration = Duration::from_secs(5);

/// First wait after a failed delivery; doubles with each, jittered.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest wait between deliveries.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Of failed deliveries to one shard in a row, the first and then one in so many is logged.
const LOG_EVERY: u32 = 16;

/// Wait before rows that were delivered already are asked for again: their progress is on its way to the log.
const REST: Duration = Duration::from_millis(20);

/// An outbox, as its delivery sees it.
#[async_trait]
trait Outbox: Send + Sync {
    fn shard(&self) -> ShardId;
    async fn rows(&self, limit: u32) -> Option<Vec<OutboxRow>>;
    fn delivered(&self, upto: OutboxPosition);
}

#[async_trait]
impl Outbox for ShardHandle {
    fn shard(&self) -> ShardId {
        self.id()
    }

    async fn rows(&self, limit: u32) -> Option<Vec<OutboxRow>> {
        self.outbox(limit).await
    }

    fn delivered(&self, upto: OutboxPosition) {
        self.outbox_delivered(upto);
    }
}

/// Delivers the outbox of an owned shard until the shard is closed or `stop` fires. May be dropped at any moment: what was
/// not told as delivered is delivered again by whoever owns the shard next.
pub async fn deliver(shard: ShardHandle, owners: Owners, stop: CancellationToken) {
    tokio::select! {
        () = run(&shard, &owners) => {}
        // What is on its way to a shard that does not answer holds up nobody who waits for this one to end.
        () = shard.closed() => {}
        () = stop.cancelled() => {}
    }
}

async fn run(outbox: &impl Outbox, owners: &Owners) {
    let mut done: Option<OutboxPosition> = None;
    while let Some(rows) = outbox.rows(ROWS_AT_ONCE).await {
        let rows: Vec<_> = rows.into_iter().filter(|row| done.is_none_or(|done| row.position > done)).collect();
        if rows.is_empty() {
            sleep(REST).await;
            continue;
        }
        deliver_rows(outbox, owners, rows, &mut done).await;
    }
}

/// Delivers a batch, side by side to the shards concerned, and tells progress whenever the delivered prefix grows.
async fn deliver_rows(outbox: &impl Outbox, owners: &Owners, rows: Vec<OutboxRow>, done: &mut Option<OutboxPosition>) {
    let mut open: BTreeMap<OutboxPosition, ShardId> = BTreeMap::new();
    let mut by_shard: BTreeMap<ShardId, Vec<IndexChange>> = BTreeMap::new();
    let last = rows.last().map(|row| row.position);
    for row in rows {
        let shard = owners.map().shard_of(row.change.user.slot());
        open.insert(row.position, shard);
        by_shard.entry(shard).or_default().push(row.change);
    }
    let mut positions: Vec<OutboxPosition> = open.keys().copied().collect();
    let from = outbox.shard();
    let deliveries = by_shard.into_iter().map(|(shard, changes)| deliver_to(owners, from, shard, changes));
    let mut deliveries: FuturesUnordered<_> = deliveries.collect();
    while let Some(shard) = deliveries.next().await {
        open.retain(|_, of| *of != shard);
        let undelivered = open.first_key_value().map(|(position, _)| *position);
        let delivered = positions.iter().take_while(|position| undelivered.is_none_or(|first| **position < first));
        let prefix = delivered.count();
        let reached = positions.drain(..prefix).next_back();
        if let Some(upto) = if undelivered.is_none() { last } else { reached } {
            *done = Some(upto);
            outbox.delivered(upto);
        }
        telemetry::OUTBOX_ROWS.add(u64::try_from(prefix).unwrap_or(0), &[]);
    }
}

/// Delivers changes to one shard, however long it takes; whoever awaits it looks whether the outbox is still open.
async fn deliver_to(owners: &Owners, from: ShardId, to: ShardId, changes: Vec<IndexChange>) -> ShardId {
    let mut failures = 0_u32;
    let mut wait = BACKOFF_MIN;
    loop {
        let deadline = Instant::now() + DELIVERY_BUDGET;
        match owners.execute(to, Command::Index(changes.clone()), deadline).await {
            Ok(_) => return to,
            Err(problem) => log_failure(from, to, failures, &problem),
        }
        telemetry::OUTBOX_RETRIES.add(1, &[]);
        failures = failures.saturating_add(1);
        sleep(wait.mul_f64(rand::random_range(0.5..=1.0))).await;
        wait = (wait * 2).min(BACKOFF_MAX);
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
