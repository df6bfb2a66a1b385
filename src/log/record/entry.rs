//! Entries: a batch of records sealed into bytes, with its place in the stream and the chain that
//! ties it to what stands before. The layout is in the head of [`super`].

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{Epoch, Offset};
use crate::log::record::Record;

/// Most records of one entry.
pub(crate) const ENTRY_RECORDS_MAX: usize = 256;
/// Most bytes of one entry; a single record is far smaller.
pub(crate) const ENTRY_BYTES_MAX: usize = 1024 * 1024;

pub(super) const ENTRY_VERSION: u8 = 1;
pub(super) const CHAIN_AT: usize = 20;
/// Bytes of an entry before its first record.
pub(crate) const HEADER_BYTES: usize = 36;

/// Value that ties an entry to the whole history before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Chain(pub [u8; 16]);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Last offset and chain of a stream, or of a replica's progress in it. [`Tail::EMPTY`] before the
/// first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tail {
    /// Offset of the last record; 0 before the first.
    pub offset: Offset,
    /// Chain after the last entry; zero before the first.
    pub chain: Chain,
}

impl Tail {
    /// Where every stream begins.
    pub const EMPTY: Self = Self {
        offset: Offset(0),
        chain: Chain([0; 16]),
    };
}

/// Why bytes are no entry, or not the next one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// Shorter or longer than it says.
    #[error("entry is malformed: {0}")]
    Malformed(&'static str),
    /// Written by a version that this one is too old for.
    #[error("entry has version {0}; this program reads version 1: install a newer one")]
    Version(u8),
    /// Starts at another offset than the one after the tail.
    #[error("entry starts at {found}, expected {expected}")]
    Hole {
        /// The offset after the tail.
        expected: Offset,
        /// Where the entry starts.
        found: Offset,
    },
    /// Its chain does not follow from the tail's chain and its bytes: another history, or flipped
    /// bytes.
    #[error("entry at {0} does not link to the entry before")]
    Unlinked(Offset),
}

/// A batch of records, sealed: encoded, with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Epoch of the token under which it was first appended.
    pub epoch: Epoch,
    /// Offset of its first record.
    pub first: Offset,
    /// Tail of the stream after it.
    pub tail: Tail,
    /// Its records, in order.
    pub records: Vec<Record>,
}

impl Entry {
    /// Decodes `bytes` as the entry right after `before`, checking place and chain.
    ///
    /// # Errors
    /// [`EntryError`] when the bytes are no entry or do not follow `before`. A record inside that
    /// cannot be read is no error here: it comes as [`Record::Unreadable`].
    pub(crate) fn decode_after(before: &Tail, bytes: &Bytes) -> Result<Self, EntryError> {
        let header = Header::read(bytes)?;
        if header.first != before.offset.next() {
            return Err(EntryError::Hole {
                expected: before.offset.next(),
                found: header.first,
            });
        }

        if chain_of(&before.chain, bytes) != header.chain {
            return Err(EntryError::Unlinked(header.first));
        }

        let mut records = Vec::with_capacity(usize::from(header.count));
        let mut rest = bytes.slice(HEADER_BYTES..);

        for _ in 0..header.count {
            let length = rest
                .get(..4)
                .ok_or(EntryError::Malformed("cut within a record's length"))?;
            let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes) as usize;
            if rest.len() < 4 + length {
                return Err(EntryError::Malformed("cut within a record"));
            }
            let _length = rest.split_to(4);
            records.push(Record::decode(rest.split_to(length)));
        }

        if !rest.is_empty() {
            return Err(EntryError::Malformed("bytes after the last record"));
        }

        Ok(Self {
            epoch: header.epoch,
            first: header.first,
            tail: header.tail(),
            records,
        })
    }

    /// The records of an entry whose place is not to be checked; none when the bytes are no entry.
    #[must_use]
    pub(crate) fn records_of(bytes: &Bytes) -> Vec<Record> {
        let mut records = Vec::new();
        let mut rest = if Header::read(bytes).is_ok() {
            bytes.slice(HEADER_BYTES..)
        } else {
            Bytes::new()
        };

        while let Some(length) = rest
            .first_chunk::<4>()
            .map(|length| u32::from_be_bytes(*length) as usize)
        {
            if rest.len() < 4 + length {
                break;
            }
            let _length = rest.split_to(4);
            records.push(Record::decode(rest.split_to(length)));
        }

        records
    }

    /// The offset of each record beside it.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (Offset, &Record)> {
        (self.first.0..).map(Offset).zip(&self.records)
    }
}

/// Seals encoded records (see [`Record::encode`]) into the entry that follows `before`. Returns its
/// bytes and the tail after it. `records` must not be empty and keep to [`ENTRY_RECORDS_MAX`]; what
/// is over the limit is a bug of the caller and would not decode.
#[must_use]
pub(crate) fn seal(before: &Tail, epoch: Epoch, records: &[Bytes]) -> (Bytes, Tail) {
    debug_assert!((1..=ENTRY_RECORDS_MAX).contains(&records.len()));

    let body: usize = records.iter().map(|record| 4 + record.len()).sum();
    let first = before.offset.next();
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + body);
    bytes.put_u8(ENTRY_VERSION);
    bytes.put_u8(0);
    bytes.put_u16(u16::try_from(records.len()).unwrap_or(u16::MAX));
    bytes.put_u64(epoch.0);
    bytes.put_u64(first.0);
    bytes.put_bytes(0, 16);
    for record in records {
        bytes.put_u32(u32::try_from(record.len()).unwrap_or(u32::MAX));
        bytes.put_slice(record);
    }

    let chain = chain_of(&before.chain, &bytes);
    if let Some(field) = bytes.get_mut(CHAIN_AT..HEADER_BYTES) {
        field.copy_from_slice(&chain.0);
    }

    let offset = Offset(before.offset.0 + records.len() as u64);
    (bytes.freeze(), Tail { offset, chain })
}

/// What an entry says of itself, unchecked: its place and chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// How many records.
    pub count: u16,
    /// Epoch of the token under which it was first appended.
    pub epoch: Epoch,
    /// Offset of the first record.
    pub first: Offset,
    /// Chain after it.
    pub chain: Chain,
}

impl Header {
    /// Reads the header of an entry.
    ///
    /// # Errors
    /// [`EntryError::Malformed`] or [`EntryError::Version`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        let header = bytes
            .get(..HEADER_BYTES)
            .ok_or(EntryError::Malformed("shorter than its header"))?;
        let &[
            version,
            _,
            c0,
            c1,
            e0,
            e1,
            e2,
            e3,
            e4,
            e5,
            e6,
            e7,
            f0,
            f1,
            f2,
            f3,
            f4,
            f5,
            f6,
            f7,
            ref chain @ ..,
        ] = header
        else {
            return Err(EntryError::Malformed("shorter than its header"));
        };

        if version != ENTRY_VERSION {
            return Err(EntryError::Version(version));
        }

        let count = u16::from_be_bytes([c0, c1]);
        if count == 0 || usize::from(count) > ENTRY_RECORDS_MAX {
            return Err(EntryError::Malformed("a count of records out of range"));
        }

        Ok(Self {
            count,
            epoch: Epoch(u64::from_be_bytes([e0, e1, e2, e3, e4, e5, e6, e7])),
            first: Offset(u64::from_be_bytes([f0, f1, f2, f3, f4, f5, f6, f7])),
            chain: Chain(<[u8; 16]>::try_from(chain).unwrap_or_default()),
        })
    }

    /// The tail of the stream after this entry.
    #[must_use]
    pub(crate) fn tail(&self) -> Tail {
        Tail {
            offset: Offset(self.first.0.saturating_add(u64::from(self.count) - 1)),
            chain: self.chain,
        }
    }
}

pub(super) fn chain_of(before: &Chain, entry: &[u8]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(before.0);
    hash.update(entry.get(..CHAIN_AT).unwrap_or_default());
    hash.update(entry.get(HEADER_BYTES..).unwrap_or_default());
    let digest: [u8; 32] = hash.finalize().into();
    let mut chain = Chain::default();
    chain
        .0
        .copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
    chain
}
