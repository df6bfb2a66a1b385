//! Records that cannot be applied are put aside.

use bytes::Bytes;

use crate::ids::Offset;
use crate::log::record::Record;

/// A record put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// Where it stands.
    pub(crate) offset: Offset,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Why it could not be applied.
    pub(crate) reason: String,
}

impl Quarantined {
    pub(super) fn new(offset: Offset, record: &Record, reason: impl Into<String>) -> Self {
        Self {
            offset,
            bytes: record.encode(),
            reason: reason.into(),
        }
    }
}
