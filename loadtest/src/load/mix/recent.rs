//! Messages of a conversation that something can be done to: the newest that were acknowledged. A
//! message that somebody changes is taken out meanwhile, so that no two do at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// Messages that are kept of a conversation; older ones are let go.
const KEPT: usize = 64;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its id.
    pub(crate) id: String,
    /// Its seq.
    pub(crate) seq: u64,
    /// Number of the send.
    pub(crate) number: u64,
    /// Who sent it.
    pub(crate) sender: usize,
}

/// Those of all conversations.
#[derive(Debug)]
pub(crate) struct Recent {
    of: Vec<Mutex<VecDeque<Message>>>,
}

impl Recent {
    /// None yet.
    pub(crate) fn new(conversations: usize) -> Self {
        Self {
            of: (0..conversations).map(|_| Mutex::default()).collect(),
        }
    }

    /// A message was acknowledged, or is to be had again.
    pub(crate) fn add(&self, conversation: usize, message: Message) {
        self.with(conversation, |kept| {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(message);
            Some(())
        });
    }

    /// One of them.
    pub(crate) fn any(&self, conversation: usize, chance: &mut impl Rng) -> Option<Message> {
        self.with(conversation, |kept| {
            let index = chance.random_range(0..kept.len().max(1));
            kept.get(index).cloned()
        })
    }

    /// The one that was added last.
    pub(crate) fn newest(&self, conversation: usize) -> Option<Message> {
        self.with(conversation, |kept| kept.back().cloned())
    }

    /// One of them, which no other gets.
    pub(crate) fn take(&self, conversation: usize, chance: &mut impl Rng) -> Option<Message> {
        self.with(conversation, |kept| {
            let index = chance.random_range(0..kept.len().max(1));
            kept.remove(index)
        })
    }

    fn with<T>(
        &self,
        conversation: usize,
        of: impl FnOnce(&mut VecDeque<Message>) -> Option<T>,
    ) -> Option<T> {
        let kept = self.of.get(conversation)?;
        of(&mut kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn message(number: u64) -> Message {
        Message {
            id: number.to_string(),
            seq: number + 2,
            number,
            sender: 0,
        }
    }

    #[test]
    fn the_newest_are_kept_and_what_one_takes_no_other_gets() {
        let recent = Recent::new(1);
        let mut chance = rand::rngs::SmallRng::seed_from_u64(1);
        assert_eq!(recent.take(0, &mut chance), None);
        (0..100).for_each(|number| recent.add(0, message(number)));
        assert_eq!(recent.newest(0), Some(message(99)));

        let mut taken: Vec<u64> = std::iter::from_fn(|| recent.take(0, &mut chance))
            .map(|message| message.number)
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, (36..100).collect::<Vec<_>>());
        assert_eq!(recent.any(0, &mut chance), None);
        assert_eq!(
            recent.any(1, &mut chance),
            None,
            "there is no such conversation"
        );
    }
}
