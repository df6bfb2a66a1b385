//! What the loop does every now and then, whether or not anything happens.

use crate::log::record::Record;
use crate::shard::write::owner::Owner;
use crate::telemetry;

impl Owner {
    pub(super) fn housekeeping(&mut self) {
        self.expire_stamped();
        self.tidy_parked();
        self.appenders.messages.expire_retained();
        self.appenders.receipts.expire_retained();
        self.subscriptions.tell_lagged();
        self.typists.tidy(self.setup.clock.since_boot());
        self.look_at_presence();
        self.appenders
            .messages
            .retain_waiting(|waiter| !waiter.is_abandoned());
        self.appenders
            .receipts
            .retain_waiting(|waiter| !waiter.is_abandoned());
        self.log_progress();

        self.mark_time();
        // Also when nothing else happens here: other shards may need the memory.
        self.evict();
        self.set_gauges();
    }

    /// Has the log keep how far the outbox is delivered, if that is news.
    pub(super) fn log_progress(&mut self) {
        if let Some(upto) = self
            .outbox_progress
            .take_if(|_| !self.closing && !self.parking.is_stalled())
        {
            let record = Record::OutboxProgress { upto };
            let offset = self.appenders.messages.decide(record.clone(), Vec::new());
            self.unapplied.push_back((offset, record));
        }
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a gauge is a float, and this one a ratio"
    )]
    fn set_gauges(&self) {
        let shard = self.setup.shard.0.to_string();
        let heads = f64::from(u32::try_from(self.conversations.len()).unwrap_or(u32::MAX));
        telemetry::HEADS.set(heads, &[("shard", &shard)]);
        let online = f64::from(u32::try_from(self.presences.online()).unwrap_or(u32::MAX));
        telemetry::USERS_ONLINE.set(online, &[("shard", &shard)]);
        telemetry::HEADS_BYTES.set(self.heads_taken.bytes() as f64, &[("shard", &shard)]);
        let fill = self.untrimmed_bytes() as f64 / self.setup.stream_bytes_max.max(1) as f64;
        telemetry::STREAM_FILL.set(fill, &[("shard", &shard)]);
        telemetry::SHARD_LOG_FULL.set(
            f64::from(u8::from(self.parking.is_full())),
            &[("shard", &shard)],
        );
    }
}
