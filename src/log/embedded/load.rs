//! Reads the segments of a folder when a log is opened, and proves what they say: that none is
//! missing, that every record follows the one before, and that the last one is on disk. ADR 10 says
//! what a crash may have left.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cycle::State;
use super::index::{Index, Located, Segment};
use super::layout::{self, ALIGNMENT, Found, HEADER_BYTES, Item, Kind, MAGIC};
use super::segments::{End, number_of, path_of};

/// What the segments of a folder hold.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) index: Index,
    pub(super) end: End,
}

/// Reads all segments.
///
/// # Errors
/// One line for the operator: a segment is missing or damaged, is of a later version, or cannot be
/// read.
pub(super) fn load(folder: &Path) -> Result<Loaded, String> {
    let mut numbers = numbers(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut loading = Loading {
        state: None,
        index: Index::default(),
        sequence: 1,
        segments: VecDeque::new(),
    };
    let Some(newest) = newest_begun(folder, &mut numbers)? else {
        return Ok(loading.finish(0));
    };

    let last = newest.number;
    let oldest = newest
        .records(None)?
        .last()
        .map_or(last, |(_, record)| record.header.oldest);
    for number in oldest..last {
        if !numbers.contains(&number) {
            let path = path_of(folder, number);
            return Err(format!(
                "{} is missing: put it back, or restore a copy of the whole folder",
                path.display()
            ));
        }
        loading.take(&Content::read(folder, number)?, true)?;
    }
    loading.take(&newest, false)?;

    // What a crash brought back after it was removed.
    for number in numbers.into_iter().filter(|number| *number < oldest) {
        let path = path_of(folder, number);
        fs::remove_file(&path)
            .map_err(|error| format!("{} cannot be removed: {error}", path.display()))?;
    }
    Ok(loading.finish(last))
}

/// The numbers of the segments in a folder, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The last segment. One that was not begun when the process ended is removed, for no cycle is in
/// it; then it is the one before.
fn newest_begun(folder: &Path, numbers: &mut Vec<u64>) -> Result<Option<Content>, String> {
    let Some(last) = numbers.last().copied() else {
        return Ok(None);
    };
    let content = Content::read(folder, last)?;
    if content.opening().is_some() {
        return Ok(Some(content));
    }
    // Without one before it this is the beginning of a log, or all that is left of one.
    if content.whole_record_after(0).is_some() || (last > 1 && numbers.len() == 1) {
        return Err(content.damaged(0));
    }

    fs::remove_file(&content.path)
        .map_err(|error| format!("{} cannot be removed: {error}", content.path.display()))?;
    numbers.pop();
    numbers
        .last()
        .map(|before| Content::read(folder, *before))
        .transpose()
}

/// A segment as it was found.
struct Content {
    number: u64,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Content {
    fn read(folder: &Path, number: u64) -> Result<Self, String> {
        let path = path_of(folder, number);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            number,
            path,
            bytes,
        })
    }

    fn damaged(&self, at: usize) -> String {
        let path = self.path.display();
        let version = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.strip_prefix(layout::MAGIC_OF_ALL)?.first());
        if version.is_some_and(|version| *version > layout::VERSION) {
            return format!(
                "{path} was written by a later version of Rookery: install that one, or a newer one"
            );
        }
        format!(
            "{path} is damaged at byte {at}: put back what it was, or restore a copy of the whole \
             folder"
        )
    }

    /// A whole record of this segment at a place in it.
    fn at(&self, place: usize) -> Option<Found<'_>> {
        let found = layout::find(self.bytes.get(place..)?)?;
        (found.header.segment == self.number).then_some(found)
    }

    fn opening(&self) -> Option<Found<'_>> {
        self.at(0)
            .filter(|found| found.header.kind == Kind::Opening)
    }

    /// Its records with their places, up to the first that is not whole. The first has to have that
    /// number in the log, if one is named.
    fn records(&self, sequence: Option<u64>) -> Result<Vec<(usize, Found<'_>)>, String> {
        let opening = self.opening().ok_or_else(|| self.damaged(0))?;
        let mut expected = opening.header;
        if sequence.is_some_and(|sequence| sequence != expected.sequence) {
            return Err(self.damaged(0));
        }

        let mut records = vec![(0, opening)];
        let mut place = opening.bytes.len();
        while let Some(found) = self
            .at(place)
            .filter(|found| found.header.salt == expected.salt)
        {
            expected.sequence += 1;
            if found.header.sequence != expected.sequence || found.header.kind != Kind::Cycle {
                return Err(self.damaged(place));
            }
            records.push((place, found));
            place += found.bytes.len();
        }
        match self.whole_record_after(place) {
            Some(_) => Err(self.damaged(place)),
            None => Ok(records),
        }
    }

    /// Where a whole record stands behind a place at which there is none: only one is on its way at
    /// a time, so what stands at that place was whole once.
    fn whole_record_after(&self, place: usize) -> Option<usize> {
        let places = (place..self.bytes.len().saturating_sub(HEADER_BYTES)).step_by(ALIGNMENT);
        places.skip(1).find(|later| {
            let begins = self
                .bytes
                .get(*later..)
                .is_some_and(|rest| rest.starts_with(&MAGIC));
            begins && self.at(*later).is_some()
        })
    }

    fn is_zero_after(&self, place: usize) -> bool {
        self.bytes
            .get(place..)
            .is_none_or(|rest| rest.iter().all(|byte| *byte == 0))
    }
}

/// What was read so far.
struct Loading {
    /// `None` before the first opening record.
    state: Option<State>,
    index: Index,
    /// Number of the next record, once the first was read.
    sequence: u64,
    segments: VecDeque<(u64, u64)>,
}

impl Loading {
    /// Takes in the next segment; one that another follows has to be whole.
    fn take(&mut self, content: &Content, followed: bool) -> Result<(), String> {
        let file = File::options().read(true).write(true).open(&content.path);
        let file = file.map_err(|error| format!("{}: {error}", content.path.display()))?;
        let segment = Arc::new(Segment {
            number: content.number,
            file,
        });
        let records = content.records(self.state.is_some().then_some(self.sequence))?;
        for (place, record) in &records {
            let applied = self.apply(&segment, *place, record);
            applied.ok_or_else(|| content.damaged(*place))?;
            self.sequence = record.header.sequence + 1;
        }

        let Some((place, record)) = records.last() else {
            return Err(content.damaged(0));
        };
        let end = place + record.bytes.len();
        if followed && !content.is_zero_after(end) {
            return Err(content.damaged(end));
        }
        let bytes = if followed { content.bytes.len() } else { end };
        if !followed {
            let proven = prove(&segment.file, *place, record.bytes);
            proven.map_err(|error| {
                format!("{} cannot be written: {error}", content.path.display())
            })?;
            tell_cut(content, end);
        }
        self.segments.push_back((content.number, bytes as u64));
        Ok(())
    }

    /// Applies a record; `None` where it does not follow from those before.
    fn apply(&mut self, segment: &Arc<Segment>, place: usize, record: &Found<'_>) -> Option<()> {
        let items = record.items()?;
        if record.header.kind == Kind::Opening {
            let opening = state_of(items)?;
            return match &self.state {
                Some(state) => (*state == opening).then_some(()),
                None => {
                    self.state = Some(opening);
                    Some(())
                }
            };
        }

        let state = self.state.as_mut()?;
        for item in items {
            match item {
                Item::Entry(placed) => {
                    let position = (place + placed.at) as u64;
                    let length = u32::try_from(placed.length).ok()?;
                    let located = Located {
                        last: placed.last,
                        segment: Arc::clone(segment),
                        position,
                        length,
                        recent: None,
                    };
                    self.index.insert(placed.stream, located);
                }
                Item::Trim(step) => self.index.trim(&step),
                Item::Control(shard, control) => drop(state.controls.insert(shard, control)),
                Item::Cell(name, cell) => drop(state.cells.insert(name, cell)),
            }
        }
        Some(())
    }

    fn finish(self, last: u64) -> Loaded {
        let end = End {
            last,
            sequence: self.sequence,
            segments: self.segments,
        };
        Loaded {
            state: self.state.unwrap_or_default(),
            index: self.index,
            end,
        }
    }
}

/// The control records and cells of an opening record; `None` where it holds anything else.
fn state_of(items: Vec<Item>) -> Option<State> {
    let (mut controls, mut cells) = (BTreeMap::new(), BTreeMap::new());
    for item in items {
        match item {
            Item::Control(shard, control) => drop(controls.insert(shard, control)),
            Item::Cell(name, cell) => drop(cells.insert(name, cell)),
            Item::Entry(_) | Item::Trim(_) => return None,
        }
    }
    Some(State { controls, cells })
}

/// Writes the last record of a log once more, cuts off what stands behind it, and syncs both: after
/// a sync that failed the system may show bytes that are not on disk.
fn prove(file: &File, place: usize, record: &[u8]) -> io::Result<()> {
    file.write_all_at(record, place as u64)?;
    file.set_len((place + record.len()) as u64)?;
    file.sync_all()
}

fn tell_cut(content: &Content, end: usize) {
    if !content.is_zero_after(end) {
        let segment = content.path.display();
        tracing::info!(%segment, at = end, "cut off a record of the log that was being written when the process ended");
    }
}
