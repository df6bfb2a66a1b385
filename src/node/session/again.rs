//! What a client says again after its node was lost: gathered until all of it is there, so that
//! each message is known with those that follow it. A later one may have been written by the lost
//! node though an earlier one was not: then the earlier one is not written any more, as it would
//! come after the later (ADR 7, interleaving 30).
//!
//! **Bound.** As many bytes as a router keeps of unanswered messages.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ids::IdempotencyKey;
use crate::link::front;
use crate::link::front::attach::Repeat;
use crate::node::session::said::Message;
use crate::protocol::{ClientFrame, FRAME_BYTES_MAX};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Again(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many are still to come.
    expected: usize,
    bytes: usize,
    messages: Vec<Message>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Gathered {
    /// It is worked on by itself.
    Now(Message),
    /// These are, in this order.
    All(Vec<Message>),
    /// Others are awaited.
    Later,
    /// The router sends more than it may.
    TooMuch,
}

impl Again {
    /// So many messages are to come again.
    pub(super) fn expect(&self, count: usize) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .expected = count;
    }

    /// Takes a message in.
    pub(super) fn gather(&self, message: Message, half: usize) -> Gathered {
        if message.repeat == Repeat::First {
            return Gathered::Now(message);
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.expected == 0 {
            return Gathered::Now(message);
        }

        state.expected -= 1;
        state.bytes += usize::try_from(front::cost(message.text.len())).unwrap_or(usize::MAX);
        state.messages.push(message);
        if state.bytes > half.saturating_mul(2).saturating_add(FRAME_BYTES_MAX) {
            return Gathered::TooMuch;
        }
        if state.expected > 0 {
            return Gathered::Later;
        }

        state.bytes = 0;
        Gathered::All(with_later(std::mem::take(&mut state.messages)))
    }
}

/// What a message is for: those for the same must not change places.
#[derive(Debug, PartialEq, Eq, Hash)]
enum For {
    /// A send to this conversation.
    Conversation(String),
    /// An edit of this message.
    Message(String),
}

/// The messages, each with the keys of those behind it that are for the same conversation or
/// message.
fn with_later(mut messages: Vec<Message>) -> Vec<Message> {
    let mut behind: HashMap<For, Vec<IdempotencyKey>> = HashMap::new();
    for message in messages.iter_mut().rev() {
        let (of, client_id) = match ClientFrame::parse(&message.text) {
            (
                _,
                Ok(ClientFrame::Send {
                    conversation,
                    client_id,
                    ..
                }),
            ) => (For::Conversation(conversation), client_id),
            (
                _,
                Ok(ClientFrame::Edit {
                    message_id,
                    client_id,
                    ..
                }),
            ) => (For::Message(message_id), client_id),
            _ => continue,
        };
        let keys = behind.entry(of).or_default();
        message.later.clone_from(keys);
        keys.extend(message.key_with(client_id.as_deref()));
    }

    messages
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn said(number: u64, conversation: &str, client_id: Option<&str>) -> Message {
        let text =
            json!({"t": "send", "conversation": conversation, "text": "x", "client_id": client_id});
        let (text, key) = (
            Bytes::from(text.to_string()),
            Some(format!("router's {number}")),
        );
        Message {
            text,
            number,
            key,
            repeat: Repeat::Again,
            later: Vec::new(),
        }
    }

    #[test]
    fn what_is_said_again_is_known_with_what_follows_it_in_its_conversation() {
        let again = Again::default();
        again.expect(4);
        for (number, conversation, client_id) in
            [(1, "c", None), (2, "d", None), (3, "c", Some("mine"))]
        {
            assert!(matches!(
                again.gather(said(number, conversation, client_id), 10_000),
                Gathered::Later
            ));
        }

        let Gathered::All(all) = again.gather(said(4, "c", None), 10_000) else {
            panic!("all are there")
        };
        let later: Vec<Vec<_>> = all
            .iter()
            .map(|one| {
                one.later
                    .iter()
                    .map(|key| (&*key.key, key.stamped))
                    .collect()
            })
            .collect();
        assert_eq!(later[0], [("router's 4", true), ("mine", false)]);

        assert!(later[1].is_empty() && later[3].is_empty());
        assert_eq!(later[2], [("router's 4", true)]);
        assert!(
            matches!(again.gather(said(5, "c", None), 10_000), Gathered::Now(_)),
            "nothing more is awaited"
        );
    }

    #[test]
    fn edits_of_one_message_are_known_with_those_that_follow() {
        let again = Again::default();
        again.expect(3);

        let edit = |number, id: &str| {
            let text = json!({"t": "edit", "message_id": id, "text": "x"}).to_string();
            Message {
                text: Bytes::from(text),
                ..said(number, "c", None)
            }
        };
        let mut gathered = Gathered::Later;
        for message in [edit(1, "one"), said(2, "one", None), edit(3, "one")] {
            gathered = again.gather(message, 10_000);
        }

        let Gathered::All(all) = gathered else {
            panic!("all are there")
        };
        let later: Vec<usize> = all.iter().map(|one| one.later.len()).collect();
        assert_eq!(later, [1, 0, 0]);
    }

    #[test]
    fn a_router_that_says_more_again_than_it_may_keep_is_found() {
        let again = Again::default();
        again.expect(usize::MAX);
        let is_too_much = |_| matches!(again.gather(said(1, "c", None), 1_000), Gathered::TooMuch);
        assert!((0..10_000).any(is_too_much));
    }
}
