//! The newest messages of a conversation: whom a watermark concerns, and what is unread after it.

use crate::ids::{Seq, UserId};
use crate::log::record::{Event, EventKind};
use crate::protocol::UNREAD_MAX;
use crate::shard::command::Unread;
use crate::shard::file::store::Recent;
use crate::shard::write::head::fold::Head;

/// How many of the newest messages are kept.
pub(in crate::shard) const RECENT_MAX: usize = 200;

impl Head {
    /// Takes in a message, an edit, or a deletion.
    pub(super) fn note_recent(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Message {
                source, mentions, ..
            } => {
                self.recent.push_back(Recent {
                    seq: event.seq,
                    source: source.clone(),
                    mentions: mentions.clone(),
                    deleted: false,
                });
                if self.recent.len() > RECENT_MAX {
                    self.recent.pop_front();
                }
            }
            EventKind::Edited {
                message_seq,
                mentions,
                ..
            } => {
                if let Some(recent) = self.recent_at(*message_seq) {
                    recent.mentions.clone_from(mentions);
                }
            }
            EventKind::Deleted { message_seq, .. } => {
                if let Some(recent) = self.recent_at(*message_seq) {
                    (recent.mentions, recent.deleted) = (Vec::new(), true);
                }
            }
            _ => {}
        }
    }

    fn recent_at(&mut self, seq: Seq) -> Option<&mut Recent> {
        let at = self.recent.binary_search_by_key(&seq, |recent| recent.seq);
        self.recent.get_mut(at.ok()?)
    }

    /// What somebody has not read who has read up to there; `None` when there may be more than what
    /// is kept.
    #[must_use]
    pub(in crate::shard) fn unread(&self, user: &UserId, read_up_to: Seq) -> Option<Unread> {
        let oldest = self.recent.front().map_or(Seq(0), |recent| recent.seq);
        if self.recent.len() >= RECENT_MAX && oldest > read_up_to.next() {
            return None;
        }

        let after = self.recent.iter().rev();
        let unread = after
            .take_while(|recent| recent.seq > read_up_to)
            .filter(|recent| recent.source != *user && !recent.deleted);
        let mut counted = Unread {
            messages: 0,
            mentions: 0,
        };
        for recent in unread {
            counted.messages = (counted.messages + 1).min(UNREAD_MAX);
            counted.mentions += u32::from(recent.mentions.contains(user));
        }
        Some(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::log::record::Content;
    use crate::shard::command::Create;
    use crate::shard::file::store::tests::{conversation, user};
    use crate::shard::write::head::decide_create;

    fn head() -> Head {
        let begun = decide_create(&Create::of("c", &["alice", "bob"]), 1);
        Head::begun(&begun, crate::ids::Offset(1)).expect("a head")
    }

    fn happen(head: &mut Head, kind: EventKind) -> Seq {
        let seq = head.last_seq.next();
        head.advance(&Event {
            conversation: conversation("c"),
            seq,
            created: seq.0,
            key: None,
            kind,
        });
        seq
    }

    fn say(head: &mut Head, who: &str, mentions: &[&str]) -> Seq {
        let id = MessageId::new(1, conversation("c").slot(), head.last_seq.0);
        let content = Content {
            text: "x".into(),
            data: None,
            mentions: mentions.iter().map(|name| user(name)).collect(),
        };
        happen(head, EventKind::message(id, user(who), content, None))
    }

    fn unread(head: &Head, read_up_to: Seq) -> Option<(u32, u32)> {
        let unread = head.unread(&user("bob"), read_up_to)?;
        Some((unread.messages, unread.mentions))
    }

    #[test]
    fn what_is_unread_follows_messages_edits_and_deletions() {
        let mut head = head();
        let first = say(&mut head, "alice", &["bob"]);
        let second = say(&mut head, "alice", &[]);
        say(&mut head, "bob", &["bob"]);
        assert_eq!(unread(&head, Seq(1)), Some((2, 1)));
        assert_eq!(unread(&head, first), Some((1, 0)));

        let id = MessageId::new(1, conversation("c").slot(), 1);
        let edited = EventKind::Edited {
            message_id: id,
            message_seq: second,
            by: user("alice"),
            text: "y".into(),
            data: None,
            mentions: vec![user("bob")],
            superseded: false,
        };
        happen(&mut head, edited);
        assert_eq!(unread(&head, Seq(1)), Some((2, 2)));

        let deleted = EventKind::Deleted {
            message_id: id,
            message_seq: first,
            by: user("alice"),
        };
        happen(&mut head, deleted);
        assert_eq!(unread(&head, Seq(1)), Some((1, 1)));
    }

    #[test]
    fn what_is_older_than_what_is_kept_is_not_guessed() {
        let mut head = head();
        for _ in 0..=RECENT_MAX {
            say(&mut head, "alice", &[]);
        }
        assert_eq!(unread(&head, Seq(1)), None);
        assert_eq!(unread(&head, Seq(2)), Some((200, 0)));
    }
}
