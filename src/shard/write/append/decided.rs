//! A record on its way into the log: decided, and then sealed into an entry.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::Offset;
use crate::log::Batch;
use crate::log::lane::Definite;
use crate::log::record::Record;
use crate::shard::command::Push;

/// A decided record on its way into the log.
#[derive(Debug)]
pub(in crate::shard) struct Decided {
    /// Its offset.
    pub(in crate::shard) offset: Offset,
    /// The record.
    pub(in crate::shard) record: Record,
    /// What is pushed once it is committed, beside what follows from the record itself.
    pub(in crate::shard) pushes: Vec<Push>,
    pub(super) encoded: Bytes,
}

/// A sealed entry with its records; those of one that was committed before are gone.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) batch: Batch,
    pub(super) records: Vec<Decided>,
    /// Not committed, but sent before the log fell back: somebody may have read it there, whatever
    /// the log says now.
    pub(super) doubted: bool,
}

/// An entry that is away.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) end: oneshot::Receiver<Definite>,
    pub(super) sealed: Sealed,
}
