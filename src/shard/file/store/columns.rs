//! Between columns and the domain's types. SQLite's integers are signed: numbers of ours that do
//! not fit are cut at its largest, which no counter reaches.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::Stream;
use crate::log::record::{Chain, Content, Fingerprint, Since, Tail};
use crate::protocol::{Role, Settings, Whom};
use crate::shard::file::apply::changes::Rank;
use crate::shard::file::store::{StoreError, View};

/// A number as SQLite holds it.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back.
pub(super) fn number(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
}

/// A number that may be absent.
pub(super) fn optional(row: &SqliteRow, column: usize) -> Result<Option<u64>, StoreError> {
    Ok(row
        .try_get::<Option<i64>, _>(column)?
        .map(|found| u64::try_from(found).unwrap_or_default()))
}

/// A small number.
pub(super) fn small(row: &SqliteRow, column: usize) -> Result<u32, StoreError> {
    Ok(u32::try_from(number(row, column)?).unwrap_or(u32::MAX))
}

/// A participant's own view, from four columns; absent ones say that there is none.
pub(super) fn own_view(row: &SqliteRow, column: usize) -> Result<View, StoreError> {
    Ok(View {
        revision: optional(row, column)?.unwrap_or_default(),
        notify_after: optional(row, column + 1)?,
        pinned: row.try_get(column + 2)?,
        archived: row
            .try_get::<Option<bool>, _>(column + 3)?
            .unwrap_or_default(),
    })
}

pub(super) fn seq(row: &SqliteRow, column: usize) -> Result<Seq, StoreError> {
    number(row, column).map(Seq)
}

pub(super) fn offset(row: &SqliteRow, column: usize) -> Result<Offset, StoreError> {
    number(row, column).map(Offset)
}

pub(super) fn user(row: &SqliteRow, column: usize) -> Result<UserId, StoreError> {
    UserId::parse(row.try_get(column)?).map_err(|error| malformed("a user", &error.to_string()))
}

pub(super) fn conversation(row: &SqliteRow, column: usize) -> Result<ConversationName, StoreError> {
    ConversationName::parse(row.try_get(column)?)
        .map_err(|error| malformed("a conversation", &error.to_string()))
}

pub(super) fn message_id(row: &SqliteRow, column: usize) -> Result<MessageId, StoreError> {
    optional_id(row, column)?.ok_or_else(|| malformed("a message id", "it is absent"))
}

pub(super) fn optional_id(row: &SqliteRow, column: usize) -> Result<Option<MessageId>, StoreError> {
    let Some(bytes) = row.try_get::<Option<&[u8]>, _>(column)? else {
        return Ok(None);
    };
    let id = uuid::Uuid::from_slice(bytes)
        .ok()
        .and_then(MessageId::from_uuid);
    id.map(Some)
        .ok_or_else(|| malformed("a message id", "it is none of ours"))
}

pub(super) fn fingerprint(row: &SqliteRow, column: usize) -> Result<Fingerprint, StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes
        .try_into()
        .ok()
        .ok_or_else(|| malformed("a fingerprint", "it is not 16 bytes"))
}

pub(super) fn tail(
    row: &SqliteRow,
    offset_column: usize,
    chain_column: usize,
) -> Result<Tail, StoreError> {
    let chain: &[u8] = row.try_get(chain_column)?;
    let chain = chain
        .try_into()
        .ok()
        .ok_or_else(|| malformed("a chain", "it is not 16 bytes"))?;
    Ok(Tail {
        offset: offset(row, offset_column)?,
        chain: Chain(chain),
    })
}

pub(super) fn stream(row: &SqliteRow, column: usize) -> Result<Stream, StoreError> {
    let name: &str = row.try_get(column)?;
    let known = Stream::BOTH
        .into_iter()
        .find(|stream| stream.as_str() == name);
    known.ok_or_else(|| malformed("a stream", name))
}

/// A value in the file that this program never wrote. Not taken for damage of the file: a newer
/// version may have written it.
pub(super) fn malformed(what: &str, why: &str) -> StoreError {
    StoreError::Failed(format!("{what} in the file is malformed: {why}"))
}

/// A text that may be absent.
pub(super) fn optional_text(
    row: &SqliteRow,
    column: usize,
) -> Result<Option<Arc<str>>, StoreError> {
    Ok(row.try_get::<Option<&str>, _>(column)?.map(Arc::from))
}

/// Names as one column holds them; `None` for none.
pub(super) fn json_of_names(names: &[UserId]) -> Option<String> {
    // Names in memory have no failing case.
    if names.is_empty() {
        None
    } else {
        serde_json::to_string(names).ok()
    }
}

/// The way back.
pub(super) fn names(row: &SqliteRow, column: usize) -> Result<Vec<UserId>, StoreError> {
    let Some(list) = row.try_get::<Option<&str>, _>(column)? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(list).map_err(|error| malformed("a list of names", &error.to_string()))
}

/// What a message says, from the columns text, data and mentions, which are not side by side.
pub(super) fn content(
    row: &SqliteRow,
    [text, data, mentions]: [usize; 3],
) -> Result<Content, StoreError> {
    let text = Arc::from(row.try_get::<&str, _>(text)?);
    Ok(Content {
        text,
        data: optional_text(row, data)?,
        mentions: names(row, mentions)?,
    })
}

/// What became of a message, from the columns edited, `deleted_by` and `changed_seq`, the first of
/// them at `at`.
pub(super) fn since(row: &SqliteRow, at: usize) -> Result<Option<Since>, StoreError> {
    let changed = seq(row, at + 2)?;
    if changed == Seq(0) {
        return Ok(None);
    }
    let deleted_by = row
        .try_get::<Option<&str>, _>(at + 1)?
        .is_some()
        .then(|| user(row, at + 1))
        .transpose()?;
    Ok(Some(Since {
        seq: changed,
        edited: optional(row, at)?,
        deleted_by,
    }))
}

/// A role as one column holds it. Numbers are for ever.
pub(super) fn role_number(role: Role) -> u32 {
    match role {
        Role::Admin => 1,
        Role::Moderator => 2,
        Role::Member => 3,
        Role::Reader => 4,
    }
}

/// The way back.
pub(super) fn role(row: &SqliteRow, column: usize) -> Result<Role, StoreError> {
    let number = small(row, column)?;
    let known = Role::ALL
        .into_iter()
        .find(|role| role_number(*role) == number);
    known.ok_or_else(|| malformed("a role", "its number is not known"))
}

/// What a participant is, from the columns role and `muted_until`, the first of them at `at`.
pub(super) fn rank(row: &SqliteRow, at: usize) -> Result<Rank, StoreError> {
    Ok(Rank {
        role: role(row, at)?,
        muted_until: optional(row, at + 1)?,
    })
}

/// Seconds of a setting that may be absent.
fn seconds(row: &SqliteRow, column: usize) -> Result<Option<u32>, StoreError> {
    let seconds = optional(row, column)?;
    Ok(seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)))
}

/// Whom a setting lets, as one column holds it.
pub(super) fn whom_number(whom: Whom) -> u32 {
    match whom {
        Whom::All => 1,
        Whom::Moderators => 2,
    }
}

/// The settings, from the columns posts, adds, `edit_window_s`, typing, presence and `retention_s`,
/// the first of them at `at`.
pub(super) fn settings(row: &SqliteRow, at: usize) -> Result<Settings, StoreError> {
    let whom = |column| match small(row, column)? {
        1 => Ok(Whom::All),
        2 => Ok(Whom::Moderators),
        _ => Err(malformed("a setting", "its number is not known")),
    };
    Ok(Settings {
        post: whom(at)?,
        add: whom(at + 1)?,
        edit_window_s: seconds(row, at + 2)?,
        typing: row.try_get(at + 3)?,
        presence: row.try_get(at + 4)?,
        retention_s: seconds(row, at + 5)?,
    })
}

/// A list of texts as one JSON parameter.
pub(super) fn json<T: serde::Serialize>(list: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Failed(error.to_string()))
}
