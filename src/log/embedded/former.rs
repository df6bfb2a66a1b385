//! The embedded log of before 2026-11-30, one `SQLite` file, is taken over into segments when its
//! folder is first started on.
//!
//! ```text
//! log(stream, last_offset, bytes)   one row an entry; stream = 2 × shard + 0 for messages, 1 for receipts
//! control(shard, …)                 one row a shard that was ever claimed
//! cell(name, version, body)         the table store's values
//! ```
//! Numbers that are `u64` in memory stand as the `i64` of the same bits.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::cycle::{Cell, NewEntry, State};
use super::layout::Draft;
use super::segments::{End, Segments};
use crate::files::{beside, folder_of, sync_folder};
use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Tail};
use crate::log::{Control, Identity, PerStream, Token};

/// What stands beside the file while it is open, and the lock.
const BESIDE: [&str; 4] = ["-wal", "-shm", ".lock", ""];
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const SCHEMA_VERSION: i64 = 1;
/// Entries are written in records of about so many bytes.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

type ControlRow = (
    i64,
    Vec<u8>,
    i64,
    i64,
    i64,
    String,
    i64,
    i64,
    Vec<u8>,
    i64,
    Vec<u8>,
);

/// Takes over the log of a former version from `file` to `folder`, if there is one and nothing took
/// it over before. Returns whether it did. May be called again after it was broken off at any
/// moment.
///
/// # Errors
/// One line for the operator: the former log cannot be read, or the new one not be written.
pub(crate) async fn take_over(file: &Path, folder: &Path) -> Result<bool, String> {
    if !file.exists() {
        return Ok(false);
    }
    let failed = |reason: String| format!("cannot take over the log {}: {reason}", file.display());
    if !folder.exists() {
        let new = beside(folder, ".new");
        copy(file, &new).await.map_err(failed)?;
        let named = fs::rename(&new, folder).and_then(|()| sync_folder(folder_of(folder)));
        named.map_err(|error| failed(error.to_string()))?;
    }

    // The name of the folder is on disk: all of the former log is in it.
    for ending in BESIDE {
        let path = beside(file, ending);
        if path.exists() {
            fs::remove_file(&path).map_err(|error| failed(error.to_string()))?;
        }
    }

    Ok(true)
}

/// Writes everything that the file holds into segments of a new folder.
async fn copy(file: &Path, new: &Path) -> Result<(), String> {
    if new.exists() {
        fs::remove_dir_all(new).map_err(|error| error.to_string())?;
    }
    fs::create_dir(new).map_err(|error| error.to_string())?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(|error| error.to_string())?;
    let state = load_state(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
    let end = End {
        sequence: 1,
        ..End::default()
    };
    // Segment 1 is needed: the entries are about to stand in it and those after it.
    let mut segments =
        Segments::begin(new, end, &state, Some(1)).map_err(|failure| failure.reason)?;

    let select = "SELECT stream, last_offset, bytes FROM log ORDER BY stream, last_offset";
    let mut rows = sqlx::query_as::<_, (i64, i64, Vec<u8>)>(select).fetch(&mut connection);
    let (mut draft, mut bytes) = (Draft::new(), 0);
    while let Some((stream, last, entry)) =
        rows.try_next().await.map_err(|error| error.to_string())?
    {
        let stream =
            u32::try_from(stream).map_err(|error| format!("an entry is malformed: {error}"))?;
        bytes += entry.len();
        draft.add_entry(&NewEntry {
            stream,
            last: Offset(last.cast_unsigned()),
            bytes: Bytes::from(entry),
        });
        if bytes >= RECORD_BYTES {
            let full = std::mem::replace(&mut draft, Draft::new());
            segments
                .append(full, &state, Some(1))
                .map_err(|failure| failure.reason)?;
            bytes = 0;
        }
    }
    drop(rows);
    segments
        .append(draft, &state, Some(1))
        .map_err(|failure| failure.reason)?;
    connection.close().await.map_err(|error| error.to_string())
}

async fn load_state(connection: &mut SqliteConnection) -> Result<State, sqlx::Error> {
    let (schema,): (i64,) = sqlx::query_as("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await?;
    if schema != SCHEMA_VERSION {
        return Err(unusable(format!(
            "it has schema {schema}, this program knows {SCHEMA_VERSION}"
        )));
    }

    let mut state = State::default();
    let select = "SELECT shard, cluster, shards, epoch, nonce, owner, beat, messages_offset, messages_chain, \
                  receipts_offset, receipts_chain FROM control";
    let rows: Vec<ControlRow> = sqlx::query_as(select).fetch_all(&mut *connection).await?;
    for row in rows {
        let (shard, control) =
            control_of(row).ok_or_else(|| unusable("a control record is malformed"))?;
        state.controls.insert(shard, control);
    }
    let cells: Vec<(String, i64, Vec<u8>)> = sqlx::query_as("SELECT name, version, body FROM cell")
        .fetch_all(connection)
        .await?;
    for (name, version, body) in cells {
        state.cells.insert(
            name,
            Cell {
                version: version.cast_unsigned(),
                body: Bytes::from(body),
            },
        );
    }
    Ok(state)
}

/// A control record as it stands in the file.
fn control_of(row: ControlRow) -> Option<(ShardId, Control)> {
    let (shard, cluster, shards, epoch, nonce, owner, beat, m_offset, m_chain, r_offset, r_chain) =
        row;
    let tail = |offset: i64, chain: Vec<u8>| -> Option<Tail> {
        Some(Tail {
            offset: Offset(offset.cast_unsigned()),
            chain: Chain(chain.try_into().ok()?),
        })
    };

    let control = Control {
        identity: Identity {
            cluster: ClusterId(uuid::Uuid::from_slice(&cluster).ok()?),
            shards: u32::try_from(shards).ok()?,
        },
        token: Token {
            epoch: Epoch(epoch.cast_unsigned()),
            nonce: nonce.cast_unsigned(),
        },
        owner: NodeId::from(owner.as_str()),
        beat: beat.cast_unsigned(),
        tails: PerStream {
            messages: tail(m_offset, m_chain)?,
            receipts: tail(r_offset, r_chain)?,
        },
    };
    Some((ShardId(u16::try_from(shard).ok()?), control))
}

fn unusable(reason: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Configuration(reason.into().into())
}
