//! Commands of participants, decided against the head: events come out, or a refusal.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, UserId};
use crate::log::record::{Content, Event, EventKind, Fingerprint, KeyUse};
use crate::problem::{Code, Problem};
use crate::protocol::PARTICIPANTS_MAX;
use crate::shard::command::{Add, Remove, Send};
use crate::shard::write::head::fold::Head;
use crate::shard::write::head::refusal::not_participant;
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

    /// The `message` event of a send by a participant; idempotency and `reply_to` were checked
    /// before.
    ///
    /// # Errors
    /// `not_participant`.
    pub(in crate::shard) fn decide_send(
        &self,
        send: &Send,
        fingerprint: Fingerprint,
        now_ms: u64,
        random: u64,
    ) -> Result<Event, Problem> {
        if !self.may_send(&send.source) {
            return Err(not_participant());
        }
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
        Ok(self.event(
            &send.conversation,
            now_ms,
            key_use(send.key.as_ref(), fingerprint),
            kind,
        ))
    }

    /// The `joined` event for those who are not in yet; `None` when all are.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`, `invalid` beyond the most participants.
    pub(in crate::shard) fn decide_add(
        &self,
        add: &Add,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        if !self.has(&add.by) {
            return Err(not_participant());
        }
        if self.admin != add.by {
            return Err(Problem::new(
                Code::Forbidden,
                "only the admin may add participants",
            ));
        }
        let mut users: Vec<UserId> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for user in &add.users {
            if !self.has(user) && seen.insert(user) {
                users.push(user.clone());
            }
        }
        if users.is_empty() {
            return Ok(None);
        }
        if self.participants.len() + users.len() > PARTICIPANTS_MAX {
            let detail = format!("a conversation has at most {PARTICIPANTS_MAX} participants");
            return Err(Problem::new(Code::Invalid, detail));
        }
        Ok(Some(self.event(
            &add.conversation,
            now_ms,
            None,
            EventKind::Joined {
                by: add.by.clone(),
                users,
            },
        )))
    }

    /// The `left` event; `None` when the user is no participant anyway.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`.
    pub(in crate::shard) fn decide_remove(
        &self,
        remove: &Remove,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        let leaves = remove.by == remove.user;
        if !leaves {
            if !self.has(&remove.by) {
                return Err(not_participant());
            }
            if self.admin != remove.by {
                return Err(Problem::new(
                    Code::Forbidden,
                    "only the admin may remove others",
                ));
            }
        }
        if !self.has(&remove.user) {
            return Ok(None);
        }
        let admin = if self.admin == remove.user {
            self.successor(&remove.user)
        } else {
            None
        };
        let kind = EventKind::Left {
            by: remove.by.clone(),
            user: remove.user.clone(),
            admin,
        };
        Ok(Some(self.event(&remove.conversation, now_ms, None, kind)))
    }

    /// The longest-standing participant but `gone`.
    fn successor(&self, gone: &UserId) -> Option<UserId> {
        let others = self.participants.iter().filter(|(user, _)| *user != gone);
        others
            .min_by_key(|(_, standing)| **standing)
            .map(|(user, _)| user.clone())
    }
}

pub(super) fn key_use(key: Option<&IdempotencyKey>, fingerprint: Fingerprint) -> Option<KeyUse> {
    key.map(|key| KeyUse {
        key: Arc::clone(&key.key),
        stamped: key.stamped,
        fingerprint,
    })
}
