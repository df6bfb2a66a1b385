//! Sending a message.

use crate::ids::{ConversationName, MessageId, Offset};
use crate::log::record::{EDITS_SINCE, Event};
use crate::problem::{Code, Problem};
use crate::protocol::Message;
use crate::protocol::policy::Action;
use crate::shard::command::{Done, Send, core_of};
use crate::shard::write::head::{idempotency_conflict, not_participant};
use crate::shard::write::message::{message_deleted, overtaken};
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::decide::Verdict;
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::piece::Facts;

impl Owner {
    pub(super) fn decide_send(
        &mut self,
        name: &ConversationName,
        send: &Send,
        facts: &Facts,
    ) -> Verdict {
        let members_changed = self.members_changed(name);
        let refused = |problem| Verdict::Rests(members_changed, Err(problem));
        let Some(state) = self.conversations.get(name) else {
            return refused(not_participant());
        };
        let Some(head) = state.head() else {
            return refused(not_participant());
        };
        if !head.may_send(&send.source) {
            return refused(head.refusal(&send.source));
        }
        let hashed = self.setup.agreed.of_send(send);

        if let Some(used) = self.used_before(state, name, (&send.source, send.key.as_ref()), facts)
        {
            let until = used.offset.max(members_changed);
            if !hashed.is(used.fingerprint) {
                return Verdict::Rests(until, Err(idempotency_conflict()));
            }
            return Verdict::Rests(
                until,
                Ok(Accepted::SentAgain {
                    conversation: name.clone(),
                    seq: used.seq,
                }),
            );
        }

        if let Err(problem) = head.may_write(&send.source, Action::Send, self.now()) {
            return refused(problem);
        }

        if let Some((until, problem)) = send
            .reply_to
            .and_then(|id| self.refused_reply(name, id, facts))
        {
            return Verdict::Rests(until.max(members_changed), Err(problem));
        }

        if let Some(problem) = self.not_all_read(EDITS_SINCE).filter(|_| send.has_more()) {
            return refused(problem);
        }

        if self.was_overtaken(state, name, (&send.source, &send.unless), facts) {
            return Verdict::Rests(self.last_touched(name), Err(overtaken()));
        }

        let event = head.decide_send(send, hashed.to_write(), self.now(), rand::random());
        let Some(message) = message_of(&event) else {
            return refused(Problem::unavailable(
                "the message could not be built; retry",
            ));
        };

        Verdict::Written(
            self.append_event(event),
            Accepted::Done(Done::Sent {
                message,
                replayed: false,
            }),
        )
    }

    /// Why a message cannot be replied to, and up to which offset that has to be committed.
    fn refused_reply(
        &self,
        name: &ConversationName,
        id: MessageId,
        facts: &Facts,
    ) -> Option<(Offset, Problem)> {
        let in_memory = self
            .messages
            .now(id)
            .map(|(offset, message)| (*offset, &message.at));
        let at = in_memory.or_else(|| Some((Offset(0), facts.reply_to.as_ref()?.as_ref()?)));
        match at.filter(|(_, at)| at.conversation == *name) {
            Some((until, at)) => at.deleted.then(|| (until, message_deleted())),
            None => {
                let detail = "the message of reply_to is not in this conversation";
                Some((Offset(0), Problem::new(Code::ReplyToUnknown, detail)))
            }
        }
    }
}

/// The message that a fresh `message` event is.
pub(super) fn message_of(event: &Event) -> Option<Message> {
    let core = core_of(event)?;
    Some(Message {
        core,
        reactions: std::collections::BTreeMap::new(),
        my_reaction: None,
    })
}
