//! Messages and events from rows, as messages stand now.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, Seq};
use crate::log::record::{Content, Event, EventKind, Record};
use crate::protocol;
use crate::shard::file::store::columns::{
    content, conversation, malformed, message_id, number, optional_id, seq, since, user,
};
use crate::shard::file::store::{Located, ShownMessage, StoreError};

/// Where a message is, from the columns conversation, seq, source, and whether it is deleted.
pub(super) fn located(row: &SqliteRow) -> Result<Located, StoreError> {
    let deleted = row.try_get(3)?;
    Ok(Located {
        conversation: conversation(row, 0)?,
        seq: seq(row, 1)?,
        source: user(row, 2)?,
        deleted,
    })
}

/// A message from the columns id, conversation, seq, source, text, `reply_to`, created, data,
/// mentions, edited, `deleted_by`, `changed_seq`, the first of them at `at`.
pub(super) fn message(row: &SqliteRow, at: usize) -> Result<ShownMessage, StoreError> {
    let Content {
        text,
        data,
        mentions,
    } = content(row, [at + 4, at + 7, at + 8])?;

    let since = since(row, at + 9)?;
    let (changed, edited, deleted_by) = since.map_or((Seq(0), None, None), |since| {
        (since.seq, since.edited, since.deleted_by)
    });
    let core = protocol::MessageCore {
        id: message_id(row, at)?,
        conversation: conversation(row, at + 1)?,
        seq: seq(row, at + 2)?,
        source: user(row, at + 3)?,
        text: text.as_ref().to_owned(),
        reply_to: optional_id(row, at + 5)?,
        created: number(row, at + 6)?,
        edited,
        deleted: deleted_by.is_some(),
        data: data.map(protocol::JsonObject::stored),
        mentions,
        deleted_by,
    };
    Ok(ShownMessage { core, changed })
}

/// An event from the columns seq, created, body, id, source, text, `reply_to`, data, mentions,
/// edited, `deleted_by`, `changed_seq`; of one that is neither a message nor an edit the first
/// three are enough.
pub(super) fn event(
    conversation: &ConversationName,
    row: &SqliteRow,
) -> Result<Arc<Event>, StoreError> {
    if let Some(body) = row.try_get::<Option<&[u8]>, _>(2)? {
        return match Record::decode(Bytes::copy_from_slice(body)) {
            Record::Event(event) => with_content(event, row),
            _ => Err(malformed("an event", "its body is none")),
        };
    }

    let kind = EventKind::message(
        message_id(row, 3)?,
        user(row, 4)?,
        content(row, [5, 7, 8])?,
        optional_id(row, 6)?,
    );

    let (seq, created) = (seq(row, 0)?, number(row, 1)?);
    let event = Event {
        conversation: conversation.clone(),
        seq,
        created,
        key: None,
        kind,
    };
    Ok(Arc::new(event.since(since(row, 9)?)))
}

/// An `edited` with what its message says, if it was the last change of it.
fn with_content(event: Arc<Event>, row: &SqliteRow) -> Result<Arc<Event>, StoreError> {
    let EventKind::Edited {
        message_id,
        message_seq,
        by,
        ..
    } = &event.kind
    else {
        return Ok(event);
    };

    let superseded = row.try_get::<Option<&str>, _>(5)?.is_none();
    let Content {
        text,
        data,
        mentions,
    } = if superseded {
        Content::none()
    } else {
        content(row, [5, 7, 8])?
    };

    let (message_id, message_seq, by) = (*message_id, *message_seq, by.clone());
    let kind = EventKind::Edited {
        message_id,
        message_seq,
        by,
        text,
        data,
        mentions,
        superseded,
    };

    Ok(Arc::new(Event {
        kind,
        ..Event::clone(&event)
    }))
}
