//! A conversation as clients see it.

use crate::ids::ConversationName;
use crate::protocol::{Conversation, PARTICIPANTS_SHOWN_MAX, Participant};
use crate::shard::write::head::fold::Head;

impl Head {
    /// As clients see it.
    #[must_use]
    pub(in crate::shard) fn view(&self, name: &ConversationName) -> Conversation {
        let shown = self.participants.keys().take(PARTICIPANTS_SHOWN_MAX);
        let participants = shown
            .map(|user| Participant {
                name: user.clone(),
                role: self.role(user),
            })
            .collect();
        Conversation {
            name: name.clone(),
            title: self.title.as_deref().map(str::to_owned),
            admin: self.admin.clone(),
            created: self.created,
            last_seq: self.last_seq,
            participants_count: self.participants.len() as u64,
            participants: Some(participants),
        }
    }
}
