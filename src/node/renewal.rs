//! Proves, again and again, that this node still owns its shards: one renewal for all open shards of a place of the log.
//! A proof extends their leases; "not current" ends a shard, for it was taken; no answer does nothing, and the leases run
//! out by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::ids::NodeId;
use crate::node::{Setup, Shards};
use crate::shard::ShardHandle;
use crate::shard::log::ShardLog;
use crate::telemetry;

/// A renewal that is not answered within this part of the watch time is given up: the next one is due long before the
/// lease ends.
const ANSWER_PART: u32 = 4;

/// The renewals of a node.
#[derive(Debug)]
pub(super) struct Renewals {
    node: NodeId,
    log: Arc<dyn ShardLog>,
    clock: Clock,
    shards: Shards,
    every: Duration,
    answer_max: Duration,
    /// The last round had a place without an answer.
    failing: bool,
}

impl Renewals {
    /// `None` where nobody else can take a shard.
    pub(super) fn of(setup: &Setup, shards: Shards) -> Option<Self> {
        let config = &setup.config.shard;
        let watch = config.takeover_watch?;
        Some(Self {
            node: setup.id.clone(),
            log: Arc::clone(&setup.log),
            clock: setup.clock.clone(),
            shards,
            every: config.renew_every,
            answer_max: watch / ANSWER_PART,
            failing: false,
        })
    }

    /// Renews for ever.
    pub(super) async fn run(mut self) {
        let mut every = tokio::time::interval(self.every.max(Duration::from_millis(1)));
        // What was missed is of no use.
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.round().await;
        }
    }

    /// Renews once what is open now. A place that does not answer holds up no other.
    async fn round(&mut self) {
        let mut places: BTreeMap<u64, Vec<ShardHandle>> = BTreeMap::new();
        for handle in self.shards.handles() {
            places.entry(self.log.place(handle.id())).or_default().push(handle);
        }
        let failed: Vec<String> = join_all(places.values().map(|handles| self.renew(handles)))
            .await
            .into_iter()
            .filter_map(Result::err)
            .collect();
        match failed.first() {
            Some(error) if !self.failing => {
                let places = failed.len();
                tracing::warn!(node = %self.node, places, error, "leases are not renewed; reads will be marked stale");
            }
            None if self.failing => tracing::info!(node = %self.node, "leases are renewed again"),
            _ => {}
        }
        self.failing = !failed.is_empty();
        for handle in places.values().flatten() {
            handle.note_lease();
        }
    }

    async fn renew(&self, handles: &[ShardHandle]) -> Result<(), String> {
        let holds: Vec<_> = handles.iter().map(ShardHandle::hold).collect();
        // Before it is sent: the proof is not older than that.
        let sent = self.clock.since_boot();
        let answer = tokio::time::timeout(self.answer_max, self.log.renew(&holds)).await;
        let current =
            match answer.map_err(|_elapsed| "no answer in time".to_owned()).and_then(|done| done.map_err(|e| e.0)) {
                Ok(current) => current,
                Err(error) => {
                    self.count("failed", holds.len());
                    return Err(error);
                }
            };
        let renewed = current.iter().filter(|current| **current).count();
        self.count("renewed", renewed);
        self.count("taken", current.len() - renewed);
        for (handle, current) in handles.iter().zip(current) {
            handle.renewed(sent, current);
        }
        Ok(())
    }

    fn count(&self, result: &'static str, shards: usize) {
        if shards > 0 {
            let shards = u64::try_from(shards).unwrap_or(u64::MAX);
            telemetry::LEASE_RENEWALS.add(shards, &[("node", &self.node.0), ("result", result)]);
        }
    }
}
