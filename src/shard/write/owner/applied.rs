//! What SQLite has, memory need not keep.

use std::sync::Arc;

use crate::ids::Offset;
use crate::log::record::Record;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::Known;

impl Owner {
    /// SQLite has everything of the messages stream up to there: memory need not keep it.
    pub(super) fn applied(&mut self, upto: Offset) {
        while self
            .unapplied
            .front()
            .is_some_and(|(offset, _)| *offset <= upto)
        {
            let Some((offset, record)) = self.unapplied.pop_front() else {
                return;
            };
            match record {
                Record::Event(event) => {
                    if let Some(id) = event.kind.message_id() {
                        self.messages.applied(id, offset);
                    }
                    let Some(state) = self.conversations.get_mut(&event.conversation) else {
                        continue;
                    };
                    while state.tail.pop_front_if(|(at, _)| *at <= offset).is_some() {}
                    if let Some(key) = event.key.as_ref().filter(|key| !key.stamped) {
                        state
                            .keys
                            .remove(&(event.actor().clone(), Arc::clone(&key.key)));
                    }
                }
                Record::Pruned(pruning) => {
                    let state = self.conversations.get_mut(&pruning.conversation);
                    if let Some(Known::Head(head)) = state.map(|state| &mut state.known) {
                        head.prune(pruning.up_to);
                    }
                }
                Record::KeyUsed(used) => self.used_key_applied(&used),
                Record::Index(change) => {
                    if self.index_touched.get(&change.user) == Some(&offset) {
                        self.index_touched.remove(&change.user);
                    }
                    let of = (change.user.clone(), change.conversation.clone());
                    if self
                        .index_recent
                        .get(&of)
                        .is_some_and(|(_, last)| *last == offset)
                    {
                        self.index_recent.remove(&of);
                    }
                }
                _ => {}
            }
        }
        self.evict();
    }
}
