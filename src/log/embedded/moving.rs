//! Entries are written again so that the segments in which they stand can go: those of quiet
//! streams, which would be kept for ever, and those beside trimmed ones, whose texts have to leave
//! the disk.

use std::collections::VecDeque;
use std::time::Duration;

use super::cycle::NewEntry;
use super::index::{Index, Located};
use super::segments::Segments;

/// A segment that has had trimmed entries for so long is emptied.
const TRIMMED_MAX: Duration = Duration::from_secs(60);
/// How often a log that nobody writes is looked through.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(20);

/// As long as there are no more segments than this, none is emptied for being sparse.
const SEGMENTS_MIN: usize = 8;
/// Nor while at least one of so many bytes in the segments is needed.
const SPARSE: u64 = 4;
/// With one cycle about so many bytes are moved at most.
const MOVED_BYTES_MAX: usize = 256 * 1024;

/// The entries of some segments, on their way out of them.
#[derive(Debug, Default)]
pub(super) struct Moving {
    left: VecDeque<(u32, Located)>,
    /// An entry could not be read: its segment stays, and with it all after it.
    stuck: bool,
}

impl Moving {
    /// Returns the last of the segments that have to go, if any have to.
    pub(super) fn due(&self, index: &Index, segments: &Segments) -> Option<u64> {
        if self.stuck || !self.left.is_empty() {
            return None;
        }
        let is_sparse =
            segments.count() > SEGMENTS_MIN && index.bytes() * SPARSE < segments.bytes();
        let sparse = index.oldest().filter(|_| is_sparse);
        #[cfg(not(test))]
        let trimmed = index.trimmed_for(TRIMMED_MAX);
        #[cfg(test)]
        let trimmed = index.trimmed_for(if segments.faults().is_hasty() {
            Duration::ZERO
        } else {
            TRIMMED_MAX
        });
        trimmed.max(sparse)
    }

    /// Begins to empty the segments up to that one.
    pub(super) fn begin(&mut self, index: &Index, upto: u64) {
        self.left = index.upto(upto).into();
    }

    /// Returns whether entries are left to be moved.
    pub(super) fn is_under_way(&self) -> bool {
        !self.left.is_empty()
    }

    /// Takes what goes with the next cycle: what still stands where it was found.
    pub(super) fn take(&mut self, index: &Index) -> Vec<(u32, Located)> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < MOVED_BYTES_MAX
            && let Some((stream, located)) = self.left.pop_front()
        {
            if index.stands(stream, &located) {
                bytes += located.length as usize;
                taken.push((stream, located));
            }
        }
        taken
    }

    /// Reads what was taken. Where the disk fails, nothing is moved until the log is opened again.
    pub(super) fn read(&mut self, taken: &[(u32, Located)]) -> Vec<NewEntry> {
        let mut entries = Vec::new();
        for (stream, located) in taken {
            match located.read() {
                Ok(entry) => entries.push(NewEntry {
                    stream: *stream,
                    last: entry.last,
                    bytes: entry.bytes,
                }),
                Err(error) => {
                    let segment = located.segment.number;
                    tracing::error!(%error, segment, "an entry of the log cannot be read: its segment is kept, and the log grows");
                    (self.stuck, self.left) = (true, VecDeque::new());
                    break;
                }
            }
        }

        entries
    }
}
