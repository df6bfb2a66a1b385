//! Heads that were not used for long go, so that there is memory for others.

use crate::shard::write::owner::Owner;

/// Conversations looked at per eviction.
const EVICT_STEPS: usize = 64;

impl Owner {
    /// More is in memory than may be.
    fn has_too_many_heads(&self) -> bool {
        self.conversations.len() > self.setup.heads_max || self.heads_taken.is_too_much()
    }

    /// Drops heads that were not used for long, down to the limit; never one with anything
    /// unapplied.
    pub(super) fn evict(&mut self) {
        let applied = self
            .setup
            .applied
            .each_ref()
            .map(|applied| applied.borrow().offset);
        for _ in 0..EVICT_STEPS {
            if !self.has_too_many_heads() {
                return;
            }
            let Some(name) = self.order.pop_front() else {
                return;
            };
            let Some(state) = self.conversations.get_mut(&name) else {
                continue;
            };
            if !state.used && state.is_evictable(applied) {
                self.heads_taken.change(state.bytes, 0);
                self.conversations.remove(&name);
            } else {
                state.used = false;
                state.weigh(&mut self.heads_taken);
                self.order.push_back(name);
            }
        }
    }
}
