//! Orphans: messages that a replica applied and the log lost, after which it went on otherwise. The
//! log is the truth; but they may have been acknowledged, so they are sent again to the owner, as
//! [`crate::shard::command::Command::Resubmit`].

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::ids::{Offset, ShardId};
use crate::log::record::{Chain, Entry, Event, EventKind, Header, Record};
use crate::log::{ShardLog, Stream};
use crate::shard::error::OpenError;
use crate::shard::file::store::aside;

/// Bytes read from the log at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// The messages in the raw entries of a diverged file, which is not open, that the log does not
/// have as far as it can be compared. One that it has all the same is recognised when it is sent
/// again.
///
/// # Errors
/// Failed: the file or the log cannot be read.
pub async fn orphans(
    shard: ShardId,
    log: &dyn ShardLog,
    path: &Path,
) -> Result<Vec<Arc<Event>>, OpenError> {
    let kept = aside::raw_messages(path).await?;
    let headers: Vec<Header> = kept
        .iter()
        .filter_map(|bytes| Header::read(bytes).ok())
        .collect();
    let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
        return Ok(Vec::new());
    };
    let of_log = places(
        shard,
        log,
        Offset(first.first.0.saturating_sub(1)),
        last.tail().offset,
    )
    .await?;
    // The chain holds all that stands before: the last place in common is the end of the common
    // history.
    let common = headers
        .iter()
        .rposition(|header| of_log.contains(&(header.tail().offset, header.chain)));
    let beyond = kept.iter().skip(common.map_or(0, |place| place + 1));
    let records = beyond.flat_map(Entry::records_of);
    Ok(records
        .filter_map(|record| match record {
            Record::Event(event) if matches!(event.kind, EventKind::Message { .. }) => Some(event),
            _ => None,
        })
        .collect())
}

/// Where the log's entries of messages end, from `after` to `upto`, and their chains there.
async fn places(
    shard: ShardId,
    log: &dyn ShardLog,
    after: Offset,
    upto: Offset,
) -> Result<HashSet<(Offset, Chain)>, OpenError> {
    let (mut places, mut at) = (HashSet::new(), after);
    while at < upto {
        let page = log.read(shard, Stream::Messages, at, PAGE_BYTES).await?;
        let Some(last) = page.last() else { break };
        at = last.last;
        places.extend(
            page.iter()
                .filter_map(|raw| Some((raw.last, Header::read(&raw.bytes).ok()?.chain))),
        );
    }
    Ok(places)
}
