//! Keys that the router stamped: in memory for a minute, so that a router's own retry has no second effect.

use std::sync::Arc;

use crate::ids::{ConversationName, Offset, UserId};
use crate::shard::owner::Owner;
use crate::shard::owner::conversation::UsedKey;

/// How long a stamped key is remembered, and how many at most; the oldest are forgotten first.
pub(in crate::shard) const STAMPED_MS: u64 = 60_000;
const STAMPED_MAX: usize = 65_536;

impl Owner {
    pub(super) fn remember_stamped_key(&mut self, at_ms: u64, of: &ConversationName, sender: &UserId, key: &Arc<str>) {
        self.stamped.push_back((at_ms + STAMPED_MS, of.clone(), sender.clone(), Arc::clone(key)));
    }

    /// Remembers the stamped keys that were found in the raw entries at open.
    pub(super) fn remember_stamped(&mut self) {
        for found in std::mem::take(&mut self.setup.stamped) {
            if !self.conversations.contains_key(&found.conversation) {
                self.order.push_back(found.conversation.clone());
            }
            let state = self.conversations.entry(found.conversation.clone()).or_default();
            let used = UsedKey { fingerprint: found.fingerprint, seq: found.seq, offset: Offset(0) };
            state.keys.insert((found.sender.clone(), Arc::clone(&found.key)), used);
            self.stamped.push_back((found.at_ms + STAMPED_MS, found.conversation, found.sender, found.key));
        }
    }

    pub(super) fn expire_stamped(&mut self) {
        let now_ms = self.now();
        while let Some((expires, ..)) = self.stamped.front() {
            if *expires > now_ms && self.stamped.len() <= STAMPED_MAX {
                return;
            }
            let Some((_, conversation, sender, key)) = self.stamped.pop_front() else { return };
            if let Some(state) = self.conversations.get_mut(&conversation) {
                state.keys.remove(&(sender, key));
            }
        }
    }
}
