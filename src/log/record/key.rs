//! Idempotency keys, as they stand in records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, IdempotencyKey, Seq, UserId};

/// First 16 bytes of a hash over the fields of a request: two requests under one idempotency key
/// must agree in it.
pub(crate) type Fingerprint = [u8; 16];

/// Stands for any request: what is known of the keys of a restored cluster, whose secret may be
/// another one (ADR 21). In no record.
pub(crate) const ANY_REQUEST: Fingerprint = [0; 16];

/// The use of an idempotency key, stored with what it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyUse {
    /// The key.
    pub key: Arc<str>,
    /// True for a key that the router stamped: remembered for 60 s, never stored beyond the record.
    pub stamped: bool,
    /// The fingerprint of the request's known fields.
    pub fingerprint: Fingerprint,
}

impl KeyUse {
    /// As it was given.
    #[must_use]
    pub(crate) fn as_key(&self) -> IdempotencyKey {
        IdempotencyKey {
            key: Arc::clone(&self.key),
            stamped: self.stamped,
        }
    }
}

/// A request that changed nothing used up its idempotency key: an edit to what the message says
/// already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedUp {
    /// Where.
    pub conversation: ConversationName,
    /// By whom.
    pub sender: UserId,
    /// Seq of the message that a repeat is answered with.
    pub message_seq: Seq,
    /// The key.
    pub key: KeyUse,
    /// Unix milliseconds, of the owner's decision.
    pub at: u64,
}
