//! The names of conversations, each once for all sessions of a router, so that a session keeps a
//! pointer and not a name.
//!
//! **Invariant.** As long as a name is kept anywhere, whoever asks for it gets the same one: two
//! are equal only if they are the same.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::ids::ConversationName;

/// The table is looked through for names that nobody keeps when it has grown to twice what was left
/// the last time, and to this many at least.
const TIDY_AT: usize = 1_024;

/// The name of a conversation. Cheap to clone and to compare; its order means nothing.
#[derive(Debug, Clone)]
pub(super) struct Name(Arc<ConversationName>);

impl Name {
    /// What it is.
    pub(super) fn text(&self) -> &ConversationName {
        &self.0
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.address().cmp(&other.address())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    names: HashMap<ConversationName, Weak<ConversationName>>,
    tidy_at: usize,
}

impl Names {
    /// The one that all have.
    pub(super) fn of(&self, name: &ConversationName) -> Name {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = known.names.get(name).and_then(Weak::upgrade) {
            return Name(kept);
        }
        if known.names.len() >= known.tidy_at.max(TIDY_AT) {
            known.names.retain(|_, kept| kept.strong_count() > 0);
            known.tidy_at = known.names.len() * 2;
        }
        let new = Arc::new(name.clone());
        known.names.insert(name.clone(), Arc::downgrade(&new));
        Name(new)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .names
            .len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ConversationName {
        ConversationName::parse(&format!("c{number}")).expect("a name")
    }

    #[test]
    fn a_name_is_one_and_the_same_for_all_who_keep_it() {
        let names = Names::default();
        let (one, same, other) = (names.of(&name(1)), names.of(&name(1)), names.of(&name(2)));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one.text(), &name(1));
    }

    #[test]
    fn names_that_nobody_keeps_are_forgotten() {
        let names = Names::default();
        let kept: Vec<_> = (0..100).map(|number| names.of(&name(number))).collect();
        for number in 100..100_000 {
            names.of(&name(number));
        }
        assert!(names.len() <= 2 * TIDY_AT, "{} names", names.len());
        assert!((0..100).all(|number| names.of(&name(number)) == kept[number]));
    }
}
