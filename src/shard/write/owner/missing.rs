//! What a write has to wait for before it can be decided: a look-up in SQLite, or a commit in the
//! other stream.

use std::sync::Arc;

use crate::ids::{ConversationName, IdempotencyKey, Offset, UserId};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::ConversationState;
use crate::shard::write::owner::lookup::Lookup;
use crate::shard::write::owner::piece::Facts;
use crate::shard::write::owner::write::Write;

impl Owner {
    /// A receipt goes into the other stream, and would stay there when its author's joining is
    /// taken back: it is decided when that is committed. Likewise a reaction when the deletion of
    /// its message is, and what moves a mark while somebody's own view is on its way: the sessions
    /// are told of both at once. The offset to wait for.
    pub(super) fn receipt_waits(&self, name: &ConversationName, write: &Write) -> Option<Offset> {
        let (state, user) = (self.conversations.get(name)?, write.receipt_of()?);
        let committed = self.appenders.messages.committed().offset;
        let deletion = match write {
            Write::React { id, .. } => self
                .messages
                .now(*id)
                .filter(|(_, message)| message.at.deleted),
            _ => None,
        };
        let deletion = deletion
            .map(|(offset, _)| *offset)
            .filter(|offset| *offset > committed);
        let viewed = Some(state.views_touched)
            .filter(|offset| *offset > committed && !matches!(write, Write::React { .. }));
        state
            .standing_changes(user, committed)
            .max(deletion)
            .max(viewed)
    }

    /// What must be looked up before this write can be decided.
    pub(super) fn missing(
        &self,
        name: &ConversationName,
        write: &Write,
        facts: &Facts,
    ) -> Option<Lookup> {
        let state = self.conversations.get(name)?;
        let participates = |user: &UserId| state.head().is_some_and(|head| head.has(user));
        let key_lookup = |sender: &UserId, key: Option<&IdempotencyKey>| {
            let asked =
                key.filter(|key| facts.key.is_none() && asks_for_key(state, sender, key))?;
            let perhaps = self.setup.filter.perhaps_used(name, sender, &asked.key);
            perhaps.then(|| Lookup::Key(sender.clone(), asked.clone()))
        };
        let later_lookup = |sender: &UserId, unless: &[IdempotencyKey]| {
            let asks = facts.later.is_none() && unless.iter().any(|later| !later.stamped);
            asks.then(|| Lookup::Later(sender.clone(), unless.to_vec()))
        };

        match write {
            Write::Send(send) if participates(&send.source) => {
                if let Some(id) = send.reply_to
                    && facts.reply_to.is_none()
                    && self.messages.now(id).is_none()
                    && id.slot() == name.slot()
                {
                    return Some(Lookup::At(id));
                }
                if let Some(lookup) = key_lookup(&send.source, send.key.as_ref()) {
                    return Some(lookup);
                }
                later_lookup(&send.source, &send.unless)
            }
            Write::Change { change, .. } if participates(change.by()) => {
                let id = change.message_id();
                let asks = facts.held.is_none() && self.messages.now(id).is_none();
                key_lookup(change.by(), change.key())
                    .or_else(|| later_lookup(change.by(), change.unless()))
                    .or_else(|| asks.then_some(Lookup::Held(id)))
            }
            Write::Resubmit(event) => self.missing_of_orphan(state, event, facts),
            Write::Read { .. } | Write::OwnMark(_) | Write::View(_)
                if state.head().is_some() && state.marks.is_none() =>
            {
                Some(Lookup::Marks)
            }
            Write::React { id, user, .. } if participates(user) && facts.reaction.is_none() => {
                let is_known = state.reactions.contains_key(&(*id, user.clone()));
                (!is_known).then(|| Lookup::Reaction(*id, user.clone()))
            }
            _ => None,
        }
    }
}

/// Whether SQLite has to be asked for a key. Not while memory has it: it may be applied, and
/// forgotten here, between the look at the file and the decision.
fn asks_for_key(state: &ConversationState, sender: &UserId, key: &IdempotencyKey) -> bool {
    !key.stamped
        && !state
            .keys
            .contains_key(&(sender.clone(), Arc::clone(&key.key)))
}
