//! Reads of what is left of closed conversations.

use sqlx::Row;

use crate::ids::{ConversationName, Seq};
use crate::shard::file::store::columns::{conversation, seq};
use crate::shard::file::store::{Store, StoreError};

const LEFT: &str = "SELECT c.name, c.pruned, c.last_seq, \
    EXISTS (SELECT 1 FROM bans AS b WHERE b.conversation = c.name) \
        OR EXISTS (SELECT 1 FROM departures AS d WHERE d.conversation = c.name AND d.left_seq < c.last_seq), \
    EXISTS (SELECT 1 FROM watermarks AS w WHERE w.conversation = c.name) \
        OR EXISTS (SELECT 1 FROM advances AS a WHERE a.conversation = c.name) \
        OR EXISTS (SELECT 1 FROM reactions AS r WHERE r.conversation = c.name) \
    FROM conversations AS c INDEXED BY conversations_closed WHERE c.closed = 1 ORDER BY c.name LIMIT 1";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 1] = [LEFT];

/// What the file has of a closed conversation that is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub conversation: ConversationName,
    /// Messages and events up to there are gone.
    pub pruned: Seq,
    /// Seq of its last event, which stays.
    pub last: Seq,
    /// It has bans, or departures of before.
    pub has_members: bool,
    /// It has watermarks, advances or reactions.
    pub has_receipts: bool,
}

impl Store {
    /// The first closed conversation that is not erased, if there is one.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn left_to_erase(&self) -> Result<Option<Left>, StoreError> {
        let query = sqlx::query(LEFT);
        let row = self.read(query.fetch_optional(self.readers())).await?;
        row.map(|row| {
            Ok(Left {
                conversation: conversation(&row, 0)?,
                pruned: seq(&row, 1)?,
                last: seq(&row, 2)?,
                has_members: row.try_get(3)?,
                has_receipts: row.try_get(4)?,
            })
        })
        .transpose()
    }
}
