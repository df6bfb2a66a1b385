//! A copy of a shard's file for a replica that has none, or none of use: written by the owner while
//! it goes on, checked by the receiver before use. And what becomes of a file that is of no use: it
//! is put aside, not dropped.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::clock::Clock;
use crate::files::{beside, folder_of, room_in, sync_folder};
use crate::ids::ShardId;
use crate::log::record::Tail;
use crate::log::{Identity, PerStream};
use crate::shard::error::OpenError;
use crate::shard::file::store::open::{name_of, owner_of, quick_check};
use crate::shard::file::store::progress::applied_in;
use crate::shard::file::store::{Store, StoreError};

/// Files put aside that are kept of each shard.
const ASIDE_MAX: usize = 3;
/// What stands between a file's name and when it was put aside.
const ASIDE: &str = ".quarantined-";
/// Stands beside a file that was put aside until what only it has was sent again.
const ORPHANS: &str = ".orphans";
/// What SQLite keeps beside a file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// Room that a copy leaves on the disk, beside an eighth of its length: what is written meanwhile
/// needs some, too.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// Why a copy is not written.
const NO_ROOM: &str = "the disk has no room for a copy of the file";
/// Bytes hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What a snapshot is, as said by who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Length of the file in bytes.
    pub length: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Applied in it.
    pub applied: PerStream<Tail>,
}

/// Whether a file that is put aside may have messages that the log has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    /// It is not known to have any.
    None,
    /// It is [`unsent`] until [`sent`] is told, also by a later process.
    Perhaps,
}

/// Writes a copy of the file to `path`, which must not exist.
///
/// # Errors
/// The disk, or SQLite refused; what was written so far is removed.
pub(in crate::shard) async fn write(store: &Store, path: &Path) -> Result<Snapshot, StoreError> {
    // SQLite would write into an empty one, too.
    if tokio::fs::try_exists(path).await.unwrap_or(true) {
        return Err(StoreError::Failed(format!(
            "{}: a snapshot is not written over a file",
            path.display()
        )));
    }

    let needed = tokio::fs::metadata(store.path())
        .await
        .map_or(0, |file| file.len());
    if !has_room(path, needed).await {
        return Err(StoreError::Full(NO_ROOM.to_owned()));
    }
    let written = copy(store, path).await;
    if written.is_err() {
        remove(path).await;
    }

    written
}

async fn copy(store: &Store, path: &Path) -> Result<Snapshot, StoreError> {
    store.copy_to(path).await?;
    let mut copy = open(path).await?;
    let applied = applied_in(&mut copy).await;
    copy.close().await?;
    let applied = applied?;
    let (length, sha256) = hashed(path)
        .await
        .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
    Ok(Snapshot {
        length,
        sha256,
        applied,
    })
}

/// Bytes that have to be free on a disk before a copy of that length is begun.
#[must_use]
pub(crate) fn needs(length: u64) -> u64 {
    length
        .saturating_add(length / 8)
        .saturating_add(SPARE_BYTES)
}

/// Bytes that are left, to whoever is not root, on the disk where a file is or will be. `None`: the
/// disk does not say.
pub(crate) async fn room(path: &Path) -> Option<u64> {
    let folder = folder_of(path).to_owned();
    off_runtime(move || room_in(&folder)).await.ok()
}

/// Whether there is room for a copy of that length. A disk that does not say so is tried.
async fn has_room(path: &Path, length: u64) -> bool {
    room(path).await.is_none_or(|room| room >= needs(length))
}

/// Checks a received file (length, hash, `quick_check`, whose it is, applied tails) and moves it to
/// `to`, where no file may be open. What stands there is dropped; to keep it, [`quarantine`] it
/// before.
///
/// # Errors
/// One sentence what is not as said; the received file is removed. Damaged: it was so before it was
/// sent. Refused: it is another shard's. Failed: it came otherwise than it was sent, or the disk
/// refused.
pub(crate) async fn install(
    received: &Path,
    said: &Snapshot,
    of: (Identity, ShardId),
    to: &Path,
) -> Result<(), OpenError> {
    let installed = match check(received, said, of).await {
        Ok(()) => {
            let (from, to) = (received.to_owned(), to.to_owned());
            let moved = off_runtime(move || put_in_place(&from, &to)).await;
            moved.map_err(|error| OpenError::Failed(format!("shard {}: {error}", of.1)))
        }
        refused => refused,
    };
    if installed.is_err() {
        remove(received).await;
    }
    installed
}

async fn check(
    received: &Path,
    said: &Snapshot,
    (identity, shard): (Identity, ShardId),
) -> Result<(), OpenError> {
    let failed =
        |what: &str| OpenError::Failed(format!("shard {shard}: the received snapshot {what}"));
    let (length, sha256) = hashed(received)
        .await
        .map_err(|error| failed(&format!("cannot be read: {error}")))?;
    if length != said.length {
        return Err(failed(&format!(
            "has {length} bytes, not the {} that were said",
            said.length
        )));
    }

    if sha256 != said.sha256 {
        return Err(failed("has not the hash that was said"));
    }

    let mut file = open(received).await?;
    let checked = check_content(received, &mut file, said, &name_of(identity, shard)).await;
    file.close().await.map_err(StoreError::from)?;
    checked
}

async fn check_content(
    received: &Path,
    file: &mut SqliteConnection,
    said: &Snapshot,
    wanted: &str,
) -> Result<(), OpenError> {
    quick_check(received, file).await?;
    let found = owner_of(file).await?;
    if found.as_deref() != Some(wanted) {
        let found = found.as_deref().unwrap_or("nobody");
        return Err(OpenError::Refused(format!(
            "the received snapshot belongs to {found}, not to {wanted}"
        )));
    }

    let applied = applied_in(file).await?;
    if applied != said.applied {
        let line = format!(
            "the received snapshot of {wanted} stands at {applied:?}, not at {:?} as was said",
            said.applied
        );
        return Err(OpenError::Failed(line));
    }

    Ok(())
}

/// Renames a file, with what SQLite keeps beside it, to `….quarantined-<unix milliseconds>`, and
/// drops the oldest such files of the same name beyond the last three. It must not be open. Answers
/// its new name.
///
/// # Errors
/// The disk refused, or there is no such file.
pub(crate) async fn quarantine(
    path: &Path,
    clock: &Clock,
    orphans: Orphans,
) -> io::Result<PathBuf> {
    let (path, at) = (path.to_owned(), clock.now_ms());
    off_runtime(move || put_aside(&path, at, orphans)).await
}

/// The files of a folder that were put aside with [`Orphans::Perhaps`], the oldest of each name
/// first.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn unsent(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let aside = name
            .to_str()
            .and_then(|name| name.strip_suffix(ORPHANS))
            .filter(|name| name.contains(ASIDE));
        found.extend(
            aside
                .map(|aside| folder.join(aside))
                .filter(|aside| aside.exists()),
        );
    }

    // Milliseconds of this century have as many digits.
    found.sort_unstable();
    Ok(found)
}

/// Nothing of this file has to be sent again any more.
///
/// # Errors
/// The disk refused; it stays [`unsent`].
pub(crate) async fn sent(aside: &Path) -> io::Result<()> {
    let mark = beside(aside, ORPHANS);
    off_runtime(move || absent_is_fine(std::fs::remove_file(mark))).await
}

fn put_aside(path: &Path, at: u64, orphans: Orphans) -> io::Result<PathBuf> {
    // After all others, also when the time of day was set back.
    let newest = put_aside_before(path)?
        .last()
        .map(|(newest, _)| newest.saturating_add(1));
    let aside = beside(
        path,
        &format!("{ASIDE}{}", newest.unwrap_or_default().max(at)),
    );

    if orphans == Orphans::Perhaps && path.exists() {
        // Before it can be forgotten.
        File::create(beside(&aside, ORPHANS))?.sync_all()?;
        sync_folder(folder_of(path))?;
    }

    // The file first: a WAL without a file is dropped by SQLite, a file without its WAL would be
    // opened.
    std::fs::rename(path, &aside)?;

    for suffix in BESIDE {
        absent_is_fine(std::fs::rename(
            beside(path, suffix),
            beside(&aside, suffix),
        ))?;
    }

    for (_, old) in put_aside_before(path)?.into_iter().rev().skip(ASIDE_MAX) {
        let mark = beside(&old, ORPHANS);
        if mark.exists() {
            tracing::error!(path = %old.display(), "dropped, with messages that were not sent again: too many were put aside");
        }
        drop_file(&old)?;
        absent_is_fine(std::fs::remove_file(mark))?;
    }

    sync_folder(folder_of(path))?;
    Ok(aside)
}

/// The files of this name that were put aside, the oldest first.
fn put_aside_before(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(ASIDE);
    let name = name.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let at = entry
            .file_name()
            .to_str()
            .and_then(|other| other.strip_prefix(&name)?.parse::<u64>().ok());
        found.extend(at.map(|at| (at, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    // The file first, so that at no time one stands there without its WAL, or with that of another.
    drop_file(to)?;
    std::fs::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// Removes a file with what SQLite keeps beside it, if there is one.
///
/// # Errors
/// The disk refused.
pub(crate) fn drop_file(path: &Path) -> io::Result<()> {
    absent_is_fine(std::fs::remove_file(path))?;
    for suffix in BESIDE {
        absent_is_fine(std::fs::remove_file(beside(path, suffix)))?;
    }
    Ok(())
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

async fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .foreign_keys(false);
    Ok(options.connect().await?)
}

/// Length and SHA-256 of a file.
async fn hashed(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let path = path.to_owned();
    off_runtime(move || {
        let (mut file, mut hash, mut length) = (File::open(path)?, Sha256::new(), 0);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                return Ok((length, hash.finalize().into()));
            }
            length += count as u64;
            hash.update(piece.get(..count).unwrap_or_default());
        }
    })
    .await
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

async fn remove(path: &Path) {
    let (path, shown) = (path.to_owned(), path.display().to_string());
    if let Err(error) = off_runtime(move || drop_file(&path)).await {
        tracing::warn!(path = shown, %error, "a snapshot that is of no use cannot be removed");
    }
}
