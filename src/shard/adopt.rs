//! `--adopt-local`: a shard that the log has lost is made anew from this node's file, because its operator says that the
//! log will not come back. The control record begins at the oldest place that the file still has raw entries for, and
//! those are appended again, byte for byte, under a new token: same offsets, same chain, their old epochs.
//!
//! The file's history stays as it is; what only the lost log had (a few milliseconds of it, if the node died with it) is
//! gone. Broken off half-way, it is taken up again at the next opening: what stands in the log by then is the beginning
//! of what the file has.

use crate::shard::Opening;
use crate::shard::lane::Definite;
use crate::shard::log::record::{Entry, Header, Tail};
use crate::shard::log::{Batch, Control, Stream};
use crate::shard::open::OpenError;
use crate::shard::store::Store;

/// Raw entries read from the file at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// Where the streams of a shard that the log does not know begin: for a new shard at nothing, else before the entries
/// that the file still has.
///
/// # Errors
/// Failed: the file cannot be read.
pub(super) async fn begin_at(store: &Store) -> Result<[Tail; 2], OpenError> {
    let mut tails = store.progress().applied;
    for (stream, tail) in Stream::BOTH.into_iter().zip(&mut tails) {
        let oldest = store.kept_entries(stream, Tail::EMPTY.offset, 1).await?;
        let Some(header) = oldest.first().and_then(|entry| Header::read(&entry.bytes).ok()) else { continue };
        // The chain before an entry stands in the one before it: unless nothing was before, the oldest one only says where
        // the next begins.
        *tail = if header.first == Tail::EMPTY.offset.next() { Tail::EMPTY } else { header.tail() };
    }
    Ok(tails)
}

/// Appends what the log lacks of this node's file. Answers the control record as it stands then.
///
/// # Errors
/// Refused: the log holds another history. Failed: file or log does not answer, or the shard was taken meanwhile.
pub(super) async fn restore(opening: &Opening, store: &Store, mut control: Control) -> Result<Control, OpenError> {
    if !opening.config.adopt_local {
        return Ok(control);
    }
    let applied = store.progress().applied;
    for ((stream, tail), upto) in Stream::BOTH.into_iter().zip(&mut control.tails).zip(applied) {
        let begun = tail.offset;
        if begun >= upto.offset {
            continue;
        }
        while *tail != upto {
            let after = store.kept_entries(stream, tail.offset, PAGE_BYTES).await?;
            if after.is_empty() {
                return Err(unlinked(opening, stream, *tail));
            }
            for entry in after {
                let read = Entry::decode_after(tail, &entry.bytes);
                let next = read.map_err(|_another| unlinked(opening, stream, *tail))?.tail;
                let (shard, expected, bytes) = (opening.shard, *tail, entry.bytes);
                append(opening, Batch { shard, stream, token: control.token, expected, tail: next, bytes }).await?;
                *tail = next;
            }
        }
        let (shard, name) = (opening.shard, stream.as_str());
        tracing::warn!(%shard, stream = name, from = %begun, upto = %upto.offset, "the log was written again from the file");
    }
    Ok(control)
}

async fn append(opening: &Opening, batch: Batch) -> Result<(), OpenError> {
    let shard = opening.shard;
    match opening.lane.append(batch).await {
        Ok(Definite::Committed) => Ok(()),
        Ok(end) => Err(OpenError::Failed(format!("shard {shard}: an entry was not accepted again: {end:?}"))),
        Err(_) => Err(OpenError::Failed(format!("shard {shard}: the append lane has ended"))),
    }
}

fn unlinked(opening: &Opening, stream: Stream, at: Tail) -> OpenError {
    let (shard, path, name) = (opening.shard, opening.path.display(), stream.as_str());
    OpenError::Refused(format!(
        "shard {shard}: {path} cannot be adopted: its entries of {name} do not follow what the log has up to {}",
        at.offset
    ))
}
