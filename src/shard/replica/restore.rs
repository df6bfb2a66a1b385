//! What a log that lost entries gets back when a shard is opened: from this node's file, then from
//! other replicas that have more. Entries are appended again under the new token, byte for byte:
//! same offsets, same chain, their old epochs. Each must link to what the log has, so nothing is
//! written over and nothing twice; broken off half-way, it is taken up again at the next opening.
//!
//! `--adopt-local` is the same for a shard that the log does not know at all, because its operator
//! says that the log will not come back: the control record then begins at the oldest place that
//! the file still has raw entries for.

use std::time::{Duration, Instant};

use crate::log::lane::Definite;
use crate::log::record::{Entry, Header, Tail};
use crate::log::{Batch, Control, PerStream, RawEntry, Stream, Token};
use crate::shard::error::OpenError;
use crate::shard::file::store::{Past, Store};
use crate::shard::file::worker::unlinked;
use crate::shard::options::Opening;
use crate::shard::replicas::{Following, ReplicaStatus};
use crate::telemetry;

/// Raw entries read at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// How long an append waits for its second copy before it is looked for in the log; the first time,
/// and once one had none.
const COPIED_WITHIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(20)];

/// How long an append waits for an answer of the log.
const WRITTEN_MAX: Duration = Duration::from_secs(5);

/// How long another replica may take for a page of its entries.
const PAGE_MAX: Duration = Duration::from_secs(2);

/// Where the streams of a shard that the log does not know begin: for a new shard at nothing, else
/// before the entries that the file still has.
///
/// # Errors
/// Failed: the file cannot be read.
pub(in crate::shard) async fn begin_at(store: &Store) -> Result<PerStream<Tail>, OpenError> {
    let mut tails = store.progress().applied;
    for (stream, tail) in tails.iter_mut() {
        let oldest = store.kept_entries(stream, Tail::EMPTY.offset, 1).await?;
        let Some(header) = oldest
            .first()
            .and_then(|entry| Header::read(&entry.bytes).ok())
        else {
            continue;
        };
        // The chain before an entry stands in the one before it: unless nothing was before, the
        // oldest one only says where the next begins.
        *tail = if header.first == Tail::EMPTY.offset.next() {
            Tail::EMPTY
        } else {
            header.tail()
        };
    }

    Ok(tails)
}

/// Whether the log's tails could be a past of the file; to be asked before a claim, which would be
/// for nothing.
///
/// # Errors
/// Failed: one is not.
pub(in crate::shard) async fn look(
    opening: &Opening,
    store: &Store,
    control: &Control,
) -> Result<(), OpenError> {
    for (stream, tail) in control.tails {
        if store.past(stream, tail).await? == Past::Another {
            return Err(OpenError::Failed(
                unlinked(opening.shard, stream.as_str(), tail.offset).to_string(),
            ));
        }
    }
    Ok(())
}

/// Appends what the log lacks of this node's file. Answers the control record as it stands then.
///
/// # Errors
/// Diverged: the log holds another history. Refused: the log lost more than the file keeps as
/// entries. Failed: file or log does not answer, or the shard was taken meanwhile.
pub(in crate::shard) async fn from_file(
    opening: &Opening,
    store: &Store,
    mut control: Control,
) -> Result<Control, OpenError> {
    let applied = store.progress().applied;
    for (stream, tail) in control.tails.iter_mut() {
        let upto = applied[stream];
        let begun = *tail;
        match store.past(stream, begun).await? {
            Past::Ours => {}
            Past::Beyond => continue,
            Past::Another => return Err(unlinked(opening.shard, stream.as_str(), begun.offset)),
            Past::Unknown => return Err(too_short(opening, stream, (begun, upto))),
        }
        while *tail != upto {
            let after = store.entries_after(stream, *tail, PAGE_BYTES).await?;
            if after.is_empty() {
                return Err(too_short(opening, stream, (*tail, upto)));
            }
            if !again(opening, control.token, stream, tail, after).await? {
                return Err(unlinked(opening.shard, stream.as_str(), tail.offset));
            }
        }
        if begun != upto {
            let (shard, name) = (opening.shard, stream.as_str());
            tracing::warn!(%shard, stream = name, from = %begun.offset, upto = %upto.offset, "the log was written again from the file");
        }
    }

    Ok(control)
}

/// Appends what the log lacks of other replicas' files. One whose entries do not link, or that does
/// not answer, is left out.
///
/// # Errors
/// Failed: the log does not answer, or the shard was taken meanwhile.
pub(in crate::shard) async fn from_others(
    opening: &Opening,
    others: &[ReplicaStatus],
    mut control: Control,
) -> Result<Control, OpenError> {
    let shard = opening.shard;
    let following = others
        .iter()
        .filter(|other| other.following == Following::Live);
    for other in following.filter(|other| other.node != opening.node) {
        for (stream, tail) in control.tails.iter_mut() {
            let theirs = other.applied[stream];
            let begun = tail.offset;
            while tail.offset < theirs.offset {
                let deadline = Instant::now() + PAGE_MAX;
                let after = opening
                    .replicas
                    .entries_after(shard, &other.node, stream, *tail, deadline)
                    .await;
                if after.is_empty() || !again(opening, control.token, stream, tail, after).await? {
                    break;
                }
            }
            if tail.offset > begun {
                let (node, name, upto) = (&other.node, stream.as_str(), tail.offset);
                tracing::warn!(%shard, stream = name, %node, from = %begun, %upto, "the log was written again from another replica");
            }
        }
    }
    Ok(control)
}

/// Appends entries that follow `tail`, which moves with them. False at the first one that does not
/// link.
async fn again(
    opening: &Opening,
    token: Token,
    stream: Stream,
    tail: &mut Tail,
    entries: Vec<RawEntry>,
) -> Result<bool, OpenError> {
    let shard = opening.shard;
    let [mut patience, soon] = COPIED_WITHIN;
    for RawEntry { bytes, .. } in entries {
        let Ok(entry) = Entry::decode_after(tail, &bytes) else {
            return Ok(false);
        };
        if entry.epoch > token.epoch {
            // Begun by an owner that the log forgot and that nobody told of. Epochs never fall: the
            // next claim is above it.
            let (found, ours) = (entry.epoch, token.epoch);
            return Err(OpenError::Failed(format!(
                "shard {shard}: another replica has entries of {found}, and this claim is of \
                 {ours}; it is claimed again"
            )));
        }
        let batch = Batch {
            shard,
            stream,
            token,
            expected: *tail,
            tail: entry.tail,
            bytes,
        };
        if !written(opening, batch, patience).await? {
            patience = soon;
        }
        *tail = entry.tail;
        telemetry::APPEND_RESTORED.add(1, &[("stream", stream.as_str())]);
    }

    Ok(true)
}

/// Appends an entry again. False when it stands in the log, of which there is no second copy so
/// far: whoever appends after it waits for one, of both.
async fn written(opening: &Opening, batch: Batch, patience: Duration) -> Result<bool, OpenError> {
    let (shard, stream, token, tail) = (batch.shard, batch.stream, batch.token, batch.tail);
    let failed = |why: String| OpenError::Failed(format!("shard {shard}: {why}"));
    let until = Instant::now() + WRITTEN_MAX;
    let mut end = opening.lane.append(batch);
    while Instant::now() < until {
        match tokio::time::timeout(patience, &mut end).await {
            Ok(Ok(Definite::Committed)) => return Ok(true),
            Ok(Ok(other)) => {
                return Err(failed(format!(
                    "an entry was not accepted again: {other:?}"
                )));
            }
            Ok(Err(_)) => return Err(failed("the append lane has ended".to_owned())),
            Err(_late) => {}
        }
        let stands = opening.log.control(shard).await.ok().flatten();
        if stands.is_some_and(|control| control.token == token && control.tails[stream] == tail) {
            return Ok(false);
        }
    }

    Err(failed(
        "the log does not say whether an entry was accepted again".to_owned(),
    ))
}

fn too_short(opening: &Opening, stream: Stream, (ends, upto): (Tail, Tail)) -> OpenError {
    let (shard, path, name) = (opening.shard, opening.path.display(), stream.as_str());
    OpenError::Refused(format!(
        "shard {shard}: {path} holds {name} up to {}, but the log ends at {}, and the file no longer has the entries between \
         them: the log was lost or replaced; restore the log that belongs to this file",
        upto.offset, ends.offset
    ))
}
