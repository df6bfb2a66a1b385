//! Whether a write, or one after which it may not be written, was written before.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, Offset, UserId};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::keys::UsedKey;
use crate::shard::write::owner::piece::Facts;

impl Owner {
    /// A message after which this one may not be written any more was written; likewise for edits.
    pub(super) fn was_overtaken(
        &self,
        state: &ConversationState,
        name: &ConversationName,
        (sender, unless): (&UserId, &[IdempotencyKey]),
        facts: &Facts,
    ) -> bool {
        let is_in_memory = |key: &IdempotencyKey| {
            let of = (sender.clone(), Arc::clone(&key.key));
            state.keys.contains_key(&of) || self.stamped.contains_key(&(name.clone(), of.0, of.1))
        };
        facts.later == Some(true) || unless.iter().any(is_in_memory)
    }

    /// What a key made before, if anything: as memory knows it, else as the file told.
    pub(super) fn used_before(
        &self,
        state: &ConversationState,
        name: &ConversationName,
        (sender, key): (&UserId, Option<&IdempotencyKey>),
        facts: &Facts,
    ) -> Option<UsedKey> {
        let key = key?;
        let of = (sender.clone(), Arc::clone(&key.key));
        let in_memory = state
            .keys
            .get(&of)
            .or_else(|| self.stamped.get(&(name.clone(), of.0, of.1)));
        in_memory.cloned().or_else(|| {
            let row = facts.key.clone().flatten()?;
            Some(UsedKey {
                fingerprint: row.fingerprint,
                seq: row.seq,
                offset: Offset(0),
            })
        })
    }
}
