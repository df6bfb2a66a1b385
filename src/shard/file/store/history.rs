//! The file's own past, as far as its raw entries tell: what a log that fell back, or another
//! replica, is compared with.

use crate::ids::Offset;
use crate::log::record::{Entry, Header, Tail};
use crate::log::{RawEntry, Stream};
use crate::shard::file::store::{Store, StoreError};

/// How a tail stands to what is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// The file stood there once, or stands there now.
    Ours,
    /// The file has another history at that place.
    Another,
    /// The file was never so far.
    Beyond,
    /// Before the oldest raw entry that is kept: nobody can say.
    Unknown,
}

impl Store {
    /// How a tail of a stream stands to the file.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn past(&self, stream: Stream, tail: Tail) -> Result<Past, StoreError> {
        let applied = self.progress().applied[stream];
        if tail.offset > applied.offset {
            return Ok(Past::Beyond);
        }

        if tail == applied || tail == Tail::EMPTY {
            return Ok(Past::Ours);
        }

        if tail.offset == applied.offset || tail.offset == Tail::EMPTY.offset {
            return Ok(Past::Another);
        }

        // The entry that ends there or, when that is not kept any more, the next one, which must
        // link to it.
        let kept = self
            .kept_entries(stream, Offset(tail.offset.0 - 1), 1)
            .await?;
        let Some(entry) = kept.first() else {
            return Ok(Past::Unknown);
        };

        let Ok(header) = Header::read(&entry.bytes) else {
            return Ok(Past::Another);
        };
        let ours = if header.first > tail.offset {
            if header.first != tail.offset.next() {
                return Ok(Past::Unknown);
            }
            Entry::decode_after(&tail, &entry.bytes).is_ok()
        } else {
            header.tail() == tail
        };
        Ok(if ours { Past::Ours } else { Past::Another })
    }

    /// Raw entries that follow `after` in the file, in order, about `bytes_max` of them; none when
    /// there are none, or when the file has another history there.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn entries_after(
        &self,
        stream: Stream,
        after: Tail,
        bytes_max: usize,
    ) -> Result<Vec<RawEntry>, StoreError> {
        let kept = self.kept_entries(stream, after.offset, bytes_max).await?;
        let links = kept
            .first()
            .is_some_and(|first| Entry::decode_after(&after, &first.bytes).is_ok());
        let raw = kept.into_iter().map(|entry| RawEntry {
            last: entry.last,
            bytes: entry.bytes,
        });
        Ok(if links { raw.collect() } else { Vec::new() })
    }
}
