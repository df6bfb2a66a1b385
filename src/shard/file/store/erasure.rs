//! Reads of what is left of closed conversations.

use sqlx::Row;

use crate::ids::{ConversationName, Seq};
use crate::shard::file::store::columns::{conversation, seq};
use crate::shard::file::store::{Store, StoreError};

const LEFT: &str = "SELECT x.conversation, \
    ifnull((SELECT g.up_to FROM pruned AS g WHERE g.conversation = x.conversation), 0), x.seq, \
    EXISTS (SELECT 1 FROM bans AS b WHERE b.conversation = x.conversation) \
        OR EXISTS (SELECT 1 FROM departures AS d WHERE d.conversation = x.conversation AND d.left_seq < x.seq), \
    EXISTS (SELECT 1 FROM watermarks AS w WHERE w.conversation = x.conversation) \
        OR EXISTS (SELECT 1 FROM advances AS a WHERE a.conversation = x.conversation) \
        OR EXISTS (SELECT 1 FROM reactions AS r WHERE r.conversation = x.conversation) \
    FROM closings AS x INDEXED BY closings_left WHERE x.erased = 0 ORDER BY x.conversation LIMIT 1";

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
