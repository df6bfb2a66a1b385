//! Keys that were used, as the loop and its opening know them.

use std::sync::Arc;

use crate::ids::{ConversationName, Offset, Seq, UserId};
use crate::log::record::Fingerprint;

/// A key used in a conversation, as long as memory must know it: client keys until the worker has
/// stored them, stamped ones for a minute.
#[derive(Debug, Clone)]
pub(super) struct UsedKey {
    pub(super) fingerprint: Fingerprint,
    pub(super) seq: Seq,
    /// Offset of its record; 0 when that is long applied.
    pub(super) offset: Offset,
}

/// Where, by whom, which.
pub(super) type StampedUse = (ConversationName, UserId, Arc<str>);

/// A key that the router stamped, as found in a record.
#[derive(Debug, Clone)]
pub(in crate::shard) struct StampedKey {
    pub conversation: ConversationName,
    pub sender: UserId,
    pub key: Arc<str>,
    pub fingerprint: Fingerprint,
    pub seq: Seq,
}
