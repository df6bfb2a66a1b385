//! Which entries the log has and where each stands; kept in memory, made anew from the segments
//! when they are opened.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cycle::TrimStep;
use crate::ids::Offset;
use crate::log::RawEntry;

/// So many bytes of the newest entries are kept in memory: those who apply them, or follow, read
/// them there.
const RECENT_BYTES: usize = 16 * 1024 * 1024;

/// A segment whose records can be read. What was looked up can be read for as long as this lives,
/// also after the segment was removed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: File,
}

/// Where an entry stands.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) last: Offset,
    pub(super) segment: Arc<Segment>,
    pub(super) position: u64,
    pub(super) length: u32,
    /// The entry itself, while it is one of the newest.
    pub(super) recent: Option<Bytes>,
}

impl Located {
    /// Returns the entry if it is in memory.
    pub(super) fn recent(&self) -> Option<RawEntry> {
        self.recent.clone().map(|bytes| RawEntry {
            last: self.last,
            bytes,
        })
    }

    /// Reads the entry. Blocks for as long as the disk takes.
    pub(super) fn read(&self) -> io::Result<RawEntry> {
        if let Some(entry) = self.recent() {
            return Ok(entry);
        }
        let mut bytes = vec![0; self.length as usize];
        self.segment.file.read_exact_at(&mut bytes, self.position)?;
        Ok(RawEntry {
            last: self.last,
            bytes: Bytes::from(bytes),
        })
    }
}

/// What of a segment is still needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needed {
    entries: u64,
    bytes: u64,
}

/// The entries of all streams.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The entries of each stream that has some, in the order of their offsets.
    streams: HashMap<u32, VecDeque<Located>>,
    /// By the number of the segment; those of which nothing is needed are absent.
    needed: BTreeMap<u64, Needed>,
    /// Since when a segment has entries that were trimmed.
    trimmed: BTreeMap<u64, Instant>,
    /// Which entries are in memory, the oldest first, and their bytes. Some may have been trimmed.
    recent: VecDeque<(u32, Offset, usize)>,
    recent_bytes: usize,
}

impl Index {
    /// Notes an entry. One that is there already stands elsewhere from now on.
    pub(super) fn insert(&mut self, stream: u32, located: Located) {
        self.remember(stream, &located);
        let needed = self.needed.entry(located.segment.number).or_default();
        needed.entries += 1;
        needed.bytes += u64::from(located.length);

        let entries = self.streams.entry(stream).or_default();
        match entries.binary_search_by_key(&located.last, |entry| entry.last) {
            Ok(at) => {
                let former = entries
                    .get_mut(at)
                    .map(|entry| std::mem::replace(entry, located));
                former
                    .iter()
                    .for_each(|former| release(&mut self.needed, former));
            }
            Err(at) => entries.insert(at, located),
        }
    }

    /// Makes room in memory for an entry that is kept there.
    fn remember(&mut self, stream: u32, located: &Located) {
        let Some(bytes) = &located.recent else { return };
        self.recent.push_back((stream, located.last, bytes.len()));
        self.recent_bytes += bytes.len();
        while self.recent_bytes > RECENT_BYTES
            && let Some((of, last, size)) = self.recent.pop_front()
        {
            self.recent_bytes -= size;
            let Some(entries) = self.streams.get_mut(&of) else {
                continue;
            };
            let at = entries.binary_search_by_key(&last, |entry| entry.last).ok();
            if let Some(entry) = at.and_then(|at| entries.get_mut(at)) {
                entry.recent = None;
            }
        }
    }

    /// Forgets what a trim drops.
    pub(super) fn trim(&mut self, step: &TrimStep) {
        let Some(entries) = self.streams.get_mut(&step.stream) else {
            return;
        };
        let dropped = entries.partition_point(|entry| entry.last <= step.upto);
        for entry in entries.drain(..dropped) {
            release(&mut self.needed, &entry);
            self.trimmed
                .entry(entry.segment.number)
                .or_insert_with(Instant::now);
        }
        if entries.is_empty() {
            self.streams.remove(&step.stream);
        }
    }

    /// Returns the entries of a stream whose last offset is above `after`, up to about `bytes_max`
    /// of them, at least one.
    pub(super) fn after(&self, stream: u32, after: Offset, bytes_max: usize) -> Vec<Located> {
        let Some(entries) = self.streams.get(&stream) else {
            return Vec::new();
        };
        let from = entries.partition_point(|entry| entry.last <= after);
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in entries.range(from..) {
            bytes += entry.length as usize;
            found.push(entry.clone());
            if bytes >= bytes_max {
                break;
            }
        }
        found
    }

    /// Returns the first segment of which an entry is needed.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.needed.keys().next().copied()
    }

    /// Returns how many bytes of entries are needed.
    pub(super) fn bytes(&self) -> u64 {
        self.needed.values().map(|needed| needed.bytes).sum()
    }

    /// Returns the last segment that has had trimmed entries for so long.
    pub(super) fn trimmed_for(&self, age: Duration) -> Option<u64> {
        let old = self
            .trimmed
            .iter()
            .filter(|(_, since)| since.elapsed() >= age);
        old.map(|(number, _)| *number).max()
    }

    /// Forgets segments that were removed.
    pub(super) fn removed_before(&mut self, number: u64) {
        self.trimmed = self.trimmed.split_off(&number);
    }

    /// Returns the entries in all segments up to that one, each with its stream.
    pub(super) fn upto(&self, number: u64) -> Vec<(u32, Located)> {
        let all = self
            .streams
            .iter()
            .flat_map(|(stream, entries)| entries.iter().map(|entry| (*stream, entry)));
        // An entry that was moved stands in a later segment than those behind it, so all have to be
        // looked at.
        let there = all.filter(|(_, entry)| entry.segment.number <= number);
        there
            .map(|(stream, entry)| (stream, entry.clone()))
            .collect()
    }

    /// Returns whether an entry is needed where it was found.
    pub(super) fn stands(&self, stream: u32, found: &Located) -> bool {
        let Some(entries) = self.streams.get(&stream) else {
            return false;
        };
        let at = entries
            .binary_search_by_key(&found.last, |entry| entry.last)
            .ok();
        let there = at.and_then(|at| entries.get(at));
        there.is_some_and(|entry| entry.segment.number == found.segment.number)
    }
}

/// An entry is needed no more where it stood.
fn release(needed: &mut BTreeMap<u64, Needed>, entry: &Located) {
    let number = entry.segment.number;
    let Some(left) = needed.get_mut(&number) else {
        return;
    };
    left.entries -= 1;
    left.bytes -= u64::from(entry.length);
    if left.entries == 0 {
        needed.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: u32 = 3;

    fn segment(number: u64) -> Arc<Segment> {
        Arc::new(Segment {
            number,
            file: tempfile::tempfile().expect("a file"),
        })
    }

    fn located(segment: &Arc<Segment>, last: u64) -> Located {
        Located {
            last: Offset(last),
            segment: Arc::clone(segment),
            position: 0,
            length: 10,
            recent: None,
        }
    }

    fn offsets(found: &[Located]) -> Vec<u64> {
        found.iter().map(|entry| entry.last.0).collect()
    }

    #[test]
    fn a_reader_gets_what_is_above_an_offset_and_at_least_one() {
        let (mut index, one) = (Index::default(), segment(1));
        for last in [2, 4, 6, 8] {
            index.insert(STREAM, located(&one, last));
        }
        assert_eq!(offsets(&index.after(STREAM, Offset(3), 1)), [4]);
        assert_eq!(offsets(&index.after(STREAM, Offset(4), 20)), [6, 8]);
        assert_eq!(offsets(&index.after(STREAM, Offset(8), 20)), [0_u64; 0]);
        assert_eq!(offsets(&index.after(9, Offset(0), 20)), [0_u64; 0]);
    }

    #[test]
    fn a_segment_is_needed_until_its_last_entry_is_trimmed_or_moved() {
        let (mut index, one, two) = (Index::default(), segment(1), segment(2));
        index.insert(STREAM, located(&one, 2));
        index.insert(STREAM, located(&one, 4));
        index.insert(STREAM, located(&two, 6));
        assert_eq!((index.oldest(), index.bytes()), (Some(1), 30));

        index.trim(&TrimStep {
            stream: STREAM,
            upto: Offset(3),
        });
        assert_eq!((index.oldest(), index.bytes()), (Some(1), 20));
        let left = index.upto(1);
        assert_eq!(
            left.iter()
                .map(|(stream, entry)| (*stream, entry.last.0))
                .collect::<Vec<_>>(),
            [(STREAM, 4)]
        );

        assert!(
            index.stands(STREAM, &located(&one, 4)) && !index.stands(STREAM, &located(&one, 2))
        );

        index.insert(STREAM, located(&two, 4));
        assert!(
            !index.stands(STREAM, &located(&one, 4)),
            "it stands elsewhere"
        );
        assert_eq!((index.oldest(), index.bytes()), (Some(2), 20));
        assert_eq!(
            offsets(&index.after(STREAM, Offset(0), 1000)),
            [4, 6],
            "in order where the first was moved"
        );
    }

    #[test]
    fn the_newest_entries_are_in_memory_and_older_ones_on_disk() {
        let (mut index, one) = (Index::default(), segment(1));
        let quarter = Bytes::from(vec![b'x'; RECENT_BYTES / 4]);
        for last in 1..=6 {
            index.insert(
                STREAM,
                Located {
                    recent: Some(quarter.clone()),
                    ..located(&one, last)
                },
            );
        }

        let in_memory = |of: &Index| -> Vec<u64> {
            let all = of.after(STREAM, Offset(0), usize::MAX);
            all.iter()
                .filter(|entry| entry.recent().is_some())
                .map(|entry| entry.last.0)
                .collect()
        };
        assert_eq!(in_memory(&index), [3, 4, 5, 6]);

        index.trim(&TrimStep {
            stream: STREAM,
            upto: Offset(4),
        });

        index.insert(
            STREAM,
            Located {
                recent: Some(quarter),
                ..located(&one, 7)
            },
        );
        assert_eq!(in_memory(&index), [5, 6, 7]);
    }

    #[test]
    fn an_entry_that_was_moved_and_is_found_again_later_stands_before_those_behind_it() {
        let (mut index, one, two) = (Index::default(), segment(1), segment(2));
        index.insert(STREAM, located(&one, 6));
        index.insert(STREAM, located(&two, 4));
        assert_eq!(offsets(&index.after(STREAM, Offset(0), 1000)), [4, 6]);
        index.trim(&TrimStep {
            stream: STREAM,
            upto: Offset(6),
        });
        assert_eq!((index.oldest(), index.bytes()), (None, 0));
    }
}
