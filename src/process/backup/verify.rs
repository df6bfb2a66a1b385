//! `rookery backup verify`: whether a backup is what its manifest says, file by file.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ids::ShardId;
use crate::operations::hex;
use crate::output;
use crate::process::backup::manifest::{Manifest, ShardCopy};
use crate::shard::file::backup::check::{Checked, check};

/// Bytes hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Reads all of a backup, and tells of each file that is not as it should be.
///
/// # Errors
/// One clear line: something is not.
pub(super) async fn run(folder: &Path) -> Result<(), String> {
    let manifest = read(folder)?;
    let (mut wrong, mut sum) = (0, Checked::default());
    for copy in &manifest.files {
        match file(folder, &manifest, copy).await {
            Ok(checked) => sum.add(checked),
            Err(why) => {
                wrong += 1;
                output::print(&format!("shard {}: {}: {why}\n", copy.shard, copy.file));
            }
        }
    }
    if wrong > 0 {
        return Err(format!(
            "{}: {wrong} of {} files are not as they should be; take a new backup into another folder, and restore from \
             another copy of this one",
            folder.display(),
            manifest.files.len()
        ));
    }

    let Checked {
        conversations,
        messages,
        ahead,
    } = sum;
    output::print(&format!(
        "The backup of cluster {} is well: {} shards, {conversations} conversations, {messages} messages. {ahead} receipts are \
         of messages that came later; a restore cuts them at the last one.\n",
        manifest.cluster, manifest.shards,
    ));
    Ok(())
}

/// The manifest of a folder that has to be a backup.
///
/// # Errors
/// One clear line: there is none, or it is not as it was written.
pub(in crate::process) fn read(folder: &Path) -> Result<Manifest, String> {
    Manifest::read(folder)?.ok_or_else(|| {
        format!(
            "{}: there is no backup here (no manifest.json)",
            folder.display()
        )
    })
}

/// Reads a file of a backup and compares it with the manifest.
///
/// # Errors
/// One sentence: what is not as it should be.
pub(in crate::process) async fn file(
    folder: &Path,
    manifest: &Manifest,
    copy: &ShardCopy,
) -> Result<Checked, String> {
    let path = folder.join(&copy.file);
    let (bytes, sha256) = hashed(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "the file is missing".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    })?;
    if bytes != copy.bytes {
        return Err(format!(
            "has {bytes} bytes, not the {} of the manifest: it was cut or written over",
            copy.bytes
        ));
    }

    if sha256 != copy.sha256 {
        return Err(
            "has not the hash of the manifest: it was damaged or is another file".to_owned(),
        );
    }

    let tails = copy
        .tails()
        .ok_or("the manifest does not tell where it stands")?;
    check(&path, (manifest.identity(), ShardId(copy.shard)), tails).await
}

/// Length and SHA-256 of a file, in hexadecimal digits.
fn hashed(path: &Path) -> std::io::Result<(u64, String)> {
    let (mut file, mut hash, mut length) = (std::fs::File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok((length, hex(&hash.finalize())));
        }
        length += count as u64;
        hash.update(piece.get(..count).unwrap_or_default());
    }
}
