//! DURABLE CONTRACT. How a record of a segment stands in the file: what one cycle wrote, sealed so
//! that a record that was cut off is told from a whole one. ADR 10 has the picture; all numbers are
//! big-endian. Pure: no file is touched here.

use bytes::{Buf, BufMut, Bytes};
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use uuid::Uuid;

use super::cycle::{Cell, Effects, NewEntry, State, TrimStep};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Tail};
use crate::log::{Control, Identity, PerStream, Token};

/// Begins every record of every version; the version of the layout follows.
pub(super) const MAGIC_OF_ALL: &[u8] = b"RKL";
/// The version of the layout.
pub(super) const VERSION: u8 = b'1';
/// Begins every record of this version.
pub(super) const MAGIC: [u8; 4] = *b"RKL1";
/// Records begin at multiples of this many bytes.
pub(super) const ALIGNMENT: usize = 8;
/// Bytes of a record before its first item.
pub(super) const HEADER_BYTES: usize = 48;

/// Where the header has the length of the items, and where its checksum ends.
const LENGTH_AT: usize = 4;
const CHECKSUM_AT: usize = 8;
const COVERED_AT: usize = 12;

const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

const ENTRY: u8 = 1;
const TRIM: u8 = 2;
const CONTROL: u8 = 3;
const CELL: u8 = 4;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first of its segment: all control records and all cells.
    Opening,
    /// What one cycle wrote.
    Cycle,
}

/// What stands before the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Number of the segment.
    pub(super) segment: u64,
    /// Random for each segment.
    pub(super) salt: u64,
    /// Number of the record in the whole log.
    pub(super) sequence: u64,
    /// The first segment that is still needed.
    pub(super) oldest: u64,
}

/// A record in the making: items first, the header when its place is known.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    entries: Vec<Placed>,
}

/// Where an entry stands, from the first byte of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) stream: u32,
    pub(super) last: Offset,
    pub(super) at: usize,
    pub(super) length: usize,
}

impl Draft {
    /// A record without items.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            entries: Vec::new(),
        }
    }

    /// All control records and cells, for the beginning of a segment.
    pub(super) fn opening(state: &State) -> Self {
        let mut draft = Self::new();
        state
            .controls
            .iter()
            .for_each(|(shard, control)| draft.add_control(*shard, control));
        state
            .cells
            .iter()
            .for_each(|(name, cell)| draft.add_cell(name, cell));
        draft
    }

    /// Adds what a cycle decided.
    pub(super) fn add(&mut self, effects: &Effects) {
        effects
            .entries
            .iter()
            .for_each(|entry| self.add_entry(entry));
        for step in &effects.trims {
            self.bytes.put_u8(TRIM);
            self.bytes.put_u32(step.stream);
            self.bytes.put_u64(step.upto.0);
        }

        effects
            .controls
            .iter()
            .for_each(|(shard, control)| self.add_control(*shard, control));
        effects
            .cells
            .iter()
            .for_each(|(name, cell)| self.add_cell(name, cell));
    }

    /// Adds an entry.
    pub(super) fn add_entry(&mut self, entry: &NewEntry) {
        self.bytes.put_u8(ENTRY);
        self.bytes.put_u32(entry.stream);
        self.bytes.put_u64(entry.last.0);
        self.bytes.put_u32(length_of(&entry.bytes));
        let placed = Placed {
            stream: entry.stream,
            last: entry.last,
            at: self.bytes.len(),
            length: entry.bytes.len(),
        };
        self.bytes.put_slice(&entry.bytes);
        self.entries.push(placed);
    }

    fn add_control(&mut self, shard: ShardId, control: &Control) {
        self.bytes.put_u8(CONTROL);
        self.bytes.put_u16(shard.0);
        self.bytes.put_slice(control.identity.cluster.0.as_bytes());
        self.bytes.put_u32(control.identity.shards);
        self.bytes.put_u64(control.token.epoch.0);
        self.bytes.put_u64(control.token.nonce);
        self.bytes.put_u64(control.beat);
        for (_, tail) in control.tails {
            self.bytes.put_u64(tail.offset.0);
            self.bytes.put_slice(&tail.chain.0);
        }
        self.add_text(&control.owner.to_string());
    }

    fn add_cell(&mut self, name: &str, cell: &Cell) {
        self.bytes.put_u8(CELL);
        self.add_text(name);
        self.bytes.put_u64(cell.version);
        self.bytes.put_u32(length_of(&cell.body));
        self.bytes.put_slice(&cell.body);
    }

    fn add_text(&mut self, text: &str) {
        self.bytes.put_u32(length_of(text.as_bytes()));
        self.bytes.put_slice(text.as_bytes());
    }

    /// Bytes of the record as it will stand in the file.
    pub(super) fn length(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGNMENT)
    }

    /// Completes it. Returns its bytes, and where the entries stand in them.
    pub(super) fn seal(mut self, header: &Header) -> (Vec<u8>, Vec<Placed>) {
        let items = self.bytes.len() - HEADER_BYTES;
        self.bytes.resize(self.length(), 0);

        let mut head = Vec::with_capacity(HEADER_BYTES);
        head.put_slice(&MAGIC);
        head.put_u32(u32::try_from(items).unwrap_or(u32::MAX));
        head.put_u32(0);
        head.put_u32(match header.kind {
            Kind::Opening => 1,
            Kind::Cycle => 2,
        });
        for number in [header.segment, header.salt, header.sequence, header.oldest] {
            head.put_u64(number);
        }
        put_at(&mut self.bytes, 0, &head);

        let checksum = checksum(&self.bytes).unwrap_or_default();
        put_at(&mut self.bytes, CHECKSUM_AT, &checksum.to_be_bytes());
        (self.bytes, self.entries)
    }
}

fn put_at(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

/// Requests are far smaller: a cycle is at most some mebibytes.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The checksum of a record that is as long as it says; it covers all but the magic and itself.
fn checksum(record: &[u8]) -> Option<u32> {
    let mut digest = CHECKSUM.digest();
    digest.update(record.get(LENGTH_AT..CHECKSUM_AT)?);
    digest.update(record.get(COVERED_AT..)?);
    Some(digest.finalize())
}

/// A whole record as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'b> {
    pub(super) header: Header,
    /// All of it.
    pub(super) bytes: &'b [u8],
    items: usize,
}

/// Returns the record that `bytes` begin with, or `None` where there is no whole one.
pub(super) fn find(bytes: &[u8]) -> Option<Found<'_>> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    let items = rest.try_get_u32().ok()? as usize;
    let expected = rest.try_get_u32().ok()?;
    let kind = match rest.try_get_u32().ok()? {
        1 => Kind::Opening,
        2 => Kind::Cycle,
        _ => return None,
    };
    let mut number = || rest.try_get_u64().ok();
    let (segment, salt, sequence, oldest) = (number()?, number()?, number()?, number()?);

    let bytes = bytes.get(..(HEADER_BYTES + items).next_multiple_of(ALIGNMENT))?;
    let header = Header {
        kind,
        segment,
        salt,
        sequence,
        oldest,
    };
    (checksum(bytes)? == expected).then_some(Found {
        header,
        bytes,
        items,
    })
}

/// One item of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Entry(Placed),
    Trim(TrimStep),
    Control(ShardId, Control),
    Cell(String, Cell),
}

impl Found<'_> {
    /// Returns its items in order; `None` where they are not what this version writes.
    pub(super) fn items(&self) -> Option<Vec<Item>> {
        let end = HEADER_BYTES + self.items;
        let mut rest = self.bytes.get(HEADER_BYTES..end)?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(item(&mut rest, end)?);
        }
        Some(items)
    }
}

/// Takes the next item off `rest`, which ends at `end` bytes of its record.
fn item(rest: &mut &[u8], end: usize) -> Option<Item> {
    match rest.try_get_u8().ok()? {
        ENTRY => {
            let (stream, last, length) =
                (u32_of(rest)?, Offset(u64_of(rest)?), u32_of(rest)? as usize);
            let placed = Placed {
                stream,
                last,
                at: end - rest.len(),
                length,
            };
            taken(rest, length)?;
            Some(Item::Entry(placed))
        }
        TRIM => Some(Item::Trim(TrimStep {
            stream: u32_of(rest)?,
            upto: Offset(u64_of(rest)?),
        })),
        CONTROL => {
            let shard = ShardId(rest.try_get_u16().ok()?);
            Some(Item::Control(shard, control(rest)?))
        }
        CELL => {
            let (name, version, length) = (text(rest)?, u64_of(rest)?, u32_of(rest)? as usize);
            let body = Bytes::copy_from_slice(taken(rest, length)?);
            Some(Item::Cell(name, Cell { version, body }))
        }
        _ => None,
    }
}

fn control(rest: &mut &[u8]) -> Option<Control> {
    let cluster = ClusterId(Uuid::from_bytes(array(rest)?));
    let identity = Identity {
        cluster,
        shards: u32_of(rest)?,
    };

    let token = Token {
        epoch: Epoch(u64_of(rest)?),
        nonce: u64_of(rest)?,
    };

    let beat = u64_of(rest)?;
    let tails = PerStream {
        messages: tail(rest)?,
        receipts: tail(rest)?,
    };

    let owner = NodeId::from(text(rest)?.as_str());
    Some(Control {
        identity,
        token,
        owner,
        beat,
        tails,
    })
}

fn tail(rest: &mut &[u8]) -> Option<Tail> {
    Some(Tail {
        offset: Offset(u64_of(rest)?),
        chain: Chain(array(rest)?),
    })
}

fn u32_of(rest: &mut &[u8]) -> Option<u32> {
    rest.try_get_u32().ok()
}

fn u64_of(rest: &mut &[u8]) -> Option<u64> {
    rest.try_get_u64().ok()
}

fn array(rest: &mut &[u8]) -> Option<[u8; 16]> {
    taken(rest, 16)?.try_into().ok()
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = u32_of(rest)? as usize;
    String::from_utf8(taken(rest, length)?.to_vec()).ok()
}

fn taken<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}
