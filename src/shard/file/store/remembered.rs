//! What the writer need not read back, since it wrote it itself: nobody else writes to the file.
//! Only rows that are in the file are remembered; what is not here is asked for.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::ids::{ConversationName, Seq};

/// Rows of each kind remembered; when it is reached all of them are forgotten, and asked for again
/// as needed.
const REMEMBERED_MAX: usize = 4096;

/// Last seqs of the conversations written to lately, and whether they are closed.
pub(super) type LastSeqs = Remembered<ConversationName, (Seq, bool)>;

/// Rows of one kind, by key.
#[derive(Debug)]
pub(super) struct Remembered<K, V>(HashMap<K, V>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash, V: Copy> Remembered<K, V> {
    /// What is remembered of a key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).copied()
    }

    /// Takes note of rows that are in the file now.
    pub(super) fn learn<W>(&mut self, rows: &BTreeMap<K, W>, value: impl Fn(&W) -> V) {
        if self.0.len() + rows.len() > REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.extend(
            rows.iter()
                .take(REMEMBERED_MAX)
                .map(|(key, row)| (key.clone(), value(row))),
        );
    }

    /// Forgets these.
    pub(super) fn forget_these<'a>(&mut self, keys: impl IntoIterator<Item = &'a K>)
    where
        K: 'a,
    {
        for key in keys {
            self.0.remove(key);
        }
    }

    /// Forgets everything: no one knows what is in the file.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_limit_and_the_newest_are_there() {
        let mut remembered = Remembered::default();
        for round in 0..10_usize {
            let rows: BTreeMap<usize, usize> = (round * 1000..round * 1000 + 1000)
                .map(|key| (key, key))
                .collect();
            remembered.learn(&rows, |row| *row + 1);
            assert!(remembered.0.len() <= REMEMBERED_MAX);
            assert_eq!(remembered.get(&(round * 1000)), Some(round * 1000 + 1));
        }
        remembered.forget();
        assert_eq!(remembered.get(&9_000), None);
    }
}
