//! Deciding what changes a message: edits and deletions (ADR 22).

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, Seq, UserId};
use crate::log::record::{Content, EDITS_SINCE, Event, EventKind, KeyUse, Record, UsedUp};
use crate::problem::Problem;
use crate::protocol::policy::Action;
use crate::shard::command::{Delete, Done, Edit};
use crate::shard::file::store::{HeldMessage, Located};
use crate::shard::write::head::{Head, idempotency_conflict};
use crate::shard::write::message::{Rights, Window, deleted, edited, overtaken};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::decide::{Verdict, message_unknown};
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::keys::UsedKey;
use crate::shard::write::owner::parking::SPACE_AFTER;
use crate::shard::write::owner::piece::Facts;

impl Owner {
    /// Why nothing is written yet that only this version of records knows.
    pub(super) fn not_all_read(&self, version: u32) -> Option<Problem> {
        let detail = "not every node of the cluster runs a version that knows this; nothing was written, retry later";
        // Longer than a request: no router tries again meanwhile.
        let retry_after = Some(SPACE_AFTER);
        let waits = !self.setup.agreed.all_read(version);
        waits.then(|| Problem {
            retry_after,
            ..Problem::unavailable(detail)
        })
    }

    /// How a message of this conversation stands after everything that was decided, and the offset
    /// of the last record that changed it, 0 when that is applied.
    pub(super) fn held(
        &self,
        name: &ConversationName,
        id: MessageId,
        facts: &Facts,
    ) -> Option<(Offset, HeldMessage)> {
        let in_memory = self.messages.now(id).cloned();
        let held = in_memory.or_else(|| Some((Offset(0), facts.held.clone().flatten()?)));
        held.filter(|(_, message)| message.at.conversation == *name)
    }

    pub(super) fn decide_edit(
        &mut self,
        name: &ConversationName,
        edit: &Edit,
        facts: &Facts,
    ) -> Verdict {
        let members_changed = self.members_changed(name);
        let refused =
            |until: Offset, problem| Verdict::Rests(until.max(members_changed), Err(problem));
        let Some(state) = self.conversations.get(name) else {
            return refused(Offset(0), message_unknown());
        };
        let Some(head) = state.head().filter(|head| head.has(&edit.by)) else {
            return refused(Offset(0), message_unknown());
        };
        let hashed = self.setup.agreed.of_edit(edit);
        if let Some(used) = self.used_before(state, name, (&edit.by, edit.key.as_ref()), facts) {
            if !hashed.is(used.fingerprint) {
                return refused(used.offset, idempotency_conflict());
            }
            let again = Accepted::Edited {
                conversation: name.clone(),
                seq: used.seq,
            };
            return Verdict::Rests(used.offset.max(members_changed), Ok(again));
        }
        let Some((changed, message)) = self.held(name, edit.message_id, facts) else {
            return refused(Offset(0), message_unknown());
        };
        if let Some(problem) = self.not_all_read(EDITS_SINCE) {
            return refused(Offset(0), problem);
        }
        if self.was_overtaken(state, name, (&edit.by, &edit.unless), facts) {
            return refused(self.last_touched(name), overtaken());
        }

        let content = match edited(&message, edit, self.rights(head, edit)) {
            Ok(content) => content,
            Err(problem) => return refused(changed, problem),
        };
        let accepted = Accepted::Edited {
            conversation: name.clone(),
            seq: message.at.seq,
        };
        let key = edit.key.as_ref().map(|key| key_use(key, hashed.to_write()));
        match (content, key) {
            (Some(content), key) => {
                let kind = edited_kind(edit, &message.at, content.clone());
                let event = head.event(name, self.now(), key, kind);
                let next = HeldMessage {
                    content,
                    edits: message.edits + 1,
                    ..message
                };
                Verdict::Written(self.append_change(event, edit.message_id, next), accepted)
            }
            (None, Some(key)) => {
                let at = self.now().max(head.last_created);
                let used = used_up(name, edit, message.at.seq, (key, at));
                Verdict::Written(self.append_used_key(used), accepted)
            }
            (None, None) => Verdict::Rests(changed.max(members_changed), Ok(accepted)),
        }
    }

    /// What an edit hangs on beside the message.
    fn rights<'h>(
        &self,
        head: &'h Head,
        edit: &Edit,
    ) -> Rights<impl Fn(&UserId) -> bool + use<'h>> {
        let now_ms = self.now().max(head.last_created);
        let window = head.settings.edit_window_s;
        Rights {
            may_edit: head.may_write(&edit.by, Action::Edit, now_ms),
            window: window.map(|seconds| Window { seconds, now_ms }),
            participates: |user: &UserId| head.has(user),
        }
    }

    pub(super) fn decide_delete(
        &mut self,
        name: &ConversationName,
        delete: &Delete,
        facts: &Facts,
    ) -> Verdict {
        let members_changed = self.members_changed(name);
        let rests = |until: Offset, outcome| Verdict::Rests(until.max(members_changed), outcome);
        let unknown = rests(Offset(0), Err(message_unknown()));
        let Some(state) = self.conversations.get(name) else {
            return unknown;
        };
        let Some(head) = state.head().filter(|head| head.has(&delete.by)) else {
            return unknown;
        };
        let Some((changed, message)) = self.held(name, delete.message_id, facts) else {
            return unknown;
        };

        if let Some(problem) = self.not_all_read(EDITS_SINCE) {
            return rests(Offset(0), Err(problem));
        }

        let may = |action| head.may(&delete.by, action).map(drop);
        match deleted(&message, &delete.by, may) {
            Err(problem) => rests(changed, Err(problem)),
            Ok(false) => rests(changed, Ok(Accepted::Done(Done::Deleted))),
            Ok(true) => {
                let (message_id, message_seq) = (delete.message_id, message.at.seq);
                let kind = EventKind::Deleted {
                    message_id,
                    message_seq,
                    by: delete.by.clone(),
                };
                let event = head.event(name, self.now(), None, kind);
                Verdict::Written(
                    self.append_deletion(event, message_id, message),
                    Accepted::Done(Done::Deleted),
                )
            }
        }
    }

    /// Appends a deletion, after which nothing is left of what the message said.
    pub(super) fn append_deletion(
        &mut self,
        event: Event,
        id: MessageId,
        message: HeldMessage,
    ) -> Offset {
        let at = Located {
            deleted: true,
            ..message.at
        };
        self.append_change(
            event,
            id,
            HeldMessage {
                at,
                content: Content::none(),
                edits: 0,
            },
        )
    }

    /// Appends what changes a message, and keeps how the message stands then.
    fn append_change(&mut self, event: Event, id: MessageId, after: HeldMessage) -> Offset {
        let offset = self.append_event(event);
        self.messages.push(id, offset, after);
        offset
    }

    /// Appends that a key was used up by what changed nothing.
    fn append_used_key(&mut self, used: UsedUp) -> Offset {
        let used = Arc::new(used);
        let record = Record::KeyUsed(Arc::clone(&used));
        let offset = self.appenders.messages.decide(record.clone(), Vec::new());
        self.unapplied.push_back((offset, record));
        let known = UsedKey {
            fingerprint: used.key.fingerprint,
            seq: used.message_seq,
            offset,
        };
        self.remember_key(&used.conversation, &used.sender, &used.key, known);
        offset
    }

    /// The file knows of a key that what changed nothing used up.
    pub(super) fn used_key_applied(&mut self, used: &UsedUp) {
        let state = self.conversations.get_mut(&used.conversation);
        if let Some(state) = state.filter(|_| !used.key.stamped) {
            let of = (used.sender.clone(), Arc::clone(&used.key.key));
            state.keys.remove(&of);
        }
    }

    /// Remembers a key that a record at the end of the batch uses.
    pub(super) fn remember_key(
        &mut self,
        name: &ConversationName,
        sender: &UserId,
        key: &KeyUse,
        used: UsedKey,
    ) {
        let of = (sender.clone(), Arc::clone(&key.key));
        if key.stamped {
            return self.remember_stamped_key((name.clone(), of.0, of.1), used);
        }
        self.setup
            .filter
            .insert(name, sender, &key.key, self.setup.clock.since_boot());
        if let Some(state) = self.conversations.get_mut(name) {
            state.keys.insert(of, used);
        }
    }
}

fn key_use(key: &IdempotencyKey, fingerprint: crate::log::record::Fingerprint) -> KeyUse {
    KeyUse {
        key: Arc::clone(&key.key),
        stamped: key.stamped,
        fingerprint,
    }
}

/// What is written of a key that an edit used up at `at` without changing anything.
fn used_up(name: &ConversationName, edit: &Edit, seq: Seq, (key, at): (KeyUse, u64)) -> UsedUp {
    UsedUp {
        conversation: name.clone(),
        sender: edit.by.clone(),
        message_seq: seq,
        key,
        at,
    }
}

fn edited_kind(edit: &Edit, at: &Located, content: Content) -> EventKind {
    let Content {
        text,
        data,
        mentions,
    } = content;
    EventKind::Edited {
        message_id: edit.message_id,
        message_seq: at.seq,
        by: edit.by.clone(),
        text,
        data,
        mentions,
        superseded: false,
    }
}
