//! Reads of the keys that clients used.

use sqlx::Row;

use crate::ids::{ConversationName, IdempotencyKey, UserId};
use crate::shard::command::CreateKeyUse;
use crate::shard::file::store::columns::{conversation, fingerprint, seq, user};
use crate::shard::file::store::{KeyRow, Store, StoreError, UsedKey};

const KEY: &str =
    "SELECT seq, fingerprint FROM message_keys WHERE conversation = ? AND sender = ? AND key = ?";

const RECENT_KEYS: &str = "SELECT conversation, sender, key FROM message_keys \
    WHERE (conversation, sender, key) > (?, ?, ?) ORDER BY conversation, sender, key LIMIT ?";

const CREATE_KEY: &str = "SELECT name, fingerprint FROM create_keys WHERE user = ? AND key = ?";

/// These reads, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 3] = [KEY, RECENT_KEYS, CREATE_KEY];

impl Store {
    /// What a client's key made, while the file remembers it: for 24 h at least.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn key(
        &self,
        conversation: &ConversationName,
        sender: &UserId,
        key: &IdempotencyKey,
    ) -> Result<Option<KeyRow>, StoreError> {
        let query = sqlx::query(KEY)
            .bind(conversation.as_str())
            .bind(sender.as_str())
            .bind(key.key.as_ref());
        let row = self.read(query.fetch_optional(self.readers())).await?;
        row.map(|row| {
            Ok(KeyRow {
                seq: seq(&row, 0)?,
                fingerprint: fingerprint(&row, 1)?,
            })
        })
        .transpose()
    }

    /// Client keys that the file remembers, for the filter: the first `limit` after `after`,
    /// ordered.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn recent_keys(
        &self,
        after: Option<&UsedKey>,
        limit: u32,
    ) -> Result<Vec<UsedKey>, StoreError> {
        let (conversation_after, sender, key) = after
            .map_or(("", "", ""), |(conversation, sender, key)| {
                (conversation.as_str(), sender.as_str(), key.as_str())
            });
        let query = sqlx::query(RECENT_KEYS)
            .bind(conversation_after)
            .bind(sender)
            .bind(key);
        let rows = self
            .read(query.bind(limit).fetch_all(self.readers()))
            .await?;
        rows.iter()
            .map(|row| Ok((conversation(row, 0)?, user(row, 1)?, row.try_get(2)?)))
            .collect()
    }

    /// What a user created under a client's key, while the file remembers it: for 24 h at least.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn create_key(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Result<Option<CreateKeyUse>, StoreError> {
        let query = sqlx::query(CREATE_KEY)
            .bind(user.as_str())
            .bind(key.key.as_ref());
        let row = self.read(query.fetch_optional(self.readers())).await?;
        row.map(|row| {
            Ok(CreateKeyUse {
                name: conversation(&row, 0)?,
                fingerprint: fingerprint(&row, 1)?,
            })
        })
        .transpose()
    }
}
