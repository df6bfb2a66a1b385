//! Files that appear whole or not at all, what stands beside them, and the room on their disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a folder durable: a file whose bytes are on the disk may have no name there
/// yet.
///
/// # Errors
/// The disk refuses.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The same path with something after its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Bytes that are left, to whoever is not root, on the disk of a folder. Blocks for as long as the
/// disk takes.
///
/// # Errors
/// The disk does not say.
pub(crate) fn room_in(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Writes a file for its owner's eyes only; a reader sees all of it or none, also after a crash.
///
/// # Errors
/// One clear line.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");

    let new = path.with_file_name(name);
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_folder(folder_of(path))
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}
