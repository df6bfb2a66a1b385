//! Messages that records not applied yet sent or changed: how each stands after each of these
//! records. Of every other message the file has all that there is.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;

use crate::ids::{MessageId, Offset};
use crate::log::record::{Content, Event, EventKind};
use crate::shard::file::store::{HeldMessage, Located};

/// See the head of this file. As many states as there are such records; their texts are those of
/// the records.
#[derive(Debug, Default)]
pub(super) struct Unapplied(HashMap<MessageId, States>);

/// How a message stands after a record.
type State = (Offset, HeldMessage);

/// In the order of the records. Most messages have one state, which takes no room of its own.
#[derive(Debug)]
struct States {
    oldest: State,
    later: VecDeque<State>,
}

impl Unapplied {
    /// How a message stands after everything that was decided, and the offset of the last record
    /// that concerned it.
    pub(super) fn now(&self, id: MessageId) -> Option<&State> {
        let states = self.0.get(&id)?;
        Some(states.later.back().unwrap_or(&states.oldest))
    }

    /// How it stands after everything committed.
    pub(super) fn committed(&self, id: MessageId, committed: Offset) -> Option<&HeldMessage> {
        let states = self.0.get(&id)?;
        let newest_first = states.later.iter().rev().chain([&states.oldest]);
        newest_first
            .skip_while(|(offset, _)| *offset > committed)
            .map(|(_, message)| message)
            .next()
    }

    /// A record at that offset makes it so.
    pub(super) fn push(&mut self, id: MessageId, offset: Offset, message: HeldMessage) {
        match self.0.entry(id) {
            Entry::Occupied(mut states) => states.get_mut().later.push_back((offset, message)),
            Entry::Vacant(none) => {
                none.insert(States {
                    oldest: (offset, message),
                    later: VecDeque::new(),
                });
            }
        }
    }

    /// The file has the record at that offset, which concerned this message.
    pub(super) fn applied(&mut self, id: MessageId, upto: Offset) {
        let Entry::Occupied(mut states) = self.0.entry(id) else {
            return;
        };
        while states.get().oldest.0 <= upto {
            let Some(next) = states.get_mut().later.pop_front() else {
                states.remove();
                return;
            };
            states.get_mut().oldest = next;
        }
    }

    /// The records behind that offset are void.
    pub(super) fn take_back(&mut self, committed: Offset) {
        self.0.retain(|_, states| {
            while states
                .later
                .pop_back_if(|(offset, _)| *offset > committed)
                .is_some()
            {}
            states.oldest.0 <= committed
        });
    }
}

/// A message as it is sent; `None` of any other event.
pub(super) fn sent(event: &Event) -> Option<(MessageId, HeldMessage)> {
    let EventKind::Message {
        id,
        source,
        text,
        data,
        mentions,
        ..
    } = &event.kind
    else {
        return None;
    };

    let at = Located {
        conversation: event.conversation.clone(),
        seq: event.seq,
        source: source.clone(),
        deleted: false,
    };
    let content = Content {
        text: Arc::clone(text),
        data: data.clone(),
        mentions: mentions.clone(),
    };

    Some((
        *id,
        HeldMessage {
            at,
            content,
            edits: 0,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;
    use crate::shard::file::store::tests::{conversation, user};

    fn message(edits: u32) -> HeldMessage {
        let at = Located {
            conversation: conversation("c"),
            seq: Seq(2),
            source: user("alice"),
            deleted: false,
        };
        HeldMessage {
            at,
            content: Content::none(),
            edits,
        }
    }

    fn states() -> (MessageId, Unapplied) {
        let id = MessageId::new(1, conversation("c").slot(), 2);
        let mut unapplied = Unapplied::default();
        for (edits, offset) in [(0, 3), (1, 5), (2, 9)] {
            unapplied.push(id, Offset(offset), message(edits));
        }
        (id, unapplied)
    }

    #[test]
    fn what_is_committed_is_told_apart_from_what_is_only_decided() {
        let (id, unapplied) = states();
        assert_eq!(unapplied.now(id), Some(&(Offset(9), message(2))));
        let committed = [2, 3, 8, 9].map(|offset| {
            unapplied
                .committed(id, Offset(offset))
                .map(|held| held.edits)
        });
        assert_eq!(committed, [None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_state_goes_when_it_is_applied_and_when_it_is_taken_back() {
        let (id, mut unapplied) = states();
        unapplied.applied(id, Offset(5));
        assert_eq!(unapplied.committed(id, Offset(8)), None, "the file has it");
        unapplied.take_back(Offset(8));
        assert_eq!(unapplied.now(id), None);
        let mut whole = states().1;
        whole.take_back(Offset(5));
        assert_eq!(whole.now(id), Some(&(Offset(5), message(1))));
        whole.applied(id, Offset(5));
        assert!(whole.0.is_empty());
    }
}
