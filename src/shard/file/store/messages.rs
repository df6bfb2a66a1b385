//! Reads of messages and events.

use std::sync::Arc;

use crate::ids::{ConversationName, MessageId, Seq, UserId};
use crate::log::record::Event;
use crate::shard::command::Around;
use crate::shard::file::store::columns::{content, int, seq, small};
use crate::shard::file::store::shown::{event, located, message};
use crate::shard::file::store::{
    HeldMessage, HistoryRead, Located, ShownMessage, Store, StoreError,
};

const LOCATE: &str =
    "SELECT conversation, seq, source, deleted_by IS NOT NULL FROM messages WHERE id = ?";

const HELD: &str = "SELECT conversation, seq, source, deleted_by IS NOT NULL, text, data, mentions, edits \
    FROM messages WHERE id = ?";

// What an `edited` event says stands in the message's row, as long as it is the last one.
const EVENTS: &str = "SELECT seq, created, NULL AS body, id, source, text, reply_to, data, mentions, edited, deleted_by, \
        changed_seq FROM messages WHERE conversation = ?1 AND seq > ?2 \
    UNION ALL SELECT e.seq, e.created, e.body, NULL, NULL, m.text, NULL, m.data, m.mentions, NULL, NULL, NULL \
        FROM events AS e LEFT JOIN messages AS m ON m.conversation = e.conversation AND m.seq = e.message_seq \
            AND m.changed_seq = e.seq AND m.deleted_by IS NULL \
        WHERE e.conversation = ?1 AND e.seq > ?2 \
    ORDER BY seq LIMIT ?3";

const PRUNED: &str = "SELECT up_to FROM pruned WHERE conversation = ?";

/// Statements of a page of history: the filter, then newest first below a seq and oldest first
/// above it.
macro_rules! history {
    ($filter:literal) => {
        [
            concat!(
                "SELECT id, conversation, seq, source, text, reply_to, created, data, mentions, edited, deleted_by, \
                    changed_seq FROM messages WHERE ",
                $filter,
                " AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            ),
            concat!(
                "SELECT id, conversation, seq, source, text, reply_to, created, data, mentions, edited, deleted_by, \
                    changed_seq FROM messages WHERE ",
                $filter,
                " AND seq > ?2 ORDER BY seq LIMIT ?3"
            ),
        ]
    };
}

const HISTORY: [&str; 2] = history!("conversation = ?1");

const HISTORY_BY_SOURCE: [&str; 2] = history!("conversation = ?1 AND source = ?4");

// The answers to one message are of its conversation and few: the other conditions are checked row
// by row.
const HISTORY_BY_REPLY: [&str; 2] = history!("reply_to = ?5 AND +conversation = ?1");

const HISTORY_BY_BOTH: [&str; 2] =
    history!("reply_to = ?5 AND +conversation = ?1 AND +source = ?4");

/// These reads, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&[&str]; 5] = [
    &[LOCATE, HELD, EVENTS, PRUNED],
    &HISTORY,
    &HISTORY_BY_SOURCE,
    &HISTORY_BY_REPLY,
    &HISTORY_BY_BOTH,
];

impl Store {
    /// Where a message is.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn locate(&self, id: MessageId) -> Result<Option<Located>, StoreError> {
        let row = self
            .read(
                sqlx::query(LOCATE)
                    .bind(id.as_bytes().as_slice())
                    .fetch_optional(self.readers()),
            )
            .await?;
        row.map(|row| located(&row)).transpose()
    }

    /// All that decides what may be done to a message.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn held(&self, id: MessageId) -> Result<Option<HeldMessage>, StoreError> {
        let row = self
            .read(
                sqlx::query(HELD)
                    .bind(id.as_bytes().as_slice())
                    .fetch_optional(self.readers()),
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(HeldMessage {
            at: located(&row)?,
            content: content(&row, [4, 5, 6])?,
            edits: small(&row, 7)?,
        }))
    }

    /// Messages of a page, ascending by seq, without reactions.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn history(
        &self,
        read: HistoryRead<'_>,
    ) -> Result<Vec<ShownMessage>, StoreError> {
        let (below, above) = match read.around {
            Around::Newest => (Some(Seq(u64::MAX)), None),
            Around::Oldest => (None, Some(Seq(0))),
            Around::Before(seq) => (Some(seq), None),
            Around::After(seq) => (None, Some(seq)),
            Around::Around(seq) => (Some(Seq(seq.0.saturating_add(1))), Some(seq)),
        };
        let [newest_first, oldest_first] = match (read.source, read.reply_to) {
            (None, None) => HISTORY,
            (Some(_), None) => HISTORY_BY_SOURCE,
            (None, Some(_)) => HISTORY_BY_REPLY,
            (Some(_), Some(_)) => HISTORY_BY_BOTH,
        };

        // One moment of the file for both sides, or a message applied between them would leave a
        // hole.
        let mut moment = self.read(self.readers().begin()).await?;
        let mut found = Vec::new();

        for (statement, from) in [(newest_first, below), (oldest_first, above)] {
            let Some(from) = from else { continue };
            let query = sqlx::query(statement)
                .bind(read.conversation.as_str())
                .bind(int(from.0))
                .bind(i64::from(read.limit) + 1)
                .bind(read.source.map(UserId::as_str))
                .bind(read.reply_to.as_ref().map(|id| id.as_bytes().as_slice()));
            let rows = self.read(query.fetch_all(&mut *moment)).await?;
            found.extend(
                rows.iter()
                    .map(|row| message(row, 0))
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }

        found.sort_unstable_by_key(|message| message.core.seq);
        Ok(found)
    }

    /// The events of [`span`](Self::span) alone.
    ///
    /// # Errors
    /// SQLite refused.
    #[cfg(test)]
    pub(crate) async fn events(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let (events, _) = self.span(conversation, after, limit).await?;
        Ok(events)
    }

    /// Events after `after`, ascending and dense, messages among them (without their keys), as
    /// messages stand now, and up to which seq all are gone, of one moment of the file. A hole is a
    /// quarantined record.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn span(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: u32,
    ) -> Result<(Vec<Arc<Event>>, Seq), StoreError> {
        let mut moment = self.read(self.readers().begin()).await?;
        let gone = sqlx::query(PRUNED).bind(conversation.as_str());
        let gone = self.read(gone.fetch_optional(&mut *moment)).await?;
        let pruned = gone.map(|gone| seq(&gone, 0)).transpose()?;

        let query = sqlx::query(EVENTS)
            .bind(conversation.as_str())
            .bind(int(after.0))
            .bind(limit);
        let rows = self.read(query.fetch_all(&mut *moment)).await?;
        let events: Result<_, _> = rows.iter().map(|row| event(conversation, row)).collect();
        Ok((events?, pruned.unwrap_or_default()))
    }
}
