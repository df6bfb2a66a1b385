//! The time of a shard, as its owner tells it to the log: how long it has owned the shard, measured
//! on a clock that nobody sets. Keys of clients are forgotten by it (`apply::Clockwork`).

use std::time::Duration;

use crate::log::Stream;
use crate::log::record::Record;
use crate::shard::write::append::Appender;
use crate::shard::write::owner::Owner;

/// Between two marks of a stream in which something is written.
const MARK_EVERY: Duration = Duration::from_secs(60);

impl Owner {
    /// Decides the first record of both streams, that its epoch has begun. No write is decided
    /// before they are committed: what the log holds may so far be all that there is of it, and an
    /// answer to a key that stands there acknowledges it.
    pub(super) fn announce(&mut self) {
        let (epoch, node) = (self.setup.token.epoch, self.setup.node.clone());
        let record = Record::EpochStart {
            epoch,
            node,
            ts: self.marks.began.0,
        };
        self.appenders.messages.decide(record.clone(), Vec::new());
        self.appenders.receipts.decide(record, Vec::new());
        // They are the first marks.
        self.marks.at = self.appenders.each_ref().map(Appender::last);
        self.look_at_log();
    }

    /// Appends a mark to each stream that got something since its last one, once a minute. One that
    /// is not written is covered by the next.
    pub(super) fn mark_time(&mut self) {
        let now = self.setup.clock.since_boot();
        if now < self.marks.last + MARK_EVERY
            || self.closing
            || self.parking.is_stalled()
            || self.no_room().is_some()
        {
            return;
        }

        self.marks.last = now;
        let (began_ms, began) = self.marks.began;
        let ts = began_ms + u64::try_from(now.saturating_sub(began).as_millis()).unwrap_or(0);
        let (epoch, node) = (self.setup.token.epoch, self.setup.node.clone());
        let record = Record::EpochStart { epoch, node, ts };

        for stream in Stream::BOTH {
            let last = self.appenders[stream].last();
            if self.marks.at[stream] == last {
                continue;
            }
            self.marks.at[stream] = last.next();
            let offset = self.appenders[stream].decide(record.clone(), Vec::new());
            if stream == Stream::Messages {
                self.unapplied.push_back((offset, record.clone()));
            }
        }
    }
}
