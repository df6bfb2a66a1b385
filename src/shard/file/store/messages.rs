//! Reads of conversations, memberships, messages and keys.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Seq, UserId};
use crate::log::record::{Event, EventKind, KeyUse};
use crate::shard::command::{Around, CreateKeyUse};
use crate::shard::file::store::columns::{
    content, conversation, fingerprint, int, number, offset, seq, small, user,
};
use crate::shard::file::store::shown::{event, located, message};
use crate::shard::file::store::{
    HeadRow, HeldMessage, HistoryRead, KeyRow, Located, Member, ShownMessage, Store, StoreError,
    UsedKey,
};

const HEAD: &str = "SELECT title, admin, created, created_offset, created_by, create_key, create_key_stamped, \
    create_fingerprint, last_seq, last_created FROM conversations WHERE name = ?";
const MEMBERS: &str =
    "SELECT participant, joined_seq, position FROM participants WHERE conversation = ?";
const RECENT: &str =
    "SELECT seq, source FROM messages WHERE conversation = ? ORDER BY seq DESC LIMIT 200";
const KEY: &str =
    "SELECT seq, fingerprint FROM message_keys WHERE conversation = ? AND sender = ? AND key = ?";
const RECENT_KEYS: &str = "SELECT conversation, sender, key FROM message_keys \
    WHERE (conversation, sender, key) > (?, ?, ?) ORDER BY conversation, sender, key LIMIT ?";
const CREATE_KEY: &str = "SELECT name, fingerprint FROM create_keys WHERE user = ? AND key = ?";
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
const PARTICIPANTS: &str = "SELECT participant FROM participants WHERE conversation = ? AND participant > ? ORDER BY participant LIMIT ?";
const DEPARTURE: &str = "SELECT joined_seq, left_seq FROM departures WHERE conversation = ?1 AND participant = ?2 \
    AND NOT EXISTS (SELECT 1 FROM participants WHERE conversation = ?1 AND participant = ?2)";

const LAST_LEFT: &str =
    "SELECT left_seq FROM departures WHERE conversation = ? AND participant = ?";

const LEFT_WITHIN: &str = "SELECT seq, created, body FROM events \
    WHERE conversation = ? AND kind = 'left' AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ?";

/// Departures of anybody that are looked through for those of one user.
const LEFT_WITHIN_MAX: u32 = 1_000;

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

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&[&str]; 5] = [
    &[
        HEAD,
        MEMBERS,
        RECENT,
        KEY,
        RECENT_KEYS,
        CREATE_KEY,
        LOCATE,
        HELD,
        EVENTS,
        PARTICIPANTS,
        DEPARTURE,
    ],
    &HISTORY,
    &HISTORY_BY_SOURCE,
    &HISTORY_BY_REPLY,
    &HISTORY_BY_BOTH,
];

impl Store {
    /// What a head is filled from; `None` when there is no such conversation. One moment of the
    /// file.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn head(
        &self,
        conversation: &ConversationName,
    ) -> Result<Option<HeadRow>, StoreError> {
        let name = conversation.as_str();
        let mut moment = self.read(self.readers().begin()).await?;
        let row = self
            .read(sqlx::query(HEAD).bind(name).fetch_optional(&mut *moment))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut head = head_row(&row)?;
        for member in self
            .read(sqlx::query(MEMBERS).bind(name).fetch_all(&mut *moment))
            .await?
        {
            head.members.push(Member {
                user: user(&member, 0)?,
                joined: seq(&member, 1)?,
                position: small(&member, 2)?,
            });
        }
        for message in self
            .read(sqlx::query(RECENT).bind(name).fetch_all(&mut *moment))
            .await?
        {
            head.recent.push((seq(&message, 0)?, user(&message, 1)?));
        }
        head.recent.reverse();
        Ok(Some(head))
    }

    /// What a client's key made, while the file remembers it: for 24 h at least.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn key(
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
    pub async fn recent_keys(
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
    pub async fn create_key(
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

    /// Where a message is.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn locate(&self, id: MessageId) -> Result<Option<Located>, StoreError> {
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
    pub async fn held(&self, id: MessageId) -> Result<Option<HeldMessage>, StoreError> {
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
    pub async fn history(&self, read: HistoryRead<'_>) -> Result<Vec<ShownMessage>, StoreError> {
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

    /// Events after `after`, ascending and dense, messages among them (without their keys), as
    /// messages stand now. A hole is a quarantined record.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn events(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let query = sqlx::query(EVENTS)
            .bind(conversation.as_str())
            .bind(int(after.0))
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        rows.iter().map(|row| event(conversation, row)).collect()
    }

    /// Participants by name after `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn participants(
        &self,
        conversation: &ConversationName,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        let after = after.map_or("", UserId::as_str);
        let query = sqlx::query(PARTICIPANTS)
            .bind(conversation.as_str())
            .bind(after)
            .bind(limit);
        self.read(query.fetch_all(self.readers()))
            .await?
            .iter()
            .map(|row| user(row, 0))
            .collect()
    }

    /// Seq of the user's last `left` there, whether or not they are in again.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn last_left(
        &self,
        name: &ConversationName,
        user: &UserId,
    ) -> Result<Option<Seq>, StoreError> {
        let query = sqlx::query(LAST_LEFT)
            .bind(name.as_str())
            .bind(user.as_str());
        self.read(query.fetch_optional(self.readers()))
            .await?
            .map(|row| seq(&row, 0))
            .transpose()
    }

    /// Seq of the user's last `left` in between. Where so many others left that it is not found
    /// among the last thousand, the oldest of those: it may have been theirs.
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn left_within(
        &self,
        name: &ConversationName,
        user: &UserId,
        (after, before): (Seq, Seq),
    ) -> Result<Option<Seq>, StoreError> {
        let query = sqlx::query(LEFT_WITHIN)
            .bind(name.as_str())
            .bind(int(after.0))
            .bind(int(before.0));
        let rows = self
            .read(query.bind(LEFT_WITHIN_MAX).fetch_all(self.readers()))
            .await?;

        let mut oldest = None;
        for row in &rows {
            let event = event(name, row)?;
            if matches!(&event.kind, EventKind::Left { user: left, .. } if left == user) {
                return Ok(Some(event.seq));
            }
            oldest = Some(event.seq);
        }
        Ok(oldest.filter(|_| rows.len() >= LEFT_WITHIN_MAX as usize))
    }

    /// The last membership of someone who is no participant any more: (joined, left).
    ///
    /// # Errors
    /// SQLite refused.
    pub async fn departure(
        &self,
        conversation: &ConversationName,
        user: &UserId,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        let query = sqlx::query(DEPARTURE)
            .bind(conversation.as_str())
            .bind(user.as_str());
        let row = self.read(query.fetch_optional(self.readers())).await?;
        row.map(|row| Ok((seq(&row, 0)?, seq(&row, 1)?)))
            .transpose()
    }
}

fn head_row(row: &SqliteRow) -> Result<HeadRow, StoreError> {
    let create_key = match row.try_get::<Option<&str>, _>(5)? {
        Some(key) => Some(KeyUse {
            key: Arc::from(key),
            stamped: row.try_get(6)?,
            fingerprint: fingerprint(row, 7)?,
        }),
        None => None,
    };
    Ok(HeadRow {
        title: row.try_get::<Option<&str>, _>(0)?.map(Arc::from),
        admin: user(row, 1)?,
        created: number(row, 2)?,
        created_offset: offset(row, 3)?,
        created_by: user(row, 4)?,
        create_key,
        last_seq: seq(row, 8)?,
        last_created: number(row, 9)?,
        members: Vec::new(),
        recent: Vec::new(),
    })
}
