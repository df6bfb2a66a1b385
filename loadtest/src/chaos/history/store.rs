//! The history on disk: JSON lines in files of bounded size, the oldest dropped when there are too
//! many. Memory holds none of it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::chaos::history::span::Span;
use crate::chaos::history::{Micros, Record};

/// Bytes of one file, about.
const FILE_BYTES: u64 = 64 << 20;
/// Files that are kept: 2 GiB.
const FILES_MAX: u64 = 32;
/// How far back a span is looked for.
const BACK: Micros = 30_000_000;

/// Writes records, and finds them again.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    file: BufWriter<File>,
    number: u64,
    bytes: u64,
}

impl Store {
    /// In a folder, which is made.
    pub(crate) fn create(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = create(folder, 0)?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
            number: 0,
            bytes: 0,
        })
    }

    /// Keeps a record.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), String> {
        let line = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.bytes += u64::try_from(line.len()).unwrap_or(0) + 1;
        if self.bytes > FILE_BYTES {
            self.next_file()?;
        }
        Ok(())
    }

    fn next_file(&mut self) -> Result<(), String> {
        self.flush()?;
        (self.number, self.bytes) = (self.number + 1, 0);
        self.file = create(&self.folder, self.number)?;
        if let Some(old) = self.number.checked_sub(FILES_MAX) {
            std::fs::remove_file(path(&self.folder, old)).ok();
        }
        Ok(())
    }

    /// To the disk with what is in memory.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        self.file
            .flush()
            .map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    /// Lines of the span up to that moment, the last so many.
    pub(crate) fn span(
        &mut self,
        span: &Span,
        until: Micros,
        lines_max: usize,
    ) -> Result<Vec<String>, String> {
        self.flush()?;
        let mut lines = std::collections::VecDeque::new();
        each_line(&self.folder, |line| {
            let Ok(record) = serde_json::from_str::<Record>(line) else {
                return;
            };
            let near = record.at() <= until && record.at() + BACK >= until;
            if (near || matches!(record, Record::Begun { .. } | Record::Ended { .. }))
                && span.concerns(&record)
            {
                if lines.len() == lines_max {
                    lines.pop_front();
                }
                lines.push_back(line.to_owned());
            }
        })?;

        Ok(lines.into())
    }
}

/// Calls with each record of a folder, oldest first.
pub(crate) fn each_line(folder: &Path, mut with: impl FnMut(&str)) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    paths.sort();
    for path in paths {
        for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
            with(&line.map_err(failed)?);
        }
    }
    Ok(())
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("history-{number:06}.jsonl"))
}

fn create(folder: &Path, number: u64) -> Result<BufWriter<File>, String> {
    let path = path(folder, number);
    File::create(&path)
        .map(BufWriter::new)
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::history::{Act, Outcome};

    #[test]
    fn a_span_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path()).unwrap();

        for op in 0..100 {
            store
                .write(&Record::Begun {
                    at: op,
                    op,
                    user: 1,
                    conversation: 2,
                    act: Act::Send,
                })
                .unwrap();
            let result = Outcome::Failed {
                code: "unavailable".to_owned(),
            };
            store
                .write(&Record::Ended {
                    at: op + 1,
                    op,
                    result,
                })
                .unwrap();
        }

        let lines = store.span(&Span::of(2).and_op(17), 1_000, 10).unwrap();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("\"op\":17"), "{lines:?}");
    }
}
