//! DURABLE CONTRACT. Records and entries as they stand in the log and, verbatim, in every SQLite
//! file. Versioned for ever: whatever a released version wrote, each later one reads (fixtures
//! under `tests/fixtures/records`).
//!
//! A *record* is one durable change and has one offset. An *entry* is one append batch: records of
//! one stream, packed.
//!
//! ```text
//! entry   = version u8 (1) | reserved u8 (0) | count u16 | epoch u64 | first offset u64 | chain [16] | record*
//! record  = length u32 | protobuf `wire::Record`
//! ```
//! All numbers are big-endian. `chain` is the first 16 bytes of SHA-256 over (the chain of the
//! entry before | the entry without its chain field): equal chains mean equal histories, and a
//! flipped byte does not link. Records are protobuf, so that a later version may add fields and
//! kinds; a kind that this version does not know is kept as it stands ([`Record::Unreadable`]) and
//! quarantined by the worker.

pub(crate) use change::{Advance, BanChange, Erasure, Pruning, Record};
pub(crate) use event::{Content, Event, EventKind, Since};
pub(crate) use index::{IndexChange, OutboxPosition};
pub(crate) use key::{ANY_REQUEST, Fingerprint, KeyUse, UsedUp};
pub(crate) use version::{
    CLOSING_SINCE, EDITS_SINCE, RECORDS_VERSION, RETENTION_SINCE, ROLES_SINCE, VIEWS_SINCE,
};
pub(crate) use view::{IndexView, OwnMark, ViewChange};

pub(crate) use self::entry::HEADER_BYTES;
pub(crate) use self::entry::{
    Chain, ENTRY_BYTES_MAX, ENTRY_RECORDS_MAX, Entry, EntryError, Header, Tail, seal,
};

mod version;

mod change;

mod event;

mod kind;

mod key;

mod index;

mod entry;

mod wire;

mod view;

mod wire_closing;

mod wire_settings;

mod wire_view;

mod to_wire;

mod from_wire;

#[cfg(test)]
mod closing;
#[cfg(test)]
mod governing;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod viewing;

#[cfg(test)]
mod tests;
