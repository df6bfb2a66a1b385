//! A conversation that is closed: who may close it, what stays of it, and what those are told who
//! ask for it (ADR 26).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::ids::{ConversationName, UserId};
use crate::log::record::{ANY_REQUEST, Event, EventKind};
use crate::problem::Problem;
use crate::protocol::Settings;
use crate::protocol::policy::Action;
use crate::shard::command::Close;
use crate::shard::write::head::fold::Head;
use crate::shard::write::head::refusal::{conversation_closed, not_participant};

impl Head {
    /// The `closed` event; `None` when the same admin closed it before.
    ///
    /// # Errors
    /// `not_participant`, `forbidden`, `conversation_closed`.
    pub(in crate::shard) fn decide_close(
        &self,
        close: &Close,
        now_ms: u64,
    ) -> Result<Option<Event>, Problem> {
        if self.closed.is_some() && self.admin == close.by {
            return Ok(None);
        }
        self.may(&close.by, Action::Close)?;
        let kind = EventKind::Closed {
            by: close.by.clone(),
        };
        Ok(Some(self.event(&close.conversation, now_ms, None, kind)))
    }

    /// Nobody takes part any more, and nothing is left that anybody may see.
    pub(super) fn close(&mut self, by: &UserId) {
        let users = std::mem::take(&mut self.participants);
        self.closed = Some(users.into_keys().collect());
        self.admin = by.clone();
        (self.title, self.data) = (None, None);
        self.settings = Settings::default();
        (self.recent, self.banned) = (VecDeque::new(), BTreeSet::new());
        (self.gone, self.views) = (BTreeMap::new(), BTreeMap::new());
        if let Some(key) = &mut self.create_key {
            key.fingerprint = ANY_REQUEST;
        }
    }

    /// Its last event, if it is closed and this user took part then.
    #[must_use]
    pub(in crate::shard) fn closed_to(
        &self,
        name: &ConversationName,
        user: &UserId,
    ) -> Option<Arc<Event>> {
        self.is_closed_to(user).then(|| {
            Arc::new(Event {
                conversation: name.clone(),
                seq: self.last_seq,
                created: self.last_created,
                key: None,
                kind: EventKind::Closed {
                    by: self.admin.clone(),
                },
            })
        })
    }

    /// Whether it is closed, and this user took part then.
    pub(super) fn is_closed_to(&self, user: &UserId) -> bool {
        self.closed
            .as_ref()
            .is_some_and(|users| users.contains(user))
    }

    /// What somebody is told who takes no part.
    #[must_use]
    pub(in crate::shard) fn refusal(&self, user: &UserId) -> Problem {
        if self.is_closed_to(user) {
            conversation_closed()
        } else {
            not_participant()
        }
    }
}
