//! The append side of one stream of a shard: records get their offsets here, in the order of their
//! decisions; they gather while a batch is away, are sealed into the next entry, and are committed
//! in order. Pure but for the lane.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{Offset, ShardId};
use crate::log::lane::{Definite, Lane};
use crate::log::record::{ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, HEADER_BYTES, Record, Tail, seal};
use crate::log::{Batch, Stream, Token};
use crate::shard::command::Push;
use crate::telemetry;

#[cfg(test)]
mod tests;

/// Bytes of records that may gather behind the batch in flight; a command that comes later is
/// refused.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long committed entries are kept in memory, and how many bytes of a stream, in case the log
/// loses them: Redis replicates and syncs within about a second. What is older stays in the raw
/// entries of the file, of which an operator can make use.
const RETAINED_FOR: Duration = Duration::from_secs(10);
const RETAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Restorations without anything new in between; a log that falls back more often is given up.
const RESTORES_MAX: u32 = 16;

/// Pause before entries that the log refuses are appended again.
const RESTORE_REST: Duration = Duration::from_millis(250);

/// A decided record on its way into the log.
#[derive(Debug)]
pub(in crate::shard) struct Decided {
    /// Its offset.
    pub(in crate::shard) offset: Offset,
    /// The record.
    pub(in crate::shard) record: Record,
    /// What is pushed once it is committed, beside what follows from the record itself.
    pub(in crate::shard) pushes: Vec<Push>,
    encoded: Bytes,
}

/// A sealed entry with its records; those of one that was committed before are gone.
#[derive(Debug)]
struct Sealed {
    batch: Batch,
    records: Vec<Decided>,
    /// Not committed, but sent before the log fell back: somebody may have read it there, whatever
    /// the log says now.
    doubted: bool,
}

#[derive(Debug)]
struct InFlight {
    end: oneshot::Receiver<Definite>,
    sealed: Sealed,
}

/// One stream's append side. `W` waits for commits.
#[derive(Debug)]
pub(in crate::shard) struct Appender<W> {
    shard: ShardId,
    stream: Stream,
    token: Token,
    /// Tail after the batch in flight; what comes next follows it.
    sealed: Tail,
    committed: Tail,
    pending: VecDeque<Decided>,
    pending_bytes: usize,
    in_flight: Option<InFlight>,
    /// Committed entries, the newest last, in case the log loses them.
    retained: Retained,
    /// What is appended again before anything new, in order.
    again: VecDeque<Sealed>,
    /// Restorations since anything new was committed.
    restored: u32,
    /// Nothing is appended again before.
    rests_until: Option<Instant>,
    waiting: VecDeque<(Offset, W)>,
    untrimmed: VecDeque<(Offset, u64)>,
    untrimmed_bytes: u64,
}

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
    /// Starts at the stream's tail.
    #[must_use]
    pub(in crate::shard) fn new(shard: ShardId, stream: Stream, token: Token, tail: Tail) -> Self {
        Self {
            shard,
            stream,
            token,
            sealed: tail,
            committed: tail,
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: None,
            retained: Retained::default(),
            again: VecDeque::new(),
            restored: 0,
            rests_until: None,
            waiting: VecDeque::new(),
            untrimmed: VecDeque::new(),
            untrimmed_bytes: 0,
        }
    }

    /// The committed tail.
    #[must_use]
    pub(in crate::shard) fn committed(&self) -> Tail {
        self.committed
    }

    /// Offset of the last decided record.
    #[must_use]
    pub(in crate::shard) fn last(&self) -> Offset {
        Offset(self.sealed.offset.0 + self.pending.len() as u64)
    }

    /// Nothing gathers and nothing is in flight.
    #[must_use]
    pub(in crate::shard) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none() && self.again.is_empty()
    }

    /// A batch is in flight.
    #[must_use]
    pub(in crate::shard) fn is_away(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Too much gathers to take more.
    #[must_use]
    pub(in crate::shard) fn is_full(&self) -> bool {
        self.pending_bytes >= PENDING_BYTES_MAX
    }

    /// Bytes appended here and not trimmed yet.
    #[must_use]
    pub(in crate::shard) fn untrimmed_bytes(&self) -> u64 {
        self.untrimmed_bytes
    }

    /// The log was trimmed up to there.
    pub(in crate::shard) fn trimmed(&mut self, upto: Offset) {
        while let Some((offset, bytes)) = self.untrimmed.front().copied() {
            if offset > upto {
                break;
            }
            self.untrimmed.pop_front();
            self.untrimmed_bytes -= bytes;
        }
    }

    /// Gives a record the next offset and puts it in the batch being built.
    pub(in crate::shard) fn decide(&mut self, record: Record, pushes: Vec<Push>) -> Offset {
        let encoded = record.encode();
        self.pending_bytes += encoded.len();
        let offset = self.last().next();
        self.pending.push_back(Decided {
            offset,
            record,
            pushes,
            encoded,
        });
        offset
    }

    /// `waiter` is given back by [`Appender::ready`] when `offset` is committed.
    pub(in crate::shard) fn wait(&mut self, offset: Offset, waiter: W) {
        let place = self
            .waiting
            .partition_point(|(earlier, _)| *earlier <= offset);
        self.waiting.insert(place, (offset, waiter));
    }

    /// The next waiter whose offset is committed.
    pub(in crate::shard) fn ready(&mut self) -> Option<W> {
        if self.waiting.front()?.0 > self.committed.offset {
            return None;
        }
        self.waiting.pop_front().map(|(_, waiter)| waiter)
    }

    /// Forgets what the log will not lose any more. To be called now and then.
    pub(in crate::shard) fn expire_retained(&mut self) {
        // What is away may yet be told that something before it is lost.
        if self.is_idle() {
            self.retained.expire(Instant::now());
        }
    }

    /// Drops waiters, those for whom no one waits any more.
    pub(in crate::shard) fn retain_waiting(&mut self, keep: impl Fn(&W) -> bool) {
        self.waiting.retain(|(_, waiter)| keep(waiter));
    }

    /// How many wait.
    #[must_use]
    pub(in crate::shard) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Every waiter, committed or not: the shard ends, or its decisions are void.
    pub(in crate::shard) fn take_waiting(&mut self) -> impl Iterator<Item = (Offset, W)> + use<W> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// Seals what gathered, if nothing is in flight, and hands it to the lane.
    pub(in crate::shard) fn pump(&mut self, lane: &Lane) {
        if self.in_flight.is_some() || self.rests_until.is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        self.rests_until = None;
        if let Some(sealed) = self.again.pop_front() {
            return self.send(sealed, lane);
        }
        if self.pending.is_empty() {
            return;
        }
        let mut bytes = HEADER_BYTES;
        let mut count = 0;
        for decided in self.pending.iter().take(ENTRY_RECORDS_MAX) {
            bytes += decided.encoded.len() + 4;
            if count > 0 && bytes > ENTRY_BYTES_MAX {
                break;
            }
            count += 1;
        }
        let records: Vec<Decided> = self.pending.drain(..count).collect();
        let encoded: Vec<Bytes> = records
            .iter()
            .map(|decided| decided.encoded.clone())
            .collect();
        self.pending_bytes -= encoded.iter().map(Bytes::len).sum::<usize>();
        let (entry, tail) = seal(&self.sealed, self.token.epoch, &encoded);
        let batch = Batch {
            shard: self.shard,
            stream: self.stream,
            token: self.token,
            expected: self.sealed,
            tail,
            bytes: entry,
        };
        telemetry::APPEND_RECORDS.record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)), &[]);
        self.sealed = tail;
        self.send(
            Sealed {
                batch,
                records,
                doubted: false,
            },
            lane,
        );
    }

    fn send(&mut self, sealed: Sealed, lane: &Lane) {
        self.in_flight = Some(InFlight {
            end: lane.append(sealed.batch.clone()),
            sealed,
        });
    }

    /// Waits for the end of the batch in flight; for ever when there is none. Cancel-safe.
    pub(in crate::shard) async fn end(&mut self) -> Definite {
        match &mut self.in_flight {
            Some(in_flight) => (&mut in_flight.end).await.unwrap_or(Definite::Fenced {
                current: self.token,
                // The lane is gone with the batch: no one knows.
                doubted: true,
            }),
            None => std::future::pending().await,
        }
    }

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

/// The newest committed entries of a stream, as they were appended.
#[derive(Debug, Default)]
struct Retained {
    batches: VecDeque<(Instant, Batch)>,
    bytes: usize,
}

impl Retained {
    fn push(&mut self, batch: Batch) {
        let now = Instant::now();
        self.bytes += batch.bytes.len();
        self.batches.push_back((now, batch));
        self.expire(now);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, oldest)) = self.batches.front() {
            if now.duration_since(*since) < RETAINED_FOR && self.bytes <= RETAINED_BYTES_MAX {
                return;
            }
            self.bytes -= oldest.bytes.len();
            self.batches.pop_front();
        }
    }

    /// Everything that followed a tail of ours, if it is kept.
    fn after(&self, tail: &Tail) -> Option<Vec<Batch>> {
        let from = self
            .batches
            .iter()
            .position(|(_, batch)| batch.expected == *tail)?;
        Some(
            self.batches
                .iter()
                .skip(from)
                .map(|(_, batch)| batch.clone())
                .collect(),
        )
    }
}
