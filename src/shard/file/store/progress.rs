//! Where the file stands, the raw entries it keeps, and the digest over everything else.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection, TypeInfo, ValueRef};

use crate::ids::Offset;
use crate::log::record::Tail;
use crate::log::{PerStream, Stream};
use crate::shard::file::store::columns::{int, offset, stream as stream_of, tail as tail_of};
use crate::shard::file::store::{KeptEntry, Store, StoreError};
use crate::shard::replicas::ReplicaDigest;

const APPLIED: &str = "SELECT stream, applied, chain FROM progress";
const KEPT_AFTER: &str = "SELECT last_offset, bytes FROM entries WHERE stream = ? AND last_offset > ? ORDER BY last_offset";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 1] = [KEPT_AFTER];

/// The logical content of the file: each table in the order of its key, but `seen`, in which
/// replicas may differ. Whoever adds a table or a column adds it below, so that files in which
/// nothing of it is used have the digest that older versions find.
const CONTENT: [&str; 14] = [
    "SELECT stream, applied, chain, max_epoch, newest_ts, mark_ts FROM progress ORDER BY stream",
    "SELECT stream, \"offset\", reason, bytes FROM quarantine ORDER BY stream, \"offset\"",
    "SELECT name, title, admin, created, created_by, created_offset, create_key, create_key_stamped, \
        create_fingerprint, last_seq, last_created, participants_count FROM conversations ORDER BY name",
    "SELECT conversation, participant, joined_seq, position FROM participants ORDER BY \
     conversation, participant",
    "SELECT conversation, participant, joined_seq, left_seq FROM departures ORDER BY conversation, \
     participant",
    "SELECT conversation, seq, id, source, text, reply_to, created FROM messages ORDER BY \
     conversation, seq",
    "SELECT conversation, seq, kind, created, body FROM events ORDER BY conversation, seq",
    "SELECT conversation, sender, key, seq, fingerprint, ts FROM message_keys ORDER BY \
     conversation, sender, key",
    "SELECT user, key, name, fingerprint, ts FROM create_keys ORDER BY user, key",
    "SELECT user, conversation, seq, joined, version, at FROM user_index ORDER BY user, \
     conversation",
    "SELECT \"offset\", idx, user, conversation, seq, joined, at, create_key, create_fingerprint FROM outbox \
        ORDER BY \"offset\", idx",
    "SELECT conversation, participant, delivered, read, delivered_at, read_at FROM watermarks \
        ORDER BY conversation, participant",
    "SELECT conversation, participant, kind, upto_seq, ts FROM advances \
        ORDER BY conversation, participant, kind, upto_seq",
    "SELECT message_id, participant, reaction, ts, conversation FROM reactions ORDER BY \
     message_id, participant",
];

/// What later versions added, each hashed if it has rows.
const ADDED: [&str; 13] = [
    "SELECT conversation, seq, data, mentions, edited, changed_seq, edits, deleted_by FROM messages \
        WHERE changed_seq > 0 OR data IS NOT NULL OR mentions IS NOT NULL ORDER BY conversation, seq",
    "SELECT conversation, seq, message_seq FROM events WHERE message_seq IS NOT NULL ORDER BY \
     conversation, seq",
    "SELECT conversation, participant, role, muted_until FROM participants \
        WHERE role <> 3 OR muted_until IS NOT NULL ORDER BY conversation, participant",
    "SELECT conversation, participant, role, muted_until FROM departures \
        WHERE role <> 3 OR muted_until IS NOT NULL ORDER BY conversation, participant",
    "SELECT name, data, posts, adds, edit_window_s, typing, presence, keeps, bans FROM conversations \
        WHERE data IS NOT NULL OR posts <> 1 OR adds <> 2 OR edit_window_s IS NOT NULL OR typing = 0 OR presence = 0 \
        OR keeps <> 0 OR bans <> 0 ORDER BY name",
    "SELECT conversation, user, banned_by, at, reason FROM bans ORDER BY conversation, user",
    "SELECT conversation, seq, erased FROM closings ORDER BY conversation",
    "SELECT conversation, up_to FROM pruned ORDER BY conversation",
    "SELECT conversation, retention_s FROM retained WHERE retention_s IS NOT NULL ORDER BY conversation",
    "SELECT conversation, participant, revision, notify_after, pinned, archived, at FROM views \
        ORDER BY conversation, participant",
    "SELECT \"offset\", idx, revision, pinned, archived FROM outbox_views ORDER BY \"offset\", idx",
    "SELECT user, conversation, joined_seq, version, revision, pinned, archived FROM index_views \
        ORDER BY user, conversation",
    "SELECT conversation, participant, read_up_to, at FROM own_marks ORDER BY conversation, \
     participant",
];

impl Store {
    /// Raw entries of a stream whose last offset is above `after`, in order, up to about
    /// `bytes_max`.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn kept_entries(
        &self,
        stream: Stream,
        after: Offset,
        bytes_max: usize,
    ) -> Result<Vec<KeptEntry>, StoreError> {
        let mut rows = sqlx::query(KEPT_AFTER)
            .bind(stream.as_str())
            .bind(int(after.0))
            .fetch(self.readers());
        let mut kept = Vec::new();
        let mut bytes = 0;

        while bytes < bytes_max
            && let Some(row) = self.read(rows.try_next()).await?
        {
            let entry = KeptEntry {
                last: offset(&row, 0)?,
                bytes: Bytes::from(row.try_get::<Vec<u8>, _>(1)?),
            };
            bytes += entry.bytes.len();
            kept.push(entry);
        }

        Ok(kept)
    }

    /// The hash of [`replica_digest`](Self::replica_digest) alone.
    ///
    /// # Errors
    /// SQLite refused.
    #[cfg(test)]
    pub(crate) async fn digest(&self) -> Result<[u8; 32], StoreError> {
        Ok(self.replica_digest().await?.sha256)
    }

    /// Returns a hash over the logical content (every table but raw entries), for comparing
    /// replicas at equal offsets, with the applied tails of that one moment of the file. It reads
    /// all of the file.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn replica_digest(&self) -> Result<ReplicaDigest, StoreError> {
        let _turn = self
            .digests
            .acquire()
            .await
            .map_err(|_closed| StoreError::Closed)?;
        let mut apart = self.read(self.apart.connect()).await?;
        let mut moment = self.read(apart.begin()).await?;
        let applied = self.read(applied_in(&mut moment)).await?;
        let mut hash = Sha256::new();

        for (table, statement) in (0_u8..).zip(CONTENT) {
            hash.update([b'T', table]);
            self.read(digest_rows(&mut moment, statement, &mut hash))
                .await?;
        }

        for (table, statement) in (0_u8..).zip(ADDED) {
            let mut rows = Sha256::new();
            if self
                .read(digest_rows(&mut moment, statement, &mut rows))
                .await?
                > 0
            {
                hash.update([b'A', table]);
                hash.update(rows.finalize());
            }
        }

        Ok(ReplicaDigest {
            applied,
            sha256: hash.finalize().into(),
        })
    }
}

/// Where a file stands, read now.
pub(in crate::shard) async fn applied_in(
    connection: &mut SqliteConnection,
) -> Result<PerStream<Tail>, StoreError> {
    let mut applied = PerStream::both(Tail::EMPTY);
    for row in sqlx::query(APPLIED).fetch_all(connection).await? {
        applied[stream_of(&row, 0)?] = tail_of(&row, 1, 2)?;
    }
    Ok(applied)
}

async fn digest_rows(
    moment: &mut SqliteConnection,
    statement: &'static str,
    hash: &mut Sha256,
) -> Result<u64, StoreError> {
    let (mut rows, mut count) = (sqlx::query(statement).fetch(moment), 0);
    while let Some(row) = rows.try_next().await? {
        count += 1;
        hash.update(b"R");
        for column in 0..row.len() {
            digest_value(&row, column, hash)?;
        }
    }
    Ok(count)
}

/// Each value with its type and length, so that no two rows look the same.
fn digest_value(row: &SqliteRow, column: usize, hash: &mut Sha256) -> Result<(), StoreError> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        hash.update(b"N");
        return Ok(());
    }

    let kind = value.type_info().name().to_owned();
    match kind.as_str() {
        "TEXT" => {
            let text: &str = row.try_get(column)?;
            hash.update(b"S");
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        "BLOB" => {
            let bytes: &[u8] = row.try_get(column)?;
            hash.update(b"B");
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        _ => {
            hash.update(b"I");
            hash.update(row.try_get::<i64, _>(column)?.to_be_bytes());
        }
    }

    Ok(())
}
