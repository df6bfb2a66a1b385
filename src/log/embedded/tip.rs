//! The segment that is written, and a record that is on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
#[cfg(test)]
use super::faults::Faults;
use super::index::Segment;
use super::layout::{Draft, Header, Placed};

/// No record ends behind so many bytes of a segment.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// A segment is filled with zeros ahead of its records in steps of this many bytes.
const ROOM_BYTES: u64 = 1024 * 1024;

/// A record that is on disk.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) segment: Arc<Segment>,
    /// Where it begins.
    pub(super) position: u64,
    pub(super) entries: Vec<Placed>,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Tip {
    pub(super) segment: Arc<Segment>,
    pub(super) salt: u64,
    /// Where the next record goes: the end of the last one that is on disk.
    pub(super) end: u64,
    /// Up to where the segment is filled with zeros.
    pub(super) room: u64,
    /// No record ends behind this, but the first cycle.
    pub(super) limit: u64,
    /// Where the opening record ends.
    pub(super) opening: u64,
    #[cfg(test)]
    pub(super) faults: Arc<Faults>,
}

impl Tip {
    /// Makes an empty segment; one that could not be begun before is overwritten.
    pub(super) fn create(path: &Path, number: u64) -> io::Result<Self> {
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            segment: Arc::new(Segment { number, file }),
            salt: rand::random(),
            end: 0,
            room: 0,
            limit: SEGMENT_BYTES,
            opening: 0,
            #[cfg(test)]
            faults: Arc::default(),
        })
    }

    /// Returns whether a record of `length` bytes belongs into the next segment. The first cycle
    /// fits, however long it is.
    pub(super) fn is_full_for(&self, length: u64) -> bool {
        self.end > self.opening && self.end + length > self.limit
    }

    /// Fills the segment with zeros until `length` bytes more have their place.
    pub(super) fn make_room(&mut self, length: u64) -> Result<(), Failure> {
        let needed = self.end + length;
        if needed <= self.room {
            return Ok(());
        }

        let room = needed.next_multiple_of(ROOM_BYTES);
        let zeros = vec![0; usize::try_from(room - self.room).unwrap_or(usize::MAX)];
        let filled = self
            .space()
            .and_then(|()| self.segment.file.write_all_at(&zeros, self.room));
        if let Err(error) = filled {
            // What was filled of it is given back, for others need it now. Where that fails it
            // stays, and is filled again.
            drop(self.segment.file.set_len(self.room));
            return Err(Failure::surely("no room for a record of the log", &error));
        }
        self.room = room;
        Ok(())
    }

    /// Writes a record and syncs it. After a failure the outcome is in doubt.
    pub(super) fn write(&mut self, draft: Draft, header: &Header) -> Result<Written, Failure> {
        let (bytes, entries) = draft.seal(header);
        let file = &self.segment.file;
        let written = file
            .write_all_at(&bytes, self.end)
            .and_then(|()| self.sync());
        written
            .map_err(|error| Failure::in_doubt("a record of the log was not written", &error))?;

        let position = self.end;
        self.end += bytes.len() as u64;
        Ok(Written {
            segment: Arc::clone(&self.segment),
            position,
            entries,
        })
    }

    /// Cuts off everything behind the last record that is on disk.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        self.segment.file.set_len(self.end)?;
        self.segment.file.sync_all()?;
        self.room = self.end;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        self.segment.file.sync_data()
    }

    #[cfg_attr(
        not(test),
        expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "tests take the space away"
        )
    )]
    fn space(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.space()?;
        Ok(())
    }
}
