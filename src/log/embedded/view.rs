//! What is on disk, as everybody may see it: control records, cells, and where the entries stand.
//! The writer changes it once a record is on disk, and nobody else does.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::cycle::{Effects, State};
use super::index::{Index, Located};
use super::tip::Written;

/// What the log holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) state: State,
    pub(super) index: Index,
}

/// What the log holds, for many readers and one writer.
#[derive(Debug, Default)]
pub(super) struct View(RwLock<Held>);

impl View {
    /// A view of what was loaded.
    pub(super) fn new(held: Held) -> Self {
        Self(RwLock::new(held))
    }

    /// Looks at what is held. The guard must not be kept: the writer waits for it.
    pub(super) fn look(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets segments that were removed.
    pub(super) fn removed_before(&self, number: u64) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .index
            .removed_before(number);
    }

    /// Shows what a record that is on disk now brought.
    pub(super) fn show(&self, written: &Written, effects: Effects) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // What was moved stands first in the record, and is not new.
        let moved = written.entries.len().saturating_sub(effects.entries.len());
        let new = effects.entries.into_iter().map(|entry| Some(entry.bytes));
        for (placed, recent) in written
            .entries
            .iter()
            .zip(std::iter::repeat_n(None, moved).chain(new))
        {
            let located = Located {
                last: placed.last,
                segment: Arc::clone(&written.segment),
                position: written.position + placed.at as u64,
                // An entry is at most a mebibyte.
                length: u32::try_from(placed.length).unwrap_or(u32::MAX),
                recent,
            };
            held.index.insert(placed.stream, located);
        }

        effects.trims.iter().for_each(|step| held.index.trim(step));
        held.state.controls.extend(effects.controls);
        held.state.cells.extend(effects.cells);
    }
}
