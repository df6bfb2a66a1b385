//! The conversation of boards in tests, and what is said in it.

use std::sync::Arc;

use crate::ids::{ConversationName, Epoch, MessageId, Seq, Slot, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::command::Push;

/// The conversation.
pub(super) fn name() -> ConversationName {
    ConversationName::parse("c").expect("a name")
}

/// A user of this name.
pub(super) fn user(text: &str) -> UserId {
    UserId::parse(text).expect("a name")
}

/// A message of alice in that conversation, as its owner pushes it.
pub(super) fn message(seq: u64, text: &str) -> Push {
    let id = MessageId::new(1, Slot(0), seq);
    let kind = EventKind::Message {
        id,
        source: user("alice"),
        text: Arc::from(text),
        reply_to: None,
        data: None,
        mentions: Vec::new(),
        since: None,
    };
    Push::Event {
        epoch: Epoch(1),
        event: Arc::new(Event {
            conversation: name(),
            seq: Seq(seq),
            created: 1,
            key: None,
            kind,
        }),
    }
}
