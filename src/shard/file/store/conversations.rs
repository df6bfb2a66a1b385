//! Reads of conversations, and of who takes and took part in them.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::ids::{ConversationName, Seq, UserId};
use crate::log::record::{EventKind, KeyUse};
use crate::protocol::direct;
#[cfg(test)]
use crate::shard::file::store::bans;
use crate::shard::file::store::columns::{
    fingerprint, int, names, number, offset, optional, optional_text, own_view, role, seq,
    settings, small, user,
};
use crate::shard::file::store::shown::event;
use crate::shard::file::store::{HeadRow, KEPT_MAX, Kept, Member, Recent, Store, StoreError};

const HEAD: &str = "SELECT title, admin, created, created_offset, created_by, create_key, create_key_stamped, \
    create_fingerprint, last_seq, last_created, data, posts, adds, edit_window_s, typing, presence, \
    (SELECT r.retention_s FROM retained AS r WHERE r.conversation = name), keeps, bans, \
    EXISTS (SELECT 1 FROM closings AS x WHERE x.conversation = name), \
    ifnull((SELECT g.up_to FROM pruned AS g WHERE g.conversation = name), 0) FROM conversations WHERE name = ?";

const MEMBERS: &str = "SELECT participant, joined_seq, position, role, muted_until FROM participants WHERE conversation = ?";

const VIEWS: &str = "SELECT participant, revision, notify_after, pinned, archived FROM views WHERE conversation = ?";

const RECENT: &str = "SELECT seq, source, deleted_by IS NOT NULL, mentions FROM messages WHERE conversation = ? \
        ORDER BY seq DESC LIMIT 200";

const KEPT: &str = "SELECT participant, left_seq, role, muted_until FROM departures AS d INDEXED BY departures_kept \
    WHERE conversation = ?1 AND (role = 4 OR muted_until IS NOT NULL) \
    AND NOT EXISTS (SELECT 1 FROM participants AS p WHERE p.conversation = ?1 AND p.participant = d.participant) \
    ORDER BY left_seq DESC LIMIT ?2";

/// Those who took part when it was closed; nobody else's membership ends with its last seq.
const CLOSED_TO: &str =
    "SELECT participant FROM departures WHERE conversation = ? AND left_seq = ?";

const BANNED: &str = "SELECT user FROM bans WHERE conversation = ?";

const DEPARTURE: &str = "SELECT joined_seq, left_seq FROM departures WHERE conversation = ?1 AND participant = ?2 \
    AND NOT EXISTS (SELECT 1 FROM participants WHERE conversation = ?1 AND participant = ?2)";

const LAST_LEFT: &str =
    "SELECT left_seq FROM departures WHERE conversation = ? AND participant = ?";

const LEFT_WITHIN: &str = "SELECT seq, created, body FROM events \
    WHERE conversation = ? AND kind = 'left' AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ?";

/// Departures of anybody that are looked through for those of one user.
const LEFT_WITHIN_MAX: u32 = 1_000;

/// These reads, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 9] = [
    HEAD,
    VIEWS,
    MEMBERS,
    RECENT,
    DEPARTURE,
    KEPT,
    CLOSED_TO,
    BANNED,
    bans::BANS,
];

impl Store {
    /// What a head is filled from; `None` when there is no such conversation. One moment of the
    /// file.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn head(
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
        head.direct = direct::is_direct(conversation);

        // What is left of one that is closed is nothing that anybody goes by.
        if row.try_get(19)? {
            let query = sqlx::query(CLOSED_TO).bind(name).bind(int(head.last_seq.0));
            let found = self.read(query.fetch_all(&mut *moment)).await?;
            let users: Result<_, _> = found.iter().map(|found| user(found, 0)).collect();
            head.closed = Some(users?);
            return Ok(Some(head));
        }

        for member in self
            .read(sqlx::query(MEMBERS).bind(name).fetch_all(&mut *moment))
            .await?
        {
            head.members.push(Member {
                user: user(&member, 0)?,
                joined: seq(&member, 1)?,
                position: small(&member, 2)?,
                role: role(&member, 3)?,
                muted_until: optional(&member, 4)?,
            });
        }

        for view in self
            .read(sqlx::query(VIEWS).bind(name).fetch_all(&mut *moment))
            .await?
        {
            head.views.push((user(&view, 0)?, own_view(&view, 1)?));
        }

        head.recent = self.recent(&mut moment, name).await?;

        // Asked for only where there are some: most conversations have none.
        if row.try_get(17)? {
            let query = sqlx::query(KEPT)
                .bind(name)
                .bind(u32::try_from(KEPT_MAX).unwrap_or(u32::MAX));
            for kept in self.read(query.fetch_all(&mut *moment)).await? {
                head.kept.push(Kept {
                    user: user(&kept, 0)?,
                    left: seq(&kept, 1)?,
                    role: role(&kept, 2)?,
                    muted_until: optional(&kept, 3)?,
                });
            }
        }

        if small(&row, 18)? > 0 {
            let query = sqlx::query(BANNED).bind(name);
            for banned in self.read(query.fetch_all(&mut *moment)).await? {
                head.banned.push(user(&banned, 0)?);
            }
        }

        Ok(Some(head))
    }

    /// The newest messages, oldest first.
    async fn recent(
        &self,
        moment: &mut SqliteConnection,
        name: &str,
    ) -> Result<Vec<Recent>, StoreError> {
        let query = sqlx::query(RECENT).bind(name);
        let mut recent = Vec::new();
        for message in self.read(query.fetch_all(moment)).await? {
            recent.push(Recent {
                seq: seq(&message, 0)?,
                source: user(&message, 1)?,
                mentions: names(&message, 3)?,
                deleted: message.try_get(2)?,
            });
        }
        recent.reverse();
        Ok(recent)
    }

    /// Seq of the user's last `left` there, whether or not they are in again.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn last_left(
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
    pub(crate) async fn left_within(
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
    pub(crate) async fn departure(
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
        direct: false,
        title: row.try_get::<Option<&str>, _>(0)?.map(Arc::from),
        admin: user(row, 1)?,
        created: number(row, 2)?,
        created_offset: offset(row, 3)?,
        created_by: user(row, 4)?,
        create_key,
        last_seq: seq(row, 8)?,
        last_created: number(row, 9)?,
        pruned: seq(row, 20)?,
        members: Vec::new(),
        views: Vec::new(),
        recent: Vec::new(),
        data: optional_text(row, 10)?,
        settings: settings(row, 11)?,
        banned: Vec::new(),
        kept: Vec::new(),
        closed: None,
    })
}
