//! What a client said and its node has not answered: kept in its order, so that another node can be
//! told it again. Pure.
//!
//! **Invariants.** A message goes to a node once, and again to another one after the first is lost;
//! never behind one that came later. It is kept until it is answered. A session whose node does not
//! tell of answers keeps what is not sent yet, and nothing else.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::IdempotencyKey;
use crate::link::front;
use crate::link::front::attach::Repeat;

/// A message of the client.
#[derive(Debug)]
struct Message {
    number: u64,
    text: Bytes,
    key: Option<String>,
    repeat: Repeat,
    /// It was answered, and is needed again all the same if its node is lost.
    is_answered: bool,
    /// It is the one by which the session watches.
    is_watch: bool,
}

/// A message as it goes to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// What it says.
    pub(super) text: Bytes,
    /// Its number.
    pub(super) number: u64,
    /// The key that it has at every node.
    pub(super) key: Option<String>,
    /// Whether it was said before.
    pub(super) repeat: Repeat,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    messages: VecDeque<Message>,
    /// How many of them the node was given.
    sent: usize,
    /// What those count for that are not answered.
    bytes: usize,
    /// What the answered ones count for.
    kept: usize,
    last: u64,
}

impl Unanswered {
    /// The client said something. A message that is followed gets a key.
    pub(super) fn add(&mut self, text: Bytes, is_followed: bool) {
        self.last += 1;
        self.bytes += cost(&text);
        let key = is_followed.then(|| IdempotencyKey::stamp().key.to_string());
        let message = Message {
            number: self.last,
            text,
            key,
            repeat: Repeat::First,
            is_answered: false,
            is_watch: false,
        };
        self.messages.push_back(message);
    }

    /// What the node is given next, and what it counts for.
    pub(super) fn next(&self) -> Option<(Said, usize)> {
        let Message {
            number,
            text,
            key,
            repeat,
            ..
        } = self.messages.get(self.sent)?;
        let said = Said {
            text: text.clone(),
            number: *number,
            key: key.clone(),
            repeat: *repeat,
        };
        Some((said, cost(text)))
    }

    /// The node was given the next one, and tells when it is answered if `is_followed`.
    pub(super) fn sent(&mut self, is_followed: bool) {
        if is_followed {
            self.sent += 1;
        } else {
            self.remove(self.sent);
        }
    }

    /// A message was answered.
    pub(super) fn answered(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.remove(place);
        }
    }

    /// A message was answered by which the session watches: it is needed again, until another one
    /// is.
    pub(super) fn watch_answered(&mut self, number: u64) {
        if let Some(before) = self
            .messages
            .iter()
            .position(|before| before.is_watch && before.number != number)
        {
            self.remove(before);
        }
        let place = self.place(number);
        if let Some(message) = place.and_then(|place| self.messages.get_mut(place)) {
            message.is_watch = true;
        }
        self.part_answered(number);
    }

    /// A part of a resume was answered: it is needed again, until the cursors are set.
    pub(super) fn part_answered(&mut self, number: u64) {
        let place = self.place(number);
        if let Some(message) = place
            .and_then(|place| self.messages.get_mut(place))
            .filter(|part| !part.is_answered)
        {
            message.is_answered = true;
            self.bytes = self.bytes.saturating_sub(cost(&message.text));
            self.kept += cost(&message.text);
        }
    }

    /// The cursors are set, or the resume is given up: no part of it is needed again.
    pub(super) fn placed(&mut self) {
        let mut place = 0;
        while self.kept > 0
            && let Some(message) = self.messages.get(place)
        {
            if message.is_answered && !message.is_watch {
                self.remove(place)
            } else {
                place += 1
            }
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.messages
            .binary_search_by(|message| message.number.cmp(&number))
            .ok()
    }

    fn remove(&mut self, place: usize) {
        let Some(message) = self.messages.remove(place) else {
            return;
        };
        let of = if message.is_answered {
            &mut self.kept
        } else {
            &mut self.bytes
        };
        *of = of.saturating_sub(cost(&message.text));
        self.sent -= usize::from(place < self.sent);
        if self.messages.is_empty() {
            // A quiet session keeps no room for what it once said.
            self.messages = VecDeque::new();
        }
    }

    /// The node is lost: all that it was given is to be said again.
    pub(super) fn lost(&mut self) {
        for message in self.messages.iter_mut().take(self.sent) {
            message.repeat = if message.is_answered {
                Repeat::Silent
            } else {
                Repeat::Again
            };
        }
        self.sent = 0;
    }

    /// How many the next node is told again.
    pub(super) fn again(&self) -> usize {
        self.messages
            .iter()
            .filter(|message| message.repeat != Repeat::First)
            .count()
    }

    /// Something is to be given to the node.
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.messages.len()
    }

    /// What those count for that are not answered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What those count for that are kept though they are answered.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept
    }
}

fn cost(text: &Bytes) -> usize {
    usize::try_from(front::cost(text.len())).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(unanswered: &mut Unanswered) -> Vec<(u64, Repeat)> {
        let mut all = Vec::new();
        while let Some((said, _)) = unanswered.next() {
            all.push((said.number, said.repeat));
            unanswered.sent(true);
        }
        all
    }

    fn with(count: u64) -> Unanswered {
        let mut unanswered = Unanswered::default();
        (0..count).for_each(|_| unanswered.add(Bytes::from_static(b"{}"), true));
        unanswered
    }

    #[test]
    fn what_is_not_answered_is_said_again_in_its_order_under_its_keys() {
        let mut unanswered = with(4);
        let first = unanswered.next().expect("a message").0;
        assert_eq!(said(&mut unanswered).len(), 4);

        unanswered.answered(2);
        unanswered.lost();
        unanswered.add(Bytes::from_static(b"{}"), true);

        assert_eq!(
            unanswered.next().expect("a message").0.key,
            first.key,
            "another key would be another message"
        );

        let again = [
            (1, Repeat::Again),
            (3, Repeat::Again),
            (4, Repeat::Again),
            (5, Repeat::First),
        ];

        assert_eq!(said(&mut unanswered), again);
        (1..=5).for_each(|number| unanswered.answered(number));
        assert_eq!((unanswered.bytes(), unanswered.has_unsent()), (0, false));
    }

    #[test]
    fn what_was_never_given_to_a_node_is_not_said_again() {
        let mut unanswered = with(2);
        unanswered.sent(true);
        unanswered.lost();
        assert_eq!(
            said(&mut unanswered),
            [(1, Repeat::Again), (2, Repeat::First)]
        );
    }

    #[test]
    fn the_first_frames_of_a_resume_are_said_again_silently_until_its_last_is_answered() {
        let mut unanswered = with(4);
        said(&mut unanswered);
        unanswered.part_answered(1);
        unanswered.part_answered(2);
        unanswered.answered(3);
        assert!(unanswered.bytes() > 0 && unanswered.kept_bytes() > 0);
        unanswered.lost();
        assert_eq!(
            said(&mut unanswered),
            [(1, Repeat::Silent), (2, Repeat::Silent), (4, Repeat::Again)]
        );
        unanswered.part_answered(1);
        unanswered.answered(4);
        unanswered.placed();
        assert_eq!((unanswered.bytes(), unanswered.kept_bytes()), (0, 0));
    }

    #[test]
    fn the_last_watch_is_said_again_silently_to_each_node() {
        let mut unanswered = with(3);
        said(&mut unanswered);
        unanswered.watch_answered(1);
        unanswered.part_answered(2);
        unanswered.watch_answered(3);
        unanswered.placed();

        for _ in 0..2 {
            unanswered.lost();
            assert_eq!(
                said(&mut unanswered),
                [(3, Repeat::Silent)],
                "the one before it is of no use"
            );
            unanswered.watch_answered(3);
        }

        assert_eq!(unanswered.bytes(), 0);
    }

    #[test]
    fn of_a_session_that_is_not_followed_nothing_is_kept() {
        let mut unanswered = Unanswered::default();
        unanswered.add(Bytes::from_static(b"{}"), false);
        assert_eq!(unanswered.next().expect("a message").0.key, None);
        unanswered.sent(false);
        assert_eq!((unanswered.bytes(), unanswered.has_unsent()), (0, false));
    }
}
