//! Reads of what is older than conversations keep it (ADR 27).

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, MessageId, Seq};
use crate::protocol::Retention;
use crate::shard::file::store::columns::{conversation, int, message_id, number, optional, seq};
use crate::shard::file::store::write_closing::ROWS;
use crate::shard::file::store::{Store, StoreError};

/// The conversation with the oldest event, of those that keep what the deployment says; of those
/// that say it themselves the first whose time is over; and the one with the oldest event of these.
const FIRST: [&str; 3] = [
    "SELECT conversation, oldest, retention_s FROM retained INDEXED BY retained_by_default \
        WHERE retention_s IS NULL AND oldest >= 0 ORDER BY oldest LIMIT 1",
    "SELECT conversation, oldest, retention_s FROM retained INDEXED BY retained_by_own \
        WHERE retention_s IS NOT NULL AND oldest + retention_s * 1000 >= 0 \
        ORDER BY oldest + retention_s * 1000 LIMIT 1",
    "SELECT conversation, oldest, retention_s FROM retained INDEXED BY retained_by_max \
        WHERE retention_s IS NOT NULL AND oldest >= 0 ORDER BY oldest LIMIT 1",
];

/// The lowest seq that is held.
const LOWEST: &str = "SELECT ifnull(min(lowest.seq), 0) FROM ( \
    SELECT first_message.seq FROM (SELECT x.seq FROM messages AS x \
        WHERE x.conversation = ?1 ORDER BY x.seq LIMIT 1) AS first_message \
    UNION ALL \
    SELECT first_event.seq FROM (SELECT y.seq FROM events AS y \
        WHERE y.conversation = ?1 ORDER BY y.seq LIMIT 1) AS first_event) AS lowest";

/// The last of the next events that is no younger, and when it was.
const OUTDATED: &str = "SELECT max(old.seq), old.created FROM ( \
    SELECT m.seq, m.created FROM messages AS m WHERE m.conversation = ?1 AND m.seq < ?2 AND m.created <= ?3 \
    UNION ALL \
    SELECT e.seq, e.created FROM events AS e WHERE e.conversation = ?1 AND e.seq < ?2 AND e.created <= ?3) AS old";

/// Messages up to a seq that have reactions, with how many.
const REACTED: &str = "SELECT m.id, (SELECT count(*) FROM reactions AS r WHERE r.message_id = m.id) \
    FROM messages AS m WHERE m.conversation = ?1 AND m.seq <= ?2 \
    AND EXISTS (SELECT 1 FROM reactions AS r WHERE r.message_id = m.id) ORDER BY m.seq LIMIT ?3";

/// Whether it is kept when somebody got, or read, something up to a seq.
const MARKED: &str = "SELECT EXISTS (SELECT 1 FROM watermarks AS w CROSS JOIN advances AS a \
        ON a.conversation = w.conversation AND a.participant = w.participant AND a.kind = 0 AND a.upto_seq <= ?2 \
        WHERE w.conversation = ?1) \
    OR EXISTS (SELECT 1 FROM watermarks AS w CROSS JOIN advances AS a \
        ON a.conversation = w.conversation AND a.participant = w.participant AND a.kind = 1 AND a.upto_seq <= ?2 \
        WHERE w.conversation = ?1)";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 7] = [
    FIRST[0], FIRST[1], FIRST[2], LOWEST, OUTDATED, REACTED, MARKED,
];

/// The conversation that has to lose something next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    pub conversation: ConversationName,
    /// For how long it keeps its events, in milliseconds.
    pub kept_ms: u64,
    /// When its oldest event has been kept for so long, unix milliseconds.
    pub due: u64,
}

/// What of a conversation is old enough to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outdated {
    /// Everything up to there.
    pub up_to: Seq,
    /// When that was, unix milliseconds; nothing before it is younger.
    pub newest: u64,
}

/// What is kept beside messages and goes before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Messages with reactions: at most a thousand of these in all, or one with more.
    pub reacted: Vec<MessageId>,
    /// When something was delivered or read is kept as well.
    pub is_marked: bool,
}

impl Beside {
    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.reacted.is_empty() && !self.is_marked
    }
}

impl Store {
    /// Which conversation has to lose something next; `None` when all keep everything.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn next_retained(
        &self,
        retention: Retention,
    ) -> Result<Option<Next>, StoreError> {
        let [by_default, by_own, by_max] = FIRST;
        let asked = [
            (by_default, retention.kept_s(None).is_some()),
            (by_own, true),
            (by_max, retention.max_s.is_some()),
        ];

        let mut first: Option<Next> = None;
        for (statement, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
            let query = sqlx::query(statement).fetch_optional(self.readers());
            let Some(row) = self.read(query).await? else {
                continue;
            };
            let next = next(&row, retention)?;
            if first.as_ref().is_none_or(|first| next.due < first.due) {
                first = Some(next);
            }
        }
        Ok(first)
    }

    /// What of the oldest seqs of a conversation, so many, was at that time or before; `None` when
    /// nothing was.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn outdated(
        &self,
        name: &ConversationName,
        (seqs, until): (u64, u64),
    ) -> Result<Option<Outdated>, StoreError> {
        let mut moment = self.read(self.readers().begin()).await?;
        let held = sqlx::query(LOWEST).bind(name.as_str());
        let lowest = number(&self.read(held.fetch_one(&mut *moment)).await?, 0)?;
        let query = sqlx::query(OUTDATED)
            .bind(name.as_str())
            .bind(int(lowest.saturating_add(seqs)))
            .bind(int(until));
        let row = self.read(query.fetch_one(&mut *moment)).await?;
        let found = optional(&row, 0)?.map(|_| {
            Ok(Outdated {
                up_to: seq(&row, 0)?,
                newest: number(&row, 1)?,
            })
        });
        found.transpose()
    }

    /// What is kept beside the messages of a conversation up to a seq.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn beside(
        &self,
        name: &ConversationName,
        up_to: Seq,
    ) -> Result<Beside, StoreError> {
        let query = sqlx::query(REACTED)
            .bind(name.as_str())
            .bind(int(up_to.0))
            .bind(ROWS);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        let (mut reacted, mut count) = (Vec::new(), 0);
        for row in &rows {
            count += number(row, 1)?;
            if !reacted.is_empty() && count > ROWS.unsigned_abs() {
                break;
            }
            reacted.push(message_id(row, 0)?);
        }

        let marked = sqlx::query(MARKED).bind(name.as_str()).bind(int(up_to.0));
        let marked = self.read(marked.fetch_one(self.readers())).await?;
        Ok(Beside {
            reacted,
            is_marked: marked.try_get(0)?,
        })
    }
}

fn next(row: &SqliteRow, retention: Retention) -> Result<Next, StoreError> {
    let own = optional(row, 2)?.map(|s| u32::try_from(s).unwrap_or(u32::MAX));
    let kept_ms = retention
        .kept_s(own)
        .map_or(u64::MAX, |s| u64::from(s) * 1_000);
    Ok(Next {
        conversation: conversation(row, 0)?,
        kept_ms,
        due: number(row, 1)?.saturating_add(kept_ms),
    })
}
