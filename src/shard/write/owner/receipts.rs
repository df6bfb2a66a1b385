//! Deciding receipts: watermarks never go back; reactions are one per user and message.

use crate::ids::{ConversationName, MessageId, Offset, Seq, SessionId, UserId};
use crate::log::record::{Advance, Record};
use crate::shard::command::{Delivered, Done, Push};
use crate::shard::file::store::{Located, Recent};
use crate::shard::write::head::Head;
use crate::shard::write::message::message_deleted;
use crate::shard::write::owner::Owner;
use crate::shard::write::owner::conversation::Known;
use crate::shard::write::owner::decide::{Verdict, message_unknown};
use crate::shard::write::owner::input::Accepted;
use crate::shard::write::owner::piece::{Facts, WorkKind};
use crate::shard::write::owner::views::own_push;
use crate::telemetry;

/// Delivered marks gathered per shard; more are shed.
const DELIVERED_MAX: usize = 65_536;
/// Up to so many reactions of a conversation are in memory although the file has them.
const REACTIONS_TIDIED_AT: usize = 64;
/// Conversations larger than this have no delivered marks of their own making.
const DELIVERED_PARTICIPANTS_MAX: usize = 1_000;

impl Owner {
    pub(super) fn decide_read(
        &mut self,
        name: &ConversationName,
        seq: Seq,
        user: &UserId,
        origin: Option<SessionId>,
    ) -> Verdict {
        let now_ms = self.now();
        // Whether the user participates is committed: see `receipt_waits`.
        let unknown = Verdict::Rests(Offset(0), Err(message_unknown()));
        let Some(state) = self.conversations.get_mut(name) else {
            return unknown;
        };
        let Known::Head(head) = &state.known else {
            return unknown;
        };
        let Some(standing) = head.participants.get(user) else {
            return unknown;
        };
        let mark = state
            .marks
            .get_or_insert_default()
            .entry(user.clone())
            .or_default();
        let read = mark.read_since(standing.joined);
        let delivered = if seq > mark.delivered { seq } else { Seq(0) };
        let (moves_shown, moves_own) = mark.read_to(seq, standing.joined);
        if !moves_shown && !moves_own {
            return Verdict::Rests(state.receipts_touched, Ok(Accepted::Done(Done::Marked)));
        }

        let mut pushes = Vec::new();
        if moves_shown {
            pushes.push(Push::Watermark {
                conversation: name.clone(),
                user: user.clone(),
                read: true,
                up_to: seq,
                ts: now_ms,
                targets: senders_between(head, read, seq, user),
                origin,
                unread: head.unread(user, mark.own_since(standing.joined)),
            });
        }
        if moves_own {
            pushes.push(own_push(head, name, (user, seq)));
        }

        let advance = Advance {
            user: user.clone(),
            delivered,
            read: seq,
        };
        let record = Record::Advances {
            conversation: name.clone(),
            ts: now_ms,
            advances: vec![advance],
        };
        let offset = self.appenders.receipts.decide(record, pushes);
        state.receipts_touched = offset;
        Verdict::Written(offset, Accepted::Done(Done::Marked))
    }

    pub(super) fn decide_react(
        &mut self,
        name: &ConversationName,
        (message_id, at): (MessageId, &Located),
        user: &UserId,
        (reaction, facts): (Option<u32>, &Facts),
    ) -> Verdict {
        let ts = self.now();
        let applied = self.setup.applied.receipts.borrow().offset;
        let unknown = Verdict::Rests(Offset(0), Err(message_unknown()));
        let Some(state) = self.conversations.get_mut(name) else {
            return unknown;
        };
        if !state
            .head()
            .is_some_and(|head| head.has(user) && at.seq > head.quiet)
        {
            return unknown;
        }

        // At twice as many as were left the last time, so that each is looked at a few times only.
        if state.reactions.len() >= state.reactions_tidied_at.max(REACTIONS_TIDIED_AT) {
            state.reactions.retain(|_, (offset, _)| *offset > applied);
            state.reactions_tidied_at = 2 * state.reactions.len();
        }

        // A deletion that is not committed yet is waited for: see `receipt_waits`.
        let deleted = at.deleted
            || self
                .messages
                .now(message_id)
                .is_some_and(|(_, message)| message.at.deleted);
        if deleted && reaction.is_some() {
            return Verdict::Rests(Offset(0), Err(message_deleted()));
        }

        let (conversation, user) = (name.clone(), user.clone());
        let place = (message_id, user.clone());
        let in_memory = state.reactions.get(&place).map(|(_, before)| *before);
        let previous = in_memory.or(facts.reaction).flatten();
        let push = Push::Reaction {
            conversation: name.clone(),
            user: user.clone(),
            message_id,
            reaction,
            ts,
            previous,
        };

        let record = Record::Reaction {
            conversation,
            message_id,
            user,
            reaction,
            ts,
        };
        let offset = self.appenders.receipts.decide(record, vec![push]);
        state.receipts_touched = offset;
        state.reaction_touched = offset;
        state.reactions.insert(place, (offset, reaction));
        Verdict::Written(offset, Accepted::Done(Done::Marked))
    }

    /// Gathers automatic delivered marks: the highest of each user, until the receipts stream is
    /// free.
    pub(super) fn take_delivered(&mut self, marks: Vec<Delivered>) {
        for Delivered {
            conversation,
            user,
            up_to,
        } in marks
        {
            if self.delivered_count >= DELIVERED_MAX || self.closing {
                telemetry::RECEIPTS_SHED.add(1, &[]);
                continue;
            }
            let mark = self
                .delivered
                .entry(conversation)
                .or_default()
                .entry(user)
                .or_insert_with(|| {
                    self.delivered_count += 1;
                    Seq(0)
                });
            *mark = up_to.max(*mark);
        }
    }

    pub(super) fn flush_delivered(&mut self) {
        if self.delivered.is_empty() || self.parking.is_stalled() || self.no_room().is_some() {
            return;
        }
        self.delivered_count = 0;
        for (name, marks) in std::mem::take(&mut self.delivered) {
            self.work(&name, WorkKind::Delivered(marks.into_iter().collect()));
        }
    }

    pub(super) fn decide_delivered(
        &mut self,
        name: &ConversationName,
        delivered: &[(UserId, Seq)],
    ) {
        let now_ms = self.now();
        let committed = self.appenders.messages.committed().offset;
        let Some(state) = self.conversations.get_mut(name) else {
            return;
        };

        // No one was given what is not committed, and its seq may yet be another message's.
        let last = state.committed_seq(committed);
        let unsure: Vec<&UserId> = delivered
            .iter()
            .map(|(user, _)| user)
            .filter(|user| state.standing_changes(user, committed).is_some())
            .collect();
        let Known::Head(head) = &state.known else {
            return;
        };

        if head.participants.len() > DELIVERED_PARTICIPANTS_MAX {
            return;
        }

        let marks = state.marks.get_or_insert_default();
        let mut advances = Vec::new();
        let mut pushes = Vec::new();

        for (user, up_to) in delivered {
            let up_to = (*up_to).min(last);
            // A mark of someone whose joining is taken back would stay; the next one covers it.
            if !head.has(user) || unsure.contains(&user) {
                continue;
            }
            let mark = marks.entry(user.clone()).or_default();
            if up_to <= mark.delivered {
                continue;
            }
            let targets = senders_between(head, mark.delivered, up_to, user);
            mark.delivered = up_to;
            advances.push(Advance {
                user: user.clone(),
                delivered: up_to,
                read: Seq(0),
            });
            if !targets.is_empty() {
                let (conversation, user) = (name.clone(), user.clone());
                let (read, ts, origin, unread) = (false, now_ms, None, None);
                pushes.push(Push::Watermark {
                    conversation,
                    user,
                    read,
                    up_to,
                    ts,
                    targets,
                    origin,
                    unread,
                });
            }
        }

        if !advances.is_empty() {
            let record = Record::Advances {
                conversation: name.clone(),
                ts: now_ms,
                advances,
            };
            state.receipts_touched = self.appenders.receipts.decide(record, pushes);
        }
    }
}

/// Authors among the newest messages that an advance from `from` (exclusive) to `to` covers, but
/// `user` themselves.
fn senders_between(head: &Head, from: Seq, to: Seq, user: &UserId) -> Vec<UserId> {
    let mut senders: Vec<UserId> = Vec::new();
    for Recent { seq, source, .. } in head.recent.iter().rev() {
        if *seq <= from {
            break;
        }
        if *seq <= to && source != user && !senders.contains(source) {
            senders.push(source.clone());
        }
    }
    senders
}
