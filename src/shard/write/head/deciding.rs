//! What every command of a participant is decided by, and those that concern no other one: events
//! come out, or a refusal.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, UserId};
use crate::log::record::{Content, Event, EventKind, Fingerprint, KeyUse};
use crate::problem::Problem;
use crate::protocol::policy::{self, Action};
use crate::protocol::{Role, direct};
use crate::shard::command::{Send, Update};
use crate::shard::write::head::fold::Head;
use crate::shard::write::head::refusal::muted;
use crate::shard::write::message::mentioned;

impl Head {
    /// The next event of the conversation.
    pub(in crate::shard) fn event(
        &self,
        conversation: &ConversationName,
        now_ms: u64,
        key: Option<KeyUse>,
        kind: EventKind,
    ) -> Event {
        Event {
            conversation: conversation.clone(),
            seq: self.last_seq.next(),
            created: now_ms.max(self.last_created),
            key,
            kind,
        }
    }

    /// The role of a participant who may do something, by the table of the contract.
    ///
    /// # Errors
    /// `not_participant`, `conversation_closed`, `forbidden`.
    pub(in crate::shard) fn may(&self, user: &UserId, action: Action) -> Result<Role, Problem> {
        let role = self.role(user).ok_or_else(|| self.refusal(user))?;
        if self.direct {
            direct::may(action)?;
        }
        policy::may(role, &self.settings, action).map(|()| role)
    }

    /// Likewise of what one who is muted may not do.
    ///
    /// # Errors
    /// `not_participant`, `conversation_closed`, `forbidden`, `muted`.
    pub(in crate::shard) fn may_write(
        &self,
        user: &UserId,
        action: Action,
        now_ms: u64,
    ) -> Result<(), Problem> {
        let standing = self.participants.get(user);
        let standing = standing.ok_or_else(|| self.refusal(user))?;
        policy::may(self.role_of(user, standing), &self.settings, action)?;
        match standing.muted(now_ms.max(self.last_created)) {
            Some(until) => Err(muted(until)),
            None => Ok(()),
        }
    }

    /// The `message` event of a send; who sends it, idempotency and `reply_to` were checked before.
    pub(in crate::shard) fn decide_send(
        &self,
        send: &Send,
        fingerprint: Fingerprint,
        now_ms: u64,
        random: u64,
    ) -> Event {
        let id = MessageId::new(
            now_ms.max(self.last_created),
            send.conversation.slot(),
            random,
        );
        let mentions = mentioned(&send.mentions, |user| self.has(user));
        let content = Content {
            text: Arc::clone(&send.text),
            data: send.data.clone(),
            mentions,
        };
        let kind = EventKind::message(id, send.source.clone(), content, send.reply_to);

        self.event(
            &send.conversation,
            now_ms,
            key_use(send.key.as_ref(), fingerprint),
            kind,
        )
    }

    /// The `updated` event, of what is not so already; `None` when all is.
    ///
    /// # Errors
    /// `not_participant`, `conversation_closed`, `forbidden`.
    pub(in crate::shard) fn decide_update(
        &self,
        update: &Update,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        self.may(&update.by, Action::Change)?;
        let title = update.title.clone().but_for(&self.title);
        let data = update.data.clone().but_for(&self.data);
        let settings = update.settings.but_for(&self.settings);
        if title.keeps() && data.keeps() && settings.is_empty() {
            return Ok(None);
        }
        let kind = EventKind::Updated {
            by: update.by.clone(),
            title,
            data,
            settings,
        };
        Ok(Some(self.event(&update.conversation, now_ms, None, kind)))
    }
}

pub(super) fn key_use(key: Option<&IdempotencyKey>, fingerprint: Fingerprint) -> Option<KeyUse> {
    key.map(|key| KeyUse {
        key: Arc::clone(&key.key),
        stamped: key.stamped,
        fingerprint,
    })
}
