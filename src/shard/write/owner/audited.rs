//! Heads as an audit sees them: those alone of which the file has everything, so that the two can
//! be compared.

use crate::ids::ConversationName;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::input::Settled;

impl Owner {
    /// The head of a conversation, if it is in memory, nobody waits for it, and all of it is
    /// applied.
    pub(super) fn settled(&self, name: &ConversationName) -> Option<Settled> {
        let applied = self
            .setup
            .applied
            .each_ref()
            .map(|applied| applied.borrow().offset);
        let state = self.conversations.get(name)?;
        if !state.is_evictable(applied) {
            return None;
        }
        match &state.known {
            Known::No => None,
            Known::Absent => Some(Settled::Absent),
            Known::Head(head) => Some(Settled::Head(head.clone())),
        }
    }

    /// Drops such a head, as an eviction does: the next use fills it again.
    pub(super) fn refill(&mut self, name: &ConversationName) {
        if self.settled(name).is_none() {
            return;
        }
        if let Some(state) = self.conversations.remove(name) {
            self.heads_taken.change(state.bytes, 0);
            tracing::warn!(
                shard = %self.setup.shard,
                conversation = %name,
                "a head that differed from the file is dropped, to be filled again"
            );
        }
    }
}
