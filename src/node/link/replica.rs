//! The part of the peer contract that replicas of a shard speak among themselves, whichever of them
//! owns it. Since version 2.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, UserId};
use crate::log::record::Tail;
use crate::log::{PerStream, RawEntry, Stream};
use crate::shard::file::snapshot::Snapshot;
use crate::shard::replicas::{ReplicaDigest, ReplicaStatus};

/// Bytes of raw entries in one answer, about.
pub(crate) const ENTRIES_BYTES_MAX: usize = 4 << 20;

/// Bytes of a snapshot in one answer.
pub(crate) const PIECE_BYTES_MAX: usize = 512 << 10;

/// What is asked of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaAsk {
    /// How it stands.
    Standing,
    /// Raw entries of its file after a tail. None when it does not follow, or has another history
    /// there.
    EntriesAfter { stream: Stream, after: Tail },
    /// Whether its file holds the stream up to exactly this tail; waits until it does, at most
    /// until the deadline. No owner says so of itself.
    Holds { stream: Stream, tail: Tail },
    /// The digest of its file.
    Digest,
    /// Write a snapshot for the asking node, or go on writing it; to be asked again until it is
    /// written.
    SnapshotBegin,
    /// Some bytes of a snapshot. Asked for where it ends, it is done with.
    SnapshotRead {
        /// Which snapshot, as told.
        id: u64,
        /// From which byte on.
        from: u64,
    },
    /// Write a copy for a backup, or go on writing it; to be asked again until it is written. It
    /// has everything that was committed when it was begun. Since version 6.
    BackupBegin {
        /// Names the backup, whose copies are nobody else's.
        run: u64,
        /// Where the copy stands that the backup has already; none is written when it is as good.
        known: Option<PerStream<Tail>>,
    },
    /// Some bytes of such a copy. Asked for where it ends, it is done with. Since version 6.
    BackupRead {
        /// Names the backup.
        run: u64,
        /// Which copy, as told.
        id: u64,
        /// From which byte on.
        from: u64,
    },
    /// Take in when users of the shard were seen last, in unix milliseconds: whoever owns it, or
    /// has owned it until now, tells the others. Since version 7.
    Seen(Vec<(UserId, u64)>),
}

impl ReplicaAsk {
    /// The lowest version of the contract that knows this question.
    #[must_use]
    pub fn since(&self) -> u16 {
        match self {
            Self::Seen(_) => 7,
            Self::BackupBegin { .. } | Self::BackupRead { .. } => 6,
            _ => 2,
        }
    }
}

/// What a replica answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaAnswer {
    /// The answer to [`ReplicaAsk::Standing`].
    Standing(ReplicaStatus),
    /// The answer to [`ReplicaAsk::EntriesAfter`], in order.
    Entries(Vec<PackedEntry>),
    /// The answer to [`ReplicaAsk::Holds`].
    Holds(bool),
    /// The answer to [`ReplicaAsk::Digest`].
    Digest(ReplicaDigest),
    /// The answer to [`ReplicaAsk::SnapshotBegin`] and [`ReplicaAsk::BackupBegin`]: it is being
    /// written.
    Preparing,
    /// Likewise: it is written.
    Ready {
        /// Names it.
        id: u64,
        /// What it is.
        said: Snapshot,
    },
    /// The answer to [`ReplicaAsk::BackupBegin`]: the copy that is there has all of it. Since
    /// version 6.
    Unchanged,
    /// The answer to [`ReplicaAsk::SnapshotRead`] and [`ReplicaAsk::BackupRead`]; none at its end.
    Piece(#[serde(with = "serde_bytes")] Vec<u8>),
    /// There is no such snapshot, or not any more; when one was to begin: it gives none, for it
    /// does not own the shard.
    Gone,
    /// The answer to [`ReplicaAsk::Seen`].
    Taken,
    /// It cannot now. One sentence.
    Failed(String),
}

/// A raw entry on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedEntry {
    /// Offset of its last record.
    pub last: Offset,
    /// The entry.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl From<RawEntry> for PackedEntry {
    fn from(entry: RawEntry) -> Self {
        Self {
            last: entry.last,
            bytes: entry.bytes.into(),
        }
    }
}

impl From<PackedEntry> for RawEntry {
    fn from(entry: PackedEntry) -> Self {
        Self {
            last: entry.last,
            bytes: Bytes::from(entry.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::link::codec::{FRAME_BYTES_MAX, decode, encode};
    use crate::node::link::frame::{Answer, Body, Frame, Outcome, Request};

    /// A request of version 2, as it was sent first. Never change it: older nodes send it.
    const REQUEST_V2: &str = "81a75265717565737484a2696407ab646561646c696e655f6d73cd012cad7461626c655f76657273696f6e03a4\
                              626f647981a75265706c69636182a573686172640ca361736b81a5486f6c647382a673747265616da852656365\
                              69707473a47461696c82a66f666673657405a5636861696edc001000000000000000000000000000000000";

    #[test]
    fn raw_bytes_travel_as_they_are() {
        let entry = |last, byte| PackedEntry {
            last: Offset(last),
            bytes: vec![byte; 1 << 20],
        };
        let sent = vec![entry(1, 0xff), entry(2, 0), entry(3, 0x80), entry(4, 1)];
        let answer = ReplicaAnswer::Entries(sent.clone());
        let frame = Frame::<()>::Answer(Answer {
            id: 1,
            table_version: 2,
            table_age_ms: None,
            result: Ok(Outcome::Replica(answer)),
            moved: Vec::new(),
        });
        let bytes = encode(&frame).expect("it fits");

        assert!(
            bytes.len() < 4 * (1 << 20) + 1024,
            "not as a list of numbers: {}",
            bytes.len()
        );

        let read: Frame = decode(&bytes).expect("it is read");
        let Frame::Answer(Answer {
            result: Ok(Outcome::Replica(ReplicaAnswer::Entries(read))),
            ..
        }) = read
        else {
            panic!("{read:?}")
        };
        assert_eq!(read, sent);

        let most = ENTRIES_BYTES_MAX + crate::log::record::ENTRY_BYTES_MAX;
        assert!(
            most * 2 < FRAME_BYTES_MAX && PIECE_BYTES_MAX * 2 < FRAME_BYTES_MAX,
            "an answer always fits"
        );
    }

    #[test]
    fn a_request_of_the_second_version_is_read_and_written_as_ever() {
        let ask = ReplicaAsk::Holds {
            stream: Stream::Receipts,
            tail: Tail {
                offset: Offset(5),
                ..Tail::EMPTY
            },
        };

        let body = Body::Replica {
            shard: ShardId(12),
            ask,
        };
        let frame = Frame::Request(Request {
            id: 7,
            deadline_ms: 300,
            table_version: 3,
            table_age_ms: None,
            body,
        });
        let bytes = encode(&frame).expect("it is written");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, REQUEST_V2);

        let read: Frame = decode(&bytes).expect("it is read");
        let Frame::Request(Request {
            body:
                Body::Replica {
                    shard: ShardId(12),
                    ask: read_back,
                },
            ..
        }) = read
        else {
            panic!("{read:?}")
        };

        assert!(
            matches!(read_back, ReplicaAsk::Holds { stream: Stream::Receipts, tail } if tail.offset == Offset(5))
        );
    }
}
