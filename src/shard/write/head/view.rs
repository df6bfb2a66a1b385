//! A conversation and its participants as clients see them.

use crate::ids::{ConversationName, UserId};
use crate::protocol::{Conversation, JsonObject, PARTICIPANTS_SHOWN_MAX, Participant, Role};
use crate::shard::write::head::fold::{Head, Standing};

impl Standing {
    /// Until when they are muted; `None` when they are not.
    #[must_use]
    pub(in crate::shard) fn muted(&self, now_ms: u64) -> Option<u64> {
        Some(self.muted_until).filter(|until| *until > now_ms)
    }
}

impl Head {
    /// For a reader, at a time. For how long it keeps its events is added by who knows what the
    /// deployment says.
    #[must_use]
    pub(in crate::shard) fn view(
        &self,
        name: &ConversationName,
        reader: &UserId,
        now_ms: u64,
    ) -> Conversation {
        let shown = self.participants.iter().take(PARTICIPANTS_SHOWN_MAX);
        let participants = shown.map(|(user, standing)| self.shown(user, standing, now_ms));
        let own = self.participants.get(reader);

        Conversation {
            name: name.clone(),
            title: self.title.as_deref().map(str::to_owned),
            direct: self.direct,
            admin: self.admin.clone(),
            created: self.created,
            last_seq: self.last_seq,
            participants_count: self.participants.len() as u64,
            participants: Some(participants.collect()),
            my_role: own.map_or_else(Role::default, |own| self.role_of(reader, own)),
            my_muted_until: own.and_then(|own| own.muted(now_ms)),
            data: self.data.clone().map(JsonObject::stored),
            settings: self.settings,
            retention_effective_s: None,
            first_seq: self.pruned.next(),
            own: None,
        }
    }

    /// A participant, at a time.
    #[must_use]
    pub(in crate::shard) fn participant(&self, user: &UserId, now_ms: u64) -> Option<Participant> {
        let standing = self.participants.get(user)?;
        Some(self.shown(user, standing, now_ms))
    }

    /// The participant who stands so.
    #[must_use]
    pub(in crate::shard) fn shown(
        &self,
        user: &UserId,
        standing: &Standing,
        now_ms: u64,
    ) -> Participant {
        Participant {
            name: user.clone(),
            role: self.role_of(user, standing),
            muted_until: standing.muted(now_ms),
            joined_seq: standing.joined,
        }
    }
}
