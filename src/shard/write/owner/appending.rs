//! What is decided goes into the batch that gathers, and memory goes on with it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ids::Offset;
use crate::log::record::{BanChange, Event, EventKind, IndexChange, Record};
use crate::shard::command::{Done, Push, ShardError};
use crate::shard::write::head::Head;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::input::{Accepted, Waiter};
use crate::shard::write::owner::keys::UsedKey;
use crate::shard::write::owner::{Owner, messages};

type WriteAnswer = oneshot::Sender<Result<Accepted, ShardError>>;

impl Owner {
    /// Puts an event into the batch and advances the head, the tail, the keys and the index of ids
    /// with it.
    pub(super) fn append_event(&mut self, event: Event) -> Offset {
        let event = Arc::new(event);
        let name = event.conversation.clone();
        let epoch = self.setup.token.epoch;
        let push = Push::Event {
            epoch,
            event: Arc::clone(&event),
        };
        let offset = self
            .appenders
            .messages
            .decide(Record::Event(Arc::clone(&event)), vec![push]);
        self.unapplied
            .push_back((offset, Record::Event(Arc::clone(&event))));
        let state = self.conversations.entry(name.clone()).or_default();

        match &mut state.known {
            Known::Head(head) => head.advance(&event),
            known => {
                if let Some(head) = Head::begun(&event, offset) {
                    *known = Known::Head(Box::new(head));
                    state.marks = Some(HashMap::new());
                }
            }
        }

        state.tail.push_back((offset, Arc::clone(&event)));
        if event.kind.changes_rights() {
            state.members_changed = offset;
        }

        if let Some((id, message)) = messages::sent(&event) {
            self.messages.push(id, offset, message);
        }

        let seq = match &event.kind {
            EventKind::Message { .. } => Some(event.seq),
            EventKind::Edited { message_seq, .. } => Some(*message_seq),
            _ => None,
        };

        if let (Some(key), Some(seq)) = (&event.key, seq) {
            let used = UsedKey {
                fingerprint: key.fingerprint,
                seq,
                offset,
            };
            self.remember_key(&name, event.actor(), key, used);
        }

        offset
    }

    /// Puts into the batch that somebody is banned, or is not any more, and goes on with the head.
    pub(super) fn append_ban(&mut self, change: BanChange, is_banned: bool) -> Offset {
        let change = Arc::new(change);
        let record = if is_banned {
            Record::Banned(Arc::clone(&change))
        } else {
            Record::Unbanned(Arc::clone(&change))
        };
        let offset = self.appenders.messages.decide(record.clone(), Vec::new());
        self.unapplied.push_back((offset, record));
        if let Some(state) = self.conversations.get_mut(&change.conversation) {
            if let Known::Head(head) = &mut state.known {
                head.ban(&change.user, is_banned);
            }
            (state.members_changed, state.bans_touched) = (offset, offset);
        }
        offset
    }

    /// Index changes go into the batch as they come: which is newer is decided by seq when they are
    /// applied.
    pub(super) fn decide_index(&mut self, changes: Vec<IndexChange>, answer: WriteAnswer) {
        let mut last = Offset(0);
        for change in changes {
            let of = (change.user.clone(), change.conversation.clone());
            if let Some((seq, offset)) = self.index_recent.get(&of)
                && *seq >= change.seq
                && change.view.is_none()
            {
                last = last.max(*offset);
                continue;
            }
            let (user, seq, is_view) = (change.user.clone(), change.seq, change.view.is_some());
            let record = Record::Index(Arc::new(change));
            let offset = self.appenders.messages.decide(record.clone(), Vec::new());
            self.unapplied.push_back((offset, record));
            self.index_touched.insert(user, offset);
            if !is_view {
                self.index_recent.insert(of, (seq, offset));
            }
            last = last.max(offset);
        }

        let accepted = Accepted::Done(Done::Indexed);
        if last <= self.appenders.messages.committed().offset {
            answer.send(Ok(accepted)).ok();
        } else {
            self.appenders
                .messages
                .wait(last, Waiter::Write(answer, Box::new(accepted)));
        }
    }
}
