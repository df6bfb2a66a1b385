//! What the end of a batch means for its stream, and what is appended again when the log fell back.

use std::time::{Duration, Instant};

use crate::log::lane::Definite;
use crate::log::record::Tail;
use crate::shard::write::append::appender::Appender;
use crate::shard::write::append::decided::{Decided, InFlight, Sealed};
use crate::telemetry;

/// Restorations without anything new in between; a log that falls back more often is given up.
const RESTORES_MAX: u32 = 16;

/// Pause before entries that the log refuses are appended again.
const RESTORE_REST: Duration = Duration::from_millis(250);

/// What the end of a batch means for the shard.
#[derive(Debug)]
pub(in crate::shard) enum Ended {
    /// These records are committed, in order.
    Committed(Vec<Decided>),
    /// The batch, and all that was decided after it on this stream, is surely not in the log. The
    /// stream goes on at the committed tail.
    NotWritten(String),
    /// The shard must be given up. True when the batch may stand in the log nevertheless.
    Lost {
        /// One sentence for the log.
        reason: String,
        /// See above.
        doubted: bool,
    },
}

impl<W> Appender<W> {
    /// Takes in the end of the batch in flight.
    pub(in crate::shard) fn ended(&mut self, end: Definite) -> Ended {
        let Some(InFlight { sealed, .. }) = self.in_flight.take() else {
            return Ended::Committed(Vec::new());
        };
        let is_new = sealed.batch.tail.offset > self.committed.offset;

        match end {
            Definite::Committed if is_new => {
                let bytes = sealed.batch.bytes.len() as u64;
                self.committed = sealed.batch.tail;
                self.untrimmed.push_back((self.committed.offset, bytes));
                self.untrimmed_bytes += bytes;
                self.restored = 0;
                self.retained.push(sealed.batch);
                Ended::Committed(sealed.records)
            }
            // It was answered long ago.
            Definite::Committed => Ended::Committed(Vec::new()),
            Definite::NotWritten(_) if !is_new || sealed.doubted => {
                // What is acknowledged, or may be told by whoever has read it, cannot be taken
                // back.
                self.again.push_front(sealed);
                self.rests_until = Some(Instant::now() + RESTORE_REST);
                Ended::Committed(Vec::new())
            }
            Definite::NotWritten(reason) => {
                self.sealed = self.committed;
                self.pending.clear();
                self.pending_bytes = 0;
                Ended::NotWritten(reason)
            }
            Definite::Fenced { current, doubted } => {
                let doubted =
                    doubted || sealed.doubted || self.again.iter().any(|waiting| waiting.doubted);
                Ended::Lost {
                    reason: format!("another token is current: {current:?}"),
                    doubted,
                }
            }
            Definite::TailMismatch { found } => self.fell_back(sealed, found),
        }
    }

    /// The stream ends elsewhere under our own token. At an earlier tail of ours the log has lost
    /// what came after it: that is appended again, the same bytes at the same offsets, and then
    /// what was in flight. Anywhere else it is not the stream that we wrote.
    fn fell_back(&mut self, sealed: Sealed, found: Tail) -> Ended {
        let (shard, stream) = (self.shard, self.stream.as_str());
        let lost = self
            .retained
            .after(&found)
            .filter(|_| self.restored < RESTORES_MAX);
        let Some(lost) = lost else {
            let reason = format!(
                "the {stream} stream ends at {}, not where we left it",
                found.offset
            );
            return Ended::Lost {
                reason,
                doubted: true,
            };
        };
        self.restored += 1;

        let (ends_at, committed, entries) = (found.offset, self.committed.offset, lost.len());
        tracing::warn!(%shard, stream, %ends_at, %committed, entries, "the log lost acknowledged entries; appending them again");
        telemetry::APPEND_RESTORED.add(entries as u64, &[("stream", stream)]);

        // The last one of `again` is the one that is not committed yet, when it is not in flight.
        let is_new = |one: &Sealed| one.batch.tail.offset > committed;
        let uncommitted = if is_new(&sealed) {
            Some(sealed)
        } else {
            self.again.pop_back().filter(is_new)
        };

        let uncommitted = uncommitted.map(|one| Sealed {
            doubted: true,
            ..one
        });
        let lost = lost.into_iter().map(|batch| Sealed {
            batch,
            records: Vec::new(),
            doubted: false,
        });
        self.again = lost.chain(uncommitted).collect();
        Ended::Committed(Vec::new())
    }
}
