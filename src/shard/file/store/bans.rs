//! Reads of who is banned.

use sqlx::Row;

use crate::ids::{ConversationName, UserId};
use crate::protocol::Ban;
use crate::shard::file::store::columns::{number, user};
use crate::shard::file::store::{Store, StoreError};

pub(super) const BANS: &str = "SELECT user, banned_by, at, reason FROM bans WHERE conversation = ? AND user > ? ORDER BY user LIMIT ?";

impl Store {
    /// Bans by name after `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn bans(
        &self,
        conversation: &ConversationName,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<Ban>, StoreError> {
        let query = sqlx::query(BANS)
            .bind(conversation.as_str())
            .bind(after.map_or("", UserId::as_str))
            .bind(limit);
        self.read(query.fetch_all(self.readers()))
            .await?
            .iter()
            .map(|row| {
                Ok(Ban {
                    user: user(row, 0)?,
                    by: user(row, 1)?,
                    at: number(row, 2)?,
                    reason: row.try_get(3)?,
                })
            })
            .collect()
    }
}
