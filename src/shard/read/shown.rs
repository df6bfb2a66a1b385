//! Puts what is committed and perhaps not applied yet over what the file has: messages and events
//! as they stand now. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{MessageId, Seq};
use crate::log::record::{Content, Event, EventKind, Since};
use crate::protocol::JsonObject;
use crate::shard::file::store::ShownMessage;

/// The last change of each message that the events tell of.
struct Changes<'a>(HashMap<MessageId, &'a Event>);

impl<'a> Changes<'a> {
    fn of(tail: &'a [Arc<Event>]) -> Self {
        let changes = tail
            .iter()
            .filter(|event| !matches!(event.kind, EventKind::Message { .. }));
        Self(
            changes
                .filter_map(|event| Some((event.kind.message_id()?, &**event)))
                .collect(),
        )
    }

    /// The last change of a message, if it is later than what is known of it.
    fn after(&self, id: MessageId, known: Seq) -> Option<&'a Event> {
        self.0.get(&id).copied().filter(|change| change.seq > known)
    }
}

/// What a change leaves of a message.
fn left_by(change: &Event) -> (Content, Since) {
    match &change.kind {
        EventKind::Edited {
            text,
            data,
            mentions,
            ..
        } => {
            let content = Content {
                text: Arc::clone(text),
                data: data.clone(),
                mentions: mentions.clone(),
            };
            (
                content,
                Since {
                    seq: change.seq,
                    edited: Some(change.created),
                    deleted_by: None,
                },
            )
        }
        _ => {
            let deleted_by = Some(change.actor().clone());
            (
                Content::none(),
                Since {
                    seq: change.seq,
                    edited: None,
                    deleted_by,
                },
            )
        }
    }
}

/// Messages of the file as they stand after the events of the tail.
pub(in crate::shard) fn over_messages(messages: &mut [ShownMessage], tail: &[Arc<Event>]) {
    let changes = Changes::of(tail);
    for message in messages {
        let Some(change) = changes.after(message.core.id, message.changed) else {
            continue;
        };
        let (content, since) = left_by(change);
        let core = &mut message.core;
        (core.text, core.mentions) = (content.text.as_ref().to_owned(), content.mentions);
        core.data = content.data.map(JsonObject::stored);
        core.edited = since.edited;
        core.deleted = since.deleted_by.is_some();
        core.deleted_by = since.deleted_by;
        message.changed = since.seq;
    }
}

/// Events of the file and of the tail as their messages stand after the events of the tail.
pub(in crate::shard) fn over_events(events: &mut [Arc<Event>], tail: &[Arc<Event>]) {
    let changes = Changes::of(tail);
    if changes.0.is_empty() {
        return;
    }

    for event in events {
        let known = match &event.kind {
            EventKind::Message { since, .. } => since.as_ref().map_or(Seq(0), |since| since.seq),
            EventKind::Edited {
                superseded: false, ..
            } => event.seq,
            _ => continue,
        };
        let Some(change) = event
            .kind
            .message_id()
            .and_then(|id| changes.after(id, known))
        else {
            continue;
        };
        let (content, since) = left_by(change);
        *event = Arc::new(with(event, content, Some(since)));
    }
}

/// Events for whoever was removed at `left`: of a message that was changed after that they get no
/// content.
pub(in crate::shard) fn withheld(events: &mut [Arc<Event>], left: Seq) {
    for event in events.iter_mut().filter(|event| changed(event) > left) {
        *event = Arc::new(with(event, Content::none(), None));
    }
}

/// Seq of the last change of the message that an event sends, as far as that is known; 0 when there
/// was none.
fn changed(event: &Event) -> Seq {
    match &event.kind {
        EventKind::Message {
            since: Some(since), ..
        } => since.seq,
        _ => Seq(0),
    }
}

/// Whether a message among these events was changed after that seq.
pub(in crate::shard) fn is_changed_after(events: &[Arc<Event>], seq: Seq) -> bool {
    events.iter().any(|event| changed(event) > seq)
}

/// The event with what its message says now; an edit is superseded by it.
fn with(event: &Event, content: Content, now: Option<Since>) -> Event {
    let kind = match &event.kind {
        EventKind::Message {
            id,
            source,
            reply_to,
            ..
        } => EventKind::message(*id, source.clone(), content, *reply_to),
        EventKind::Edited {
            message_id,
            message_seq,
            by,
            ..
        } => {
            let (
                Content {
                    text,
                    data,
                    mentions,
                },
                by,
            ) = (Content::none(), by.clone());
            let (message_id, message_seq) = (*message_id, *message_seq);
            EventKind::Edited {
                message_id,
                message_seq,
                by,
                text,
                data,
                mentions,
                superseded: true,
            }
        }
        other => other.clone(),
    };
    Event {
        kind,
        ..event.clone()
    }
    .since(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::shard::command::core_of;
    use crate::shard::file::store::tests::{conversation, user};

    fn id(number: u64) -> MessageId {
        MessageId::new(1, conversation("c").slot(), number)
    }

    fn event(seq: u64, kind: EventKind) -> Arc<Event> {
        Arc::new(Event {
            conversation: conversation("c"),
            seq: Seq(seq),
            created: 100 + seq,
            key: None,
            kind,
        })
    }

    fn sent(seq: u64) -> Arc<Event> {
        event(
            seq,
            EventKind::plain(id(seq), alice(), format!("text {seq}")),
        )
    }

    fn alice() -> UserId {
        user("alice")
    }

    fn edited(seq: u64, of: u64) -> Arc<Event> {
        let (message_id, message_seq, text) = (id(of), Seq(of), format!("edit {seq}").into());
        let (data, mentions, superseded) = (Some("{}".into()), vec![alice()], false);
        event(
            seq,
            EventKind::Edited {
                message_id,
                message_seq,
                by: alice(),
                text,
                data,
                mentions,
                superseded,
            },
        )
    }

    fn deleted(seq: u64, of: u64) -> Arc<Event> {
        event(
            seq,
            EventKind::Deleted {
                message_id: id(of),
                message_seq: Seq(of),
                by: user("admin"),
            },
        )
    }

    /// The events after some of them are applied and the others are put over.
    fn shown(all: &[Arc<Event>], applied: usize) -> Vec<Arc<Event>> {
        let mut file = all[..applied].to_vec();
        over_events(&mut file, &all[..applied]);
        file.extend(all[applied..].iter().cloned());
        over_events(&mut file, &all[applied..]);
        file
    }

    #[test]
    fn events_are_the_same_however_many_of_them_are_applied() {
        let all = [
            sent(2),
            sent(3),
            edited(4, 2),
            sent(5),
            edited(6, 2),
            deleted(7, 3),
            edited(8, 5),
        ];
        let whole = shown(&all, all.len());
        for applied in 0..all.len() {
            assert_eq!(shown(&all, applied), whole, "{applied}");
        }

        let texts: Vec<Option<String>> = whole
            .iter()
            .map(|event| core_of(event).map(|core| core.text))
            .collect();
        let text = |text: &str| Some(text.to_owned());

        assert_eq!(
            texts,
            [
                text("edit 6"),
                text(""),
                None,
                text("edit 8"),
                None,
                None,
                None
            ]
        );

        let is_superseded = |event: &&Arc<Event>| {
            matches!(
                event.kind,
                EventKind::Edited {
                    superseded: true,
                    ..
                }
            )
        };

        assert_eq!(
            whole
                .iter()
                .filter(is_superseded)
                .map(|event| event.seq.0)
                .collect::<Vec<_>>(),
            [4]
        );

        let deleted = core_of(&whole[1]).expect("a message");
        assert_eq!(
            (deleted.deleted, deleted.deleted_by, deleted.edited),
            (true, Some(user("admin")), None)
        );
        assert_eq!(core_of(&whole[0]).expect("a message").edited, Some(106));
    }

    #[test]
    fn what_the_file_knows_better_stays() {
        let core = core_of(&sent(2)).expect("a message");
        let mut message = [ShownMessage {
            core: core.clone(),
            changed: Seq(9),
        }];
        over_messages(&mut message, &[edited(4, 2)]);
        assert_eq!(message[0].core, core);

        let mut older = [ShownMessage {
            core,
            changed: Seq(0),
        }];
        over_messages(&mut older, &[edited(4, 2), edited(5, 2)]);

        assert_eq!(
            (
                older[0].core.text.as_str(),
                older[0].core.edited,
                older[0].changed
            ),
            ("edit 5", Some(105), Seq(5))
        );

        over_messages(&mut older, &[deleted(6, 2)]);
        assert_eq!(
            (
                older[0].core.text.as_str(),
                older[0].core.deleted,
                &older[0].core.data
            ),
            ("", true, &None)
        );
    }

    #[test]
    fn who_left_gets_no_content_of_what_was_changed_after_that() {
        let mut events = shown(&[sent(2), sent(3), edited(4, 3), edited(6, 2)], 4);
        events.truncate(3);
        assert!(is_changed_after(&events, Seq(5)) && !is_changed_after(&events, Seq(6)));
        withheld(&mut events, Seq(5));
        let first = core_of(&events[0]).expect("a message");
        assert_eq!((first.text.as_str(), first.edited), ("", None));
        assert_eq!(core_of(&events[1]).expect("a message").text, "edit 4");
    }
}
