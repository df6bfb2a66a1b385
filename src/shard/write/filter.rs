//! A filter over the idempotency keys that clients used in the last 24 hours: "surely never used"
//! is answered from memory, only "perhaps" costs a look-up in SQLite.

use std::time::Duration;

use fastbloom::BloomFilter;

use crate::ids::{ConversationName, UserId};

/// Keys per generation for which the filter is sized; with more of them it answers "perhaps" more
/// often, never wrongly.
const KEYS_EXPECTED: usize = 32_768;
const FALSE_POSITIVES: f64 = 0.01;
/// A generation lives this long, and one is kept behind it: a key is remembered for 24 to 48 h.
const GENERATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Remembers used keys; bounded, about 80 KiB.
#[derive(Debug)]
pub(in crate::shard) struct KeyFilter {
    current: BloomFilter,
    previous: BloomFilter,
    /// When the current one began, on a clock that nobody sets.
    since: Duration,
    /// What was used before it was made is in it too.
    filled: bool,
}

impl KeyFilter {
    /// A filter that knows nothing yet: "perhaps" of every key until it is
    /// [`filled`](Self::filled).
    #[must_use]
    pub(in crate::shard) fn new(since_boot: Duration) -> Self {
        Self {
            current: generation(),
            previous: generation(),
            since: since_boot,
            filled: false,
        }
    }

    /// Everything that was used before it was made has been inserted.
    pub(in crate::shard) fn filled(&mut self) {
        self.filled = true;
    }

    /// Remembers that `sender` used `key` in `conversation`.
    pub(in crate::shard) fn insert(
        &mut self,
        conversation: &ConversationName,
        sender: &UserId,
        key: &str,
        since_boot: Duration,
    ) {
        if since_boot.saturating_sub(self.since) >= GENERATION {
            self.previous = std::mem::replace(&mut self.current, generation());
            self.since = since_boot;
        }
        self.current
            .insert(&(conversation.as_str(), sender.as_str(), key));
    }

    /// False when the key was surely not used in the last 24 h.
    #[must_use]
    pub(in crate::shard) fn perhaps_used(
        &self,
        conversation: &ConversationName,
        sender: &UserId,
        key: &str,
    ) -> bool {
        let use_of = (conversation.as_str(), sender.as_str(), key);
        !self.filled || self.current.contains(&use_of) || self.previous.contains(&use_of)
    }
}

fn generation() -> BloomFilter {
    BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(KEYS_EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_key_is_remembered_for_a_day_and_forgotten_after_two() {
        let (conversation, sender) = (
            ConversationName::parse("c").expect("name"),
            UserId::parse("u").expect("name"),
        );
        let mut filter = KeyFilter::new(Duration::ZERO);

        assert!(
            filter.perhaps_used(&conversation, &sender, "never"),
            "nobody knows yet"
        );

        filter.filled();
        assert!(!filter.perhaps_used(&conversation, &sender, "never"));

        filter.insert(&conversation, &sender, "first", Duration::ZERO);
        filter.insert(&conversation, &sender, "second", GENERATION);
        assert!(filter.perhaps_used(&conversation, &sender, "first"));

        filter.insert(&conversation, &sender, "third", GENERATION * 2);
        assert!(!filter.perhaps_used(&conversation, &sender, "first"));
        assert!(filter.perhaps_used(&conversation, &sender, "second"));
    }
}
