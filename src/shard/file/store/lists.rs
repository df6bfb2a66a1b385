//! Pages of users' lists: what they pinned in their order, then all else, the newest joined first.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{Offset, UserId};
use crate::shard::command::{IndexItem, ListPlace, Listed};
use crate::shard::file::store::columns::{conversation, int, offset, seq};
use crate::shard::file::store::{Store, StoreError};

const PINNED: &str = "SELECT conversation, joined_seq, 1, version, pinned, archived FROM index_views \
    WHERE user = ?1 AND pinned IS NOT NULL AND pinned >= ?2 AND NOT (pinned = ?2 AND version >= ?3) \
    AND archived BETWEEN ?4 AND ?5 ORDER BY pinned, version DESC LIMIT ?6";
const OTHERS: &str = "SELECT u.conversation, u.seq, u.joined, u.version, NULL, ifnull(v.archived, 0) \
    FROM user_index AS u LEFT JOIN index_views AS v ON v.user = u.user AND v.conversation = u.conversation \
    WHERE u.user = ?1 AND u.joined = 1 AND u.version < ?3 AND v.pinned IS NULL \
    AND ifnull(v.archived, 0) BETWEEN ?4 AND ?5 ORDER BY u.version DESC LIMIT ?6";
const ARCHIVED: &str = "SELECT conversation, joined_seq, 1, version, NULL, 1 FROM index_views \
    WHERE user = ?1 AND archived = 1 AND pinned IS NULL AND version < ?3 ORDER BY version DESC LIMIT ?6";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 3] = [PINNED, OTHERS, ARCHIVED];

impl Store {
    /// A page of a user's list behind a place: of those that they put away, of all others, or of
    /// both.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn index_page(
        &self,
        user: &UserId,
        after: Option<ListPlace>,
        archived: Option<bool>,
        limit: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        let range = (archived == Some(true), archived != Some(false));
        let others = if range.0 { ARCHIVED } else { OTHERS };
        let begins = match after {
            None => (-1, Offset(0)),
            Some(place) => (place.pinned.map_or(i64::MAX, i64::from), place.version),
        };
        let parts = [
            (PINNED, begins),
            // Behind those that are pinned the others begin with the newest.
            (
                others,
                match after {
                    Some(ListPlace {
                        pinned: None,
                        version,
                    }) => (0, version),
                    _ => (0, Offset(u64::MAX)),
                },
            ),
        ];

        let mut page = Vec::new();
        // One moment of the file: nothing is pinned or let go in between.
        let mut moment = self.read(self.readers().begin()).await?;
        for (statement, (pinned, version)) in parts {
            let left = limit.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
            if left == 0 || statement == PINNED && pinned == i64::MAX {
                continue;
            }
            let query = sqlx::query(statement)
                .bind(user.as_str())
                .bind(pinned)
                .bind(int(version.0))
                .bind(range.0)
                .bind(range.1)
                .bind(left);
            let rows = self.read(query.fetch_all(&mut *moment)).await?;
            for row in &rows {
                page.push(listed(row)?);
            }
        }
        Ok(page)
    }
}

fn listed(row: &SqliteRow) -> Result<Listed, StoreError> {
    Ok(Listed {
        item: IndexItem {
            conversation: conversation(row, 0)?,
            seq: seq(row, 1)?,
            joined: row.try_get(2)?,
            version: offset(row, 3)?,
        },
        pinned: row.try_get(4)?,
        archived: row.try_get(5)?,
    })
}
