//! The conversation of boards in tests, what is said in it, and what owners answer of it.

use std::sync::Arc;

use super::board::Board;
use crate::ids::{ConversationName, Epoch, MessageId, Offset, Seq, Slot, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::IndexPage;
use crate::shard::command::{IndexItem, Push, Subscribed};

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

/// The row of an index that has its user in this conversation since seq 1.
pub(super) fn row(conversation: ConversationName, version: u64) -> IndexItem {
    IndexItem {
        conversation,
        seq: Seq(1),
        joined: true,
        version: Offset(version),
    }
}

/// An index of these rows, in one page.
pub(super) fn whole(items: Vec<IndexItem>) -> IndexPage {
    IndexPage { items, more: false }
}

/// The index that the board asked for is read: it has these rows.
pub(super) fn index_read(board: &mut Board, items: Vec<IndexItem>) {
    let load = board.take_work().loads.remove(0);
    board.loaded(&load, &whole(items));
}

/// What an owner answers to somebody who is in since seq 1 and missed nothing up to this tail.
pub(super) fn caught_up(tail: Seq) -> Subscribed {
    Subscribed::Live {
        pruned: Seq(0),
        tail,
        joined: Seq(1),
        events: Vec::new(),
        departed: None,
    }
}

/// The owner whom the board asked answers so.
pub(super) fn owner_answers(board: &mut Board, tail: Seq) {
    let ask = board.take_work().asks.remove(0);
    board.subscribed(&ask, caught_up(tail));
}
