//! Reads of watermarks, receipts and reactions: here, and only here, the two streams' tables meet.
//! Where the read watermark starts (at the seq of one's own join) is known to the messages stream
//! alone.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::protocol;
use crate::shard::file::store::columns::{
    int, json, message_id, number, optional, seq, small, user,
};
use crate::shard::file::store::{Located, Marks, Store, StoreError};

const MARKS: &str = "SELECT w.participant, w.delivered, w.read, o.read_up_to FROM watermarks AS w \
    LEFT JOIN own_marks AS o ON o.conversation = w.conversation AND o.participant = w.participant \
    WHERE w.conversation = ?";
const REACTIONS: &str = "SELECT r.message_id, r.participant, r.reaction FROM json_each(?1) AS asked \
    CROSS JOIN reactions AS r ON r.message_id = unhex(asked.value)";
const PAGE: &str = "SELECT p.participant, ifnull(w.delivered, 0), max(ifnull(w.read, 0), p.joined_seq) \
    FROM participants AS p \
    LEFT JOIN watermarks AS w ON w.conversation = p.conversation AND w.participant = p.participant \
    WHERE p.conversation = ?1 AND p.participant > ?2 ORDER BY p.participant LIMIT ?3";
const RECEIPTS: &str = "SELECT p.participant, r.reaction, r.ts, \
    (SELECT a.ts FROM advances AS a WHERE a.conversation = ?1 AND a.participant = p.participant AND a.kind = 0 \
        AND a.upto_seq >= ?2 ORDER BY a.upto_seq LIMIT 1), \
    (SELECT a.ts FROM advances AS a WHERE a.conversation = ?1 AND a.participant = p.participant AND a.kind = 1 \
        AND a.upto_seq >= ?2 ORDER BY a.upto_seq LIMIT 1) \
    FROM participants AS p \
    LEFT JOIN reactions AS r ON r.message_id = ?3 AND r.participant = p.participant \
    WHERE p.conversation = ?1 AND p.participant > ?4 AND p.joined_seq < ?2 AND p.participant <> ?5 \
    ORDER BY p.participant LIMIT ?6";
const REACTION: &str = "SELECT reaction FROM reactions WHERE message_id = ? AND participant = ?";
// Its key is what is asked and sorted by; the row of the message comes first, and is one.
pub(super) const REACTIONS_PAGE: &str = "SELECT r.participant, r.reaction, r.ts FROM messages AS m \
    CROSS JOIN reactions AS r ON r.message_id = m.id \
    WHERE m.id = ?1 AND m.deleted_by IS NULL AND r.participant > ?2 ORDER BY r.participant LIMIT ?3";

const ACQUAINTED: &str = "SELECT p.participant FROM participants AS p WHERE p.conversation = ?1 AND ( \
    EXISTS (SELECT 1 FROM watermarks AS w WHERE w.conversation = p.conversation AND w.participant = p.participant \
        AND w.read > p.joined_seq) \
    OR EXISTS (SELECT 1 FROM messages AS m WHERE m.conversation = p.conversation AND m.source = p.participant \
        AND m.seq > p.joined_seq) \
    OR EXISTS (SELECT 1 FROM reactions AS r WHERE r.conversation = p.conversation AND r.participant = p.participant \
        AND r.ts >= ifnull((SELECT e.created FROM events AS e WHERE e.conversation = p.conversation AND e.seq = p.joined_seq), 0)) \
    ) ORDER BY p.participant";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 7] = [
    MARKS,
    REACTIONS,
    PAGE,
    RECEIPTS,
    REACTION,
    REACTIONS_PAGE,
    ACQUAINTED,
];

impl Store {
    /// Every watermark of a conversation.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn marks(
        &self,
        conversation: &ConversationName,
    ) -> Result<Vec<Marks>, StoreError> {
        let rows = self
            .read(
                sqlx::query(MARKS)
                    .bind(conversation.as_str())
                    .fetch_all(self.readers()),
            )
            .await?;
        let marks = |row| {
            Ok(Marks {
                user: user(row, 0)?,
                delivered: seq(row, 1)?,
                read: seq(row, 2)?,
                own: optional(row, 3)?.map(Seq),
            })
        };
        rows.iter().map(marks).collect()
    }

    /// Participants who have sent, read or reacted since they joined, by name.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn acquainted(
        &self,
        conversation: &ConversationName,
    ) -> Result<Vec<UserId>, StoreError> {
        let rows = self
            .read(
                sqlx::query(ACQUAINTED)
                    .bind(conversation.as_str())
                    .fetch_all(self.readers()),
            )
            .await?;
        rows.iter().map(|row| user(row, 0)).collect()
    }

    /// Reactions on messages: (message, user, code), of these messages only.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn reactions(
        &self,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, UserId, u32)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .read(
                sqlx::query(REACTIONS)
                    .bind(json(&hex_of(ids))?)
                    .fetch_all(self.readers()),
            )
            .await?;
        rows.iter().map(reaction).collect()
    }

    /// How a user reacted to a message, if they did.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn reaction(
        &self,
        id: MessageId,
        user: &UserId,
    ) -> Result<Option<u32>, StoreError> {
        let query = sqlx::query(REACTION)
            .bind(id.as_bytes().as_slice())
            .bind(user.as_str());
        let row = self.read(query.fetch_optional(self.readers())).await?;
        row.map(|row| small(&row, 0)).transpose()
    }

    /// Likewise, of all users, in a moment of the file in which other things were read.
    pub(super) async fn reactions_in(
        &self,
        moment: &mut SqliteConnection,
        ids: &[MessageId],
    ) -> Result<Vec<(MessageId, UserId, u32)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .read(
                sqlx::query(REACTIONS)
                    .bind(json(&hex_of(ids))?)
                    .fetch_all(moment),
            )
            .await?;
        rows.iter().map(reaction).collect()
    }

    /// Watermarks of current participants by name after `after`; who never moved one has both at
    /// the seq of their own join.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn watermarks(
        &self,
        conversation: &ConversationName,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<protocol::Watermark>, StoreError> {
        let after = after.map_or("", UserId::as_str);
        let query = sqlx::query(PAGE)
            .bind(conversation.as_str())
            .bind(after)
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;

        let watermark = |row| {
            let (delivered, read) = (seq(row, 1)?, seq(row, 2)?);
            // What was read was delivered, and what came before a join counts as read.
            let delivered_up_to = delivered.max(read);
            Ok(protocol::Watermark {
                user: user(row, 0)?,
                delivered_up_to,
                read_up_to: read,
            })
        };
        rows.iter().map(watermark).collect()
    }

    /// Receipts of one message by name after `after`: of each current participant but its sender
    /// whose latest join precedes it. `*_at`: of the first advance that covers it. Of a deleted one
    /// no reactions.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn receipts(
        &self,
        id: MessageId,
        at: &Located,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<protocol::Receipt>, StoreError> {
        let Seq(seq) = at.seq;
        let query = sqlx::query(RECEIPTS)
            .bind(at.conversation.as_str())
            .bind(int(seq))
            .bind(Some(id.as_bytes().as_slice()).filter(|_| !at.deleted))
            .bind(after.map_or("", UserId::as_str))
            .bind(at.source.as_str())
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        rows.iter().map(|row| receipt(id, row)).collect()
    }

    /// Reactions to one message by name after `after`, whether or not who reacted has left since.
    /// Of a deleted one none.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn reactions_page(
        &self,
        id: MessageId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<protocol::Reaction>, StoreError> {
        let query = sqlx::query(REACTIONS_PAGE)
            .bind(id.as_bytes().as_slice())
            .bind(after.map_or("", UserId::as_str))
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;

        let one = |row| {
            Ok(protocol::Reaction {
                user: user(row, 0)?,
                reaction: small(row, 1)?,
                ts: number(row, 2)?,
            })
        };
        rows.iter().map(one).collect()
    }
}

fn hex_of(ids: &[MessageId]) -> Vec<String> {
    ids.iter().map(|id| id.0.simple().to_string()).collect()
}

fn reaction(row: &SqliteRow) -> Result<(MessageId, UserId, u32), StoreError> {
    Ok((message_id(row, 0)?, user(row, 1)?, small(row, 2)?))
}

fn receipt(message_id: MessageId, row: &SqliteRow) -> Result<protocol::Receipt, StoreError> {
    let (reacted_at, delivered_at, read_at) =
        (optional(row, 2)?, optional(row, 3)?, optional(row, 4)?);
    Ok(protocol::Receipt {
        message_id,
        user_id: user(row, 0)?,
        delivered: delivered_at.is_some(),
        read: read_at.is_some(),
        reaction: row.try_get(1)?,
        delivered_at,
        read_at,
        ts: reacted_at.max(delivered_at).max(read_at),
    })
}
