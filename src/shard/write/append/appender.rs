//! The append side of one stream: what gathers, what is away, and who waits for it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::ids::{Offset, ShardId};
use crate::log::lane::{Definite, Lane};
use crate::log::record::{ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, HEADER_BYTES, Record, Tail, seal};
use crate::log::{Batch, Stream, Token};
use crate::shard::command::Push;
use crate::shard::write::append::decided::{Decided, InFlight, Sealed};
use crate::shard::write::append::retained::Retained;
use crate::telemetry;

/// Bytes of records that may gather behind the batch in flight; a command that comes later is
/// refused.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One stream's append side. `W` waits for commits.
#[derive(Debug)]
pub(in crate::shard) struct Appender<W> {
    pub(super) shard: ShardId,
    pub(super) stream: Stream,
    token: Token,
    /// Tail after the batch in flight; what comes next follows it.
    pub(super) sealed: Tail,
    pub(super) committed: Tail,
    pub(super) pending: VecDeque<Decided>,
    pub(super) pending_bytes: usize,
    pub(super) in_flight: Option<InFlight>,
    /// Committed entries, the newest last, in case the log loses them.
    pub(super) retained: Retained,
    /// What is appended again before anything new, in order.
    pub(super) again: VecDeque<Sealed>,
    /// Restorations since anything new was committed.
    pub(super) restored: u32,
    /// Nothing is appended again before.
    pub(super) rests_until: Option<Instant>,
    waiting: VecDeque<(Offset, W)>,
    pub(super) untrimmed: VecDeque<(Offset, u64)>,
    pub(super) untrimmed_bytes: u64,
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
}
