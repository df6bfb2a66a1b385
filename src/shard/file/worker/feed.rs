//! From the log to the file, one transaction's worth at a time; and the catching up that comes
//! before a shard opens.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use crate::ids::{Offset, ShardId};
use crate::log::record::{Entry, EntryError, Tail};
use crate::log::{LogError, PerStream, ShardLog, Stream};
use crate::shard::error::OpenError;
use crate::shard::file::store::{ApplyEntry, Store, StoreError};
use crate::shard::file::worker::setup::Config;
use crate::shard::replicas::Following;
use crate::telemetry::{APPLY_RECORDS, APPLY_SECONDS};

/// Bytes of one read from the log, and about of one apply transaction.
const PAGE_BYTES: usize = 1024 * 1024;

/// Why a round of a worker came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// Tried again.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Tried again; but a shard is not opened without it.
    #[error("log has nothing after {after} though {committed} is committed")]
    Missing { after: Offset, committed: Offset },
    /// The log ends in another way than was said. On an owner, who said it, for good; on a standby
    /// a moment between the two looks.
    #[error("log does not end at {0} as it was said to")]
    Otherwise(Offset),
    /// For good.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl RoundError {
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Log(_) | Self::Missing { .. } | Self::Otherwise(_) | Self::Entry(_) => "log",
            Self::Store(_) => "sqlite",
        }
    }

    /// What it says of the file, when trying again will not help.
    pub(super) fn ends(&self) -> Option<Following> {
        match self {
            // An entry of a newer version is for a newer program to read.
            Self::Log(_) | Self::Missing { .. } | Self::Entry(EntryError::Version(_)) => None,
            Self::Entry(EntryError::Hole { expected, found }) if found > expected => {
                Some(Following::Behind)
            }
            Self::Otherwise(_) | Self::Entry(_) => Some(Following::Diverged(self.to_string())),
            Self::Store(error) => error
                .is_damage()
                .then(|| Following::Damaged(error.to_string())),
        }
    }
}

/// Reads a stream and applies it, from the file's applied tail on.
pub(super) struct Feed<'a> {
    pub(super) shard: ShardId,
    pub(super) stream: Stream,
    pub(super) log: &'a dyn ShardLog,
    pub(super) store: &'a Store,
    pub(super) config: &'a Config,
}

impl Feed<'_> {
    /// Applies one transaction's worth of entries after `from`, not past `upto`. Returns the tail
    /// and the entries.
    pub(super) async fn round(
        &self,
        from: Tail,
        upto: Tail,
    ) -> Result<(Tail, Arc<[ApplyEntry]>), RoundError> {
        let entries: Arc<[ApplyEntry]> = self.gather(from, upto).await?.into();
        let records: usize = entries.iter().map(|entry| entry.entry.records.len()).sum();
        let Some(last) = entries.last() else {
            return Err(RoundError::Missing {
                after: from.offset,
                committed: upto.offset,
            });
        };
        let tail = last.entry.tail;
        if tail.offset == upto.offset && tail.chain != upto.chain {
            return Err(RoundError::Otherwise(tail.offset));
        }

        let began = Instant::now();
        self.store.apply(self.stream, Arc::clone(&entries)).await?;

        let label = [("stream", self.stream.as_str())];
        APPLY_SECONDS.record(began.elapsed().as_secs_f64(), &label);
        APPLY_RECORDS.record(u32::try_from(records).map_or(f64::MAX, f64::from), &label);
        Ok((tail, entries))
    }

    async fn gather(&self, from: Tail, upto: Tail) -> Result<Vec<ApplyEntry>, RoundError> {
        let began = Instant::now();
        let (mut at, mut records, mut bytes, mut gathered) = (from, 0, 0, Vec::new());

        while at.offset < upto.offset
            && bytes < PAGE_BYTES
            && began.elapsed() < self.config.gather_max
            || gathered.is_empty()
        {
            let page = self
                .log
                .read(self.shard, self.stream, at.offset, PAGE_BYTES)
                .await?;
            let mut grew = false;
            for raw in page.into_iter().filter(|raw| raw.last <= upto.offset) {
                let entry = Entry::decode_after(&at, &raw.bytes)?;
                let more = records + entry.records.len();
                if !gathered.is_empty() && more > self.config.records_max {
                    return Ok(gathered);
                }
                (at, records, grew) = (entry.tail, more, true);
                bytes += raw.bytes.len();
                gathered.push(ApplyEntry {
                    entry,
                    bytes: raw.bytes,
                });
            }
            if !grew || records >= self.config.records_max {
                break;
            }
        }

        Ok(gathered)
    }
}

/// Reads both streams from the store's applied tails to the given tails and applies them: what must
/// be done before a shard opens.
///
/// # Errors
/// One clear sentence. Failed: the log or the file does not answer. Behind: the log was trimmed
/// beyond what the file has. Diverged: it does not link to it. Damaged: SQLite says so of the file.
/// Refused: it ends before what the file has, or cannot be read.
pub(crate) async fn catch_up(
    shard: ShardId,
    log: &dyn ShardLog,
    store: &Store,
    tails: PerStream<Tail>,
    config: &Config,
) -> Result<(), OpenError> {
    for (stream, upto) in tails {
        let feed = Feed {
            shard,
            stream,
            log,
            store,
            config,
        };
        let mut at = store.progress().applied[stream];
        let name = stream.as_str();
        if at.offset > upto.offset {
            return Err(OpenError::Refused(format!(
                "shard {shard}: its file holds {name} up to {}, but the log ends at {}: the log was lost or replaced; \
                 restore the log that belongs to this file, or write it again from the file with `rookery node --adopt-local`",
                at.offset, upto.offset
            )));
        }
        if at.offset == upto.offset && at.chain != upto.chain {
            return Err(unlinked(shard, name, at.offset));
        }
        while at.offset < upto.offset {
            let from = at.offset;
            (at, _) = feed.round(at, upto).await.map_err(|error| match error {
                RoundError::Entry(EntryError::Hole { found, .. }) if found > from.next() => OpenError::Behind(format!(
                    "shard {shard}: the log of {name} begins at {found}, its file ends at {from}: what lies between was \
                     trimmed; restore the file that belongs to this log, or copy it from another node"
                )),
                RoundError::Entry(EntryError::Unlinked(_) | EntryError::Hole { .. }) | RoundError::Otherwise(_) => {
                    unlinked(shard, name, from)
                }
                RoundError::Store(error) if error.is_damage() => {
                    OpenError::Damaged(unapplied(shard, name, from, &error))
                }
                error @ (RoundError::Entry(_) | RoundError::Missing { .. }) => {
                    OpenError::Refused(unapplied(shard, name, from, &error))
                }
                error @ (RoundError::Log(_) | RoundError::Store(_)) => OpenError::Failed(unapplied(shard, name, from, &error)),
            })?;
        }
    }
    Ok(())
}

fn unapplied(shard: ShardId, stream: &str, from: Offset, error: &dyn Display) -> String {
    format!("shard {shard}: {stream} after {from} cannot be applied: {error}")
}

pub(in crate::shard) fn unlinked(shard: ShardId, stream: &str, at: Offset) -> OpenError {
    OpenError::Diverged(format!(
        "shard {shard}: the log of {stream} does not link to its file at {at}: they hold different histories; restore \
         the file that belongs to this log"
    ))
}
