//! The segments on disk: where the next record goes, and what becomes of the file when that fails.
//! ADR 10 has the reasons. Everything here blocks for as long as the disk takes.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

use super::cycle::State;
use super::failure::Failure;
#[cfg(test)]
use super::faults::Faults;
use super::layout::{Draft, Header, Kind};
use super::tip::{SEGMENT_BYTES, Tip, Written};
use crate::files::sync_folder;

/// Nor behind so many times the bytes of its opening record, where that is more.
const OPENINGS_MIN: u64 = 4;
/// How the name of a segment's file ends.
const ENDING: &str = ".segment";

/// Where the records of a log end, and which segments there are.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    /// Number of the last segment; 0 where there is none.
    pub(super) last: u64,
    /// Number of the next record.
    pub(super) sequence: u64,
    /// All segments that are needed, with their bytes, in order.
    pub(super) segments: VecDeque<(u64, u64)>,
}

/// The segments of a folder, the last of which is written.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// `None` where the next record begins a segment: nothing goes to the one before any more.
    tip: Option<Tip>,
    /// A write to the tip failed, and what may stand there was not cut off yet.
    broken: bool,
    /// Number of the last segment that was begun.
    last: u64,
    /// Number of the next record.
    sequence: u64,
    /// Bytes of the segments before the tip that are still there, by their numbers.
    earlier: VecDeque<(u64, u64)>,
    #[cfg(test)]
    faults: Arc<Faults>,
}

impl Segments {
    /// Begins a new segment behind `end`. `state` is what all records up to there lead to, `oldest`
    /// the first segment that is needed, if any is.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn begin(
        folder: &Path,
        end: End,
        state: &State,
        oldest: Option<u64>,
    ) -> Result<Self, Failure> {
        let mut segments = Self {
            folder: folder.to_owned(),
            tip: None,
            broken: false,
            last: end.last,
            sequence: end.sequence,
            earlier: end.segments,
            #[cfg(test)]
            faults: Arc::default(),
        };
        segments.begin_next(state, oldest)?;
        Ok(segments)
    }

    /// Writes a record and returns when it is on disk. `state` is what all records before it lead
    /// to, `oldest` the first segment of which an entry is needed, if there is one.
    ///
    /// # Errors
    /// Where it is in doubt, nothing else is written until what may stand there is cut off.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        state: &State,
        oldest: Option<u64>,
    ) -> Result<Written, Failure> {
        self.mend()?;
        let length = draft.length() as u64;
        if self.tip.as_ref().is_none_or(|tip| tip.is_full_for(length)) {
            self.begin_next(state, oldest)?;
        }
        let Some(tip) = &mut self.tip else {
            return Err(Failure::nowhere());
        };
        tip.make_room(length)?;

        let header = Header {
            kind: Kind::Cycle,
            segment: self.last,
            salt: tip.salt,
            sequence: self.sequence,
            oldest: oldest.unwrap_or(self.last),
        };
        let written = tip.write(draft, &header);
        self.broken = written.is_err();
        self.sequence += u64::from(written.is_ok());
        written
    }

    /// Cuts off what a failed write may have left. Until that has succeeded, the outcome of the
    /// write is in doubt.
    ///
    /// # Errors
    /// It did not succeed; the next attempt may.
    pub(super) fn mend(&mut self) -> Result<(), Failure> {
        let Some(tip) = self.tip.as_mut().filter(|_| self.broken) else {
            return Ok(());
        };
        tip.cut().map_err(|error| {
            Failure::in_doubt("the log cannot be cut after a failed write", &error)
        })?;
        self.broken = false;
        self.retire();
        Ok(())
    }

    /// Returns the bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        let tip = self.tip.as_ref().map_or(0, |tip| tip.room);
        tip + self.earlier.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Returns how many segments there are.
    pub(super) fn count(&self) -> usize {
        self.earlier.len() + usize::from(self.tip.is_some())
    }

    /// Returns whether there are segments before the first that is needed, if any is.
    pub(super) fn has_before(&self, oldest: Option<u64>) -> bool {
        self.earlier
            .front()
            .is_some_and(|(number, _)| oldest.is_none_or(|oldest| *number < oldest))
    }

    /// Removes the segments before `oldest`, which a record on disk has to name.
    pub(super) fn remove_before(&mut self, oldest: u64) {
        while let Some((number, _)) = self
            .earlier
            .front()
            .copied()
            .filter(|(number, _)| *number < oldest)
        {
            if let Err(error) = fs::remove_file(path_of(&self.folder, number)) {
                tracing::warn!(%error, segment = number, "a segment of the log that nobody needs was not removed; the next start tries again");
            }
            self.earlier.pop_front();
        }
    }

    /// Returns the number of the last segment that was begun.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Nothing goes to the last segment any more.
    pub(super) fn retire(&mut self) {
        let Some(tip) = self.tip.take() else { return };
        // Where the zeros behind its last record stay, a reader passes over them.
        let cut = tip.segment.file.set_len(tip.end).is_ok();
        self.earlier
            .push_back((self.last, if cut { tip.end } else { tip.room }));
    }

    /// Begins the next segment with its opening record.
    fn begin_next(&mut self, state: &State, oldest: Option<u64>) -> Result<(), Failure> {
        self.retire();
        let number = self.last + 1;
        let path = path_of(&self.folder, number);
        let mut tip = Tip::create(&path, number)
            .map_err(|error| Failure::surely("no new segment", &error))?;
        #[cfg(test)]
        {
            tip.faults = Arc::clone(&self.faults);
        }

        let draft = Draft::opening(state);
        let length = draft.length() as u64;
        // A log of very many shards begins its segments with megabytes.
        tip.limit = SEGMENT_BYTES.max(length * OPENINGS_MIN);
        tip.make_room(length)?;
        let header = Header {
            kind: Kind::Opening,
            segment: number,
            salt: tip.salt,
            sequence: self.sequence,
            oldest: oldest.unwrap_or(number),
        };
        // Whatever becomes of it: no cycle is in it, and it is begun anew.
        tip.write(draft, &header).map_err(|failure| Failure {
            in_doubt: false,
            ..failure
        })?;
        sync_folder(&self.folder).map_err(|error| Failure::surely("no new segment", &error))?;
        tip.opening = tip.end;
        (self.tip, self.last) = (Some(tip), number);
        self.sequence += 1;
        Ok(())
    }

    /// What tests let fail.
    #[cfg(test)]
    pub(super) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }
}

/// Where a segment is.
pub(super) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}{ENDING}"))
}

/// The number of a segment by the name of its file; `None` for any other file.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(ENDING)?.parse().ok()
}
