//! Reads of users' indexes, of the outbox that feeds those of other shards, and of what a list of
//! conversations shows.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, MessageId, Offset, UserId};
use crate::log::record::{IndexChange, IndexView, KeyUse, OutboxPosition};
use crate::protocol;
use crate::shard::command::IndexItem;
use crate::shard::file::store::columns::{
    conversation, fingerprint, int, json, number, offset, optional, optional_text, own_view, role,
    seq, settings, small, user,
};
use crate::shard::file::store::shown::message;
use crate::shard::file::store::{OutboxRow, Store, StoreError};

const SINCE: &str = "SELECT conversation, seq, joined, version FROM user_index \
    WHERE user = ? AND version > ? ORDER BY version LIMIT ?";
const OUTBOX: &str = "SELECT o.\"offset\", o.idx, o.user, o.conversation, o.seq, o.joined, o.at, o.create_key, \
    o.create_fingerprint, v.revision, v.pinned, v.archived FROM outbox AS o \
    LEFT JOIN outbox_views AS v ON v.\"offset\" = o.\"offset\" AND v.idx = o.idx \
    WHERE (o.\"offset\", o.idx) > (?, ?) ORDER BY o.\"offset\", o.idx LIMIT ?";

/// Up to where the reader counts as having read: what they said themselves, unless that is of an
/// earlier membership, else their watermark, which begins at their join.
macro_rules! own {
    () => {
        "iif(o.read_up_to >= p.joined_seq - 1, o.read_up_to, max(ifnull(w.read, 0), p.joined_seq))"
    };
}

/// From where on unread messages are counted: behind that, and behind what is gone.
macro_rules! since {
    () => {
        concat!("max(", own!(), ", ifnull(h.up_to, 0))")
    };
}

// Unread by arithmetic over dense numbers, not by visiting messages: all events since the
// watermark that are held, less those that are no messages, less one's own, less deleted ones of
// others. Each count walks an index only. Of messages that mention somebody those after the
// watermark are visited, until there are a thousand that mention the reader.
const SUMMARIES: &str = concat!(
    "SELECT asked.key, c.name, c.title, c.admin, c.created, c.last_seq, c.participants_count, \
    max(c.last_seq - ",
    since!(),
    " \
    - (SELECT count(*) FROM events AS e WHERE e.conversation = c.name AND e.seq > ",
    since!(),
    ") \
    - (SELECT count(*) FROM messages AS x WHERE x.conversation = c.name AND x.source = ?2 \
        AND x.seq > ",
    since!(),
    ") \
    - (SELECT count(*) FROM messages AS g INDEXED BY messages_deleted WHERE g.conversation = c.name \
        AND g.deleted_by IS NOT NULL AND g.seq > ",
    since!(),
    " AND g.source <> ?2), 0), \
    m.id, m.conversation, m.seq, m.source, m.text, m.reply_to, m.created, m.data, m.mentions, m.edited, m.deleted_by, \
    m.changed_seq, p.role, p.muted_until, c.data, c.posts, c.adds, c.edit_window_s, c.typing, c.presence, \
    k.retention_s, ifnull(h.up_to, 0), ",
    own!(),
    ", \
    (SELECT count(*) FROM (SELECT 1 FROM messages AS n INDEXED BY messages_mentioning \
        WHERE n.conversation = c.name AND n.mentions IS NOT NULL AND n.seq > ",
    since!(),
    " AND n.source <> ?2 \
        AND EXISTS (SELECT 1 FROM json_each(n.mentions) AS named WHERE named.value = ?2) LIMIT ?3)), \
    v.revision, v.notify_after, v.pinned, v.archived, c.last_created, \
    max(ifnull(w.delivered_at, 0), ifnull(w.read_at, 0), ifnull(o.at, 0), ifnull(v.at, 0), \
        ifnull((SELECT max(r.ts) FROM reactions AS r INDEXED BY reactions_by_participant \
            WHERE r.conversation = c.name AND r.participant = ?2), 0)) \
    FROM json_each(?1) AS asked \
    CROSS JOIN participants AS p ON p.conversation = asked.value AND p.participant = ?2 \
    CROSS JOIN conversations AS c ON c.name = p.conversation \
    LEFT JOIN pruned AS h ON h.conversation = c.name \
    LEFT JOIN retained AS k ON k.conversation = c.name \
    LEFT JOIN watermarks AS w ON w.conversation = p.conversation AND w.participant = p.participant \
    LEFT JOIN own_marks AS o ON o.conversation = p.conversation AND o.participant = p.participant \
    LEFT JOIN views AS v ON v.conversation = p.conversation AND v.participant = p.participant \
    LEFT JOIN messages AS m ON m.rowid = \
        (SELECT x.rowid FROM messages AS x WHERE x.conversation = c.name AND x.deleted_by IS NULL \
            ORDER BY x.seq DESC LIMIT 1)"
);

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 3] = [SINCE, OUTBOX, SUMMARIES];

impl Store {
    /// For each name: the conversation (without participants), unread of the reader and last
    /// message; `None` where the reader is no participant.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn summaries(
        &self,
        names: &[ConversationName],
        reader: &UserId,
    ) -> Result<Vec<Option<protocol::ConversationItem>>, StoreError> {
        let query = sqlx::query(SUMMARIES)
            .bind(json(names)?)
            .bind(reader.as_str())
            .bind(protocol::UNREAD_MAX);
        // One moment of the file: nothing of a conversation after the reader was removed from it.
        let mut moment = self.read(self.readers().begin()).await?;
        let rows = self.read(query.fetch_all(&mut *moment)).await?;
        let mut items: Vec<Option<protocol::ConversationItem>> = vec![None; names.len()];
        let mut ids = Vec::new();

        for row in &rows {
            let item = summary(row, reader)?;
            ids.extend(item.last_message.as_ref().map(|last| last.core.id));
            let asked = usize::try_from(number(row, 0)?).unwrap_or(usize::MAX);
            if let Some(slot) = items.get_mut(asked) {
                *slot = Some(item);
            }
        }

        let mut reactions: HashMap<MessageId, Vec<(UserId, u32)>> = HashMap::new();
        for (id, who, code) in self.reactions_in(&mut moment, &ids).await? {
            reactions.entry(id).or_default().push((who, code));
        }

        for last in items
            .iter_mut()
            .flatten()
            .filter_map(|item| item.last_message.as_mut())
        {
            for (who, code) in reactions.get(&last.core.id).into_iter().flatten() {
                *last.reactions.entry(*code).or_default() += 1;
                if who == reader {
                    last.my_reaction = Some(*code);
                }
            }
        }

        Ok(items)
    }

    /// Rows of a user's index (left ones too) changed after a version, ascending by version.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn index_since(
        &self,
        user: &UserId,
        after: Offset,
        limit: u32,
    ) -> Result<Vec<IndexItem>, StoreError> {
        let query = sqlx::query(SINCE)
            .bind(user.as_str())
            .bind(int(after.0))
            .bind(limit);
        self.read(query.fetch_all(self.readers()))
            .await?
            .iter()
            .map(item)
            .collect()
    }

    /// Undelivered rows of the outbox after a place, in order.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn outbox(
        &self,
        after: OutboxPosition,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let query = sqlx::query(OUTBOX)
            .bind(int(after.offset.0))
            .bind(after.index)
            .bind(limit);
        self.read(query.fetch_all(self.readers()))
            .await?
            .iter()
            .map(outbox_row)
            .collect()
    }
}

/// From the columns of [`SUMMARIES`].
fn summary(row: &SqliteRow, reader: &UserId) -> Result<protocol::ConversationItem, StoreError> {
    let admin = user(row, 3)?;
    let my_role = if admin == *reader {
        protocol::Role::Admin
    } else {
        role(row, 20)?
    };

    let name = conversation(row, 1)?;
    let conversation = protocol::Conversation {
        direct: protocol::direct::is_direct(&name),
        name,
        title: row.try_get(2)?,
        admin,
        created: number(row, 4)?,
        last_seq: seq(row, 5)?,
        participants_count: number(row, 6)?,
        participants: None,
        my_role,
        my_muted_until: optional(row, 21)?,
        data: optional_text(row, 22)?.map(protocol::JsonObject::stored),
        settings: settings(row, 23)?,
        retention_effective_s: None,
        first_seq: seq(row, 29)?.next(),
        own: Some(own_of(row)?),
    };

    let last_message = match row.try_get::<Option<&[u8]>, _>(8)? {
        Some(_) => Some(protocol::Message {
            core: message(row, 8)?.core,
            reactions: std::collections::BTreeMap::new(),
            my_reaction: None,
        }),
        None => None,
    };
    let changed = protocol::Changed {
        event: number(row, 36)?,
        own: number(row, 37)?,
    };

    Ok(protocol::ConversationItem {
        conversation,
        last_message,
        changed: Some(changed),
    })
}

/// Likewise, the reader's own view.
fn own_of(row: &SqliteRow) -> Result<protocol::OwnView, StoreError> {
    let view = own_view(row, 32)?;
    Ok(protocol::OwnView {
        notify_after: view.notify_after,
        pinned: view.pinned,
        archived: view.archived,
        read_up_to: seq(row, 30)?,
        unread: small(row, 7)?.min(protocol::UNREAD_MAX),
        unread_mentions: small(row, 31)?,
    })
}

fn item(row: &SqliteRow) -> Result<IndexItem, StoreError> {
    Ok(IndexItem {
        conversation: conversation(row, 0)?,
        seq: seq(row, 1)?,
        joined: row.try_get(2)?,
        version: offset(row, 3)?,
    })
}

fn outbox_row(row: &SqliteRow) -> Result<OutboxRow, StoreError> {
    let create_key = match row.try_get::<Option<&str>, _>(7)? {
        Some(key) => Some(KeyUse {
            key: Arc::from(key),
            stamped: false,
            fingerprint: fingerprint(row, 8)?,
        }),
        None => None,
    };
    let view = match optional(row, 9)? {
        Some(revision) => Some(IndexView {
            revision,
            pinned: row.try_get(10)?,
            archived: row.try_get(11)?,
        }),
        None => None,
    };
    Ok(OutboxRow {
        position: OutboxPosition {
            offset: offset(row, 0)?,
            index: small(row, 1)?,
        },
        change: IndexChange {
            user: user(row, 2)?,
            conversation: conversation(row, 3)?,
            seq: seq(row, 4)?,
            joined: row.try_get(5)?,
            at: number(row, 6)?,
            create_key,
            view,
        },
    })
}
