//! Orphans: messages that a replica applied and the log lost, after which it went on otherwise. The
//! log is the truth; but they may have been acknowledged, so they are sent again to the owner, as
//! [`crate::shard::command::Command::Resubmit`]: each as the file edited it last, and none that the
//! file deleted. Deletions of what the log has, messages and conversations, are sent again too.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::ids::{Offset, ShardId};
use crate::log::record::{Chain, Content, Entry, Event, EventKind, Header, Record};
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
pub(crate) async fn orphans(
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
    Ok(left_of(beyond.flat_map(Entry::records_of)))
}

/// What is to be sent again of these records.
fn left_of(records: impl Iterator<Item = Record>) -> Vec<Arc<Event>> {
    let mut orphans: Vec<Arc<Event>> = Vec::new();
    for record in records {
        let Record::Event(event) = record else {
            continue;
        };
        let at = event.kind.message_id().and_then(|id| {
            orphans
                .iter()
                .position(|orphan| orphan.kind.message_id() == Some(id))
        });
        match (&event.kind, at.and_then(|at| orphans.get_mut(at))) {
            (EventKind::Message { .. }, _) => orphans.push(event),
            (
                EventKind::Edited {
                    text,
                    data,
                    mentions,
                    ..
                },
                Some(orphan),
            ) => {
                if let EventKind::Message {
                    id,
                    source,
                    reply_to,
                    ..
                } = &orphan.kind
                {
                    let (text, data, mentions) = (Arc::clone(text), data.clone(), mentions.clone());
                    let kind = EventKind::message(
                        *id,
                        source.clone(),
                        Content {
                            text,
                            data,
                            mentions,
                        },
                        *reply_to,
                    );
                    *orphan = Arc::new(Event {
                        kind,
                        ..Event::clone(orphan)
                    });
                }
            }
            (EventKind::Closed { .. }, _) => {
                orphans.retain(|orphan| orphan.conversation != event.conversation);
                orphans.push(event);
            }
            (EventKind::Deleted { .. }, None) => orphans.push(event),
            (EventKind::Deleted { .. }, Some(_)) => {
                orphans.retain(|orphan| orphan.kind.message_id() != event.kind.message_id())
            }
            _ => {}
        }
    }

    orphans
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
