//! Reads of an audit: counts beside the rows that they count, memberships, and rows of indexes, in
//! pages of bounded size.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::ids::{ConversationName, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::shard::command::{Moment, Pair, Row, Stand};
use crate::shard::file::store::columns::{conversation, json, number, seq, small, user};
use crate::shard::file::store::progress::applied_in;
use crate::shard::file::store::{Counted, Store, StoreError};

/// Seqs of a conversation, the newest, that are looked at one by one.
pub(crate) const DENSE_SEQS: u64 = 1_000;

/// Reactions of a conversation whose messages are looked for.
const REACTIONS_MAX: u32 = 1_000;

const COUNTED: &str = "SELECT c.name, c.last_seq, \
    max(ifnull((SELECT g.up_to FROM pruned AS g WHERE g.conversation = c.name), 0), \
        ifnull((SELECT m.seq FROM messages AS m WHERE m.conversation = c.name ORDER BY m.seq DESC LIMIT 1), 0), \
        ifnull((SELECT e.seq FROM events AS e WHERE e.conversation = c.name ORDER BY e.seq DESC LIMIT 1), 0)), \
    (SELECT count(*) FROM messages AS m WHERE m.conversation = c.name AND m.seq > c.last_seq - ?3) \
        + (SELECT count(*) FROM events AS e WHERE e.conversation = c.name AND e.seq > c.last_seq - ?3), \
    c.participants_count, (SELECT count(*) FROM participants AS p WHERE p.conversation = c.name), \
    c.bans, (SELECT count(*) FROM bans AS b WHERE b.conversation = c.name), \
    c.keeps, EXISTS (SELECT 1 FROM departures AS d INDEXED BY departures_kept WHERE d.conversation = c.name \
        AND (d.role = 4 OR d.muted_until IS NOT NULL)), \
    EXISTS (SELECT 1 FROM participants AS p WHERE p.conversation = c.name AND p.participant = c.admin), \
    (SELECT count(*) FROM participants AS p WHERE p.conversation = c.name AND p.joined_seq > c.last_seq), \
    (SELECT count(*) FROM watermarks AS w WHERE w.conversation = c.name AND max(w.delivered, w.read) > c.last_seq), \
    (SELECT count(*) FROM (SELECT r.message_id FROM reactions AS r INDEXED BY reactions_by_participant \
        WHERE r.conversation = c.name LIMIT ?4) AS some \
        WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id = some.message_id)), \
    ifnull((SELECT g.up_to FROM pruned AS g WHERE g.conversation = c.name), 0), \
    EXISTS (SELECT 1 FROM closings AS x WHERE x.conversation = c.name) \
    FROM conversations AS c WHERE c.name > ?1 ORDER BY c.name LIMIT ?2";

const MEMBERS: &str = "SELECT p.participant, p.conversation, p.joined_seq, \
    (SELECT e.created FROM events AS e WHERE e.conversation = p.conversation AND e.seq = p.joined_seq), \
    c.last_seq, c.last_created \
    FROM participants AS p JOIN conversations AS c ON c.name = p.conversation \
    WHERE (p.conversation, p.participant) > (?1, ?2) ORDER BY p.conversation, p.participant LIMIT ?3";

const STANDS: &str = "SELECT asked.key, NULL, p.joined_seq, \
    (SELECT e.created FROM events AS e WHERE e.conversation = p.conversation AND e.seq = p.joined_seq), \
    c.last_seq, c.last_created \
    FROM json_each(?1) AS asked \
    LEFT JOIN conversations AS c ON c.name = asked.value ->> 1 \
    LEFT JOIN participants AS p ON p.conversation = asked.value ->> 1 AND p.participant = asked.value ->> 0";

const LISTED: &str = "SELECT user, conversation, seq, joined FROM user_index \
    WHERE (user, conversation) > (?1, ?2) ORDER BY user, conversation LIMIT ?3";

const ROWS: &str = "SELECT asked.key, i.seq, i.joined FROM json_each(?1) AS asked \
    JOIN user_index AS i ON i.user = asked.value ->> 0 AND i.conversation = asked.value ->> 1";

const QUARANTINED: &str = "SELECT count(*) FROM quarantine";

/// Every read of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const READS: [&str; 5] = [COUNTED, MEMBERS, STANDS, LISTED, ROWS];

impl Store {
    /// Counts of conversations by name, behind `after`, and what their rows say.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn counted(
        &self,
        after: Option<&ConversationName>,
        limit: u32,
    ) -> Result<Vec<Counted>, StoreError> {
        let query = sqlx::query(COUNTED)
            .bind(after.map_or("", ConversationName::as_str))
            .bind(limit)
            .bind(DENSE_SEQS.cast_signed())
            .bind(REACTIONS_MAX);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        rows.iter().map(counted).collect()
    }

    /// Current participants by conversation and name, behind `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn members(
        &self,
        after: Option<&Pair>,
        limit: u32,
    ) -> Result<Vec<(Pair, Stand)>, StoreError> {
        let query = sqlx::query(MEMBERS)
            .bind(after.map_or("", |pair| pair.conversation.as_str()))
            .bind(after.map_or("", |pair| pair.user.as_str()))
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        rows.iter()
            .map(|row| Ok((pair(row)?, stand(row)?)))
            .collect()
    }

    /// How users stand in conversations, in the order asked.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn stands(&self, pairs: &[Pair]) -> Result<Vec<Stand>, StoreError> {
        let query = sqlx::query(STANDS).bind(asked(pairs)?);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        let none = Stand {
            joined: None,
            last: None,
        };
        let mut stands = vec![none; pairs.len()];
        for row in &rows {
            if let Some(place) = stands.get_mut(place(row)?) {
                *place = stand(row)?;
            }
        }
        Ok(stands)
    }

    /// Rows of users' indexes by user and conversation, behind `after`.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn listed(
        &self,
        after: Option<&Pair>,
        limit: u32,
    ) -> Result<Vec<(Pair, Row)>, StoreError> {
        let query = sqlx::query(LISTED)
            .bind(after.map_or("", |pair| pair.user.as_str()))
            .bind(after.map_or("", |pair| pair.conversation.as_str()))
            .bind(limit);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        let listed = |row: &SqliteRow| {
            let said = Row {
                seq: seq(row, 2)?,
                joined: row.try_get(3)?,
            };
            Ok((pair(row)?, said))
        };
        rows.iter().map(listed).collect()
    }

    /// What users' indexes say of conversations, in the order asked.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn index_rows(&self, pairs: &[Pair]) -> Result<Vec<Option<Row>>, StoreError> {
        let query = sqlx::query(ROWS).bind(asked(pairs)?);
        let rows = self.read(query.fetch_all(self.readers())).await?;
        let mut said = vec![None; pairs.len()];
        for row in &rows {
            if let Some(place) = said.get_mut(place(row)?) {
                *place = Some(Row {
                    seq: seq(row, 1)?,
                    joined: row.try_get(2)?,
                });
            }
        }
        Ok(said)
    }

    /// Where the file stands, and how many records it has put aside.
    ///
    /// # Errors
    /// SQLite refused.
    pub(crate) async fn ends(&self) -> Result<(PerStream<Tail>, u64), StoreError> {
        let mut moment = self.read(self.readers().begin()).await?;
        let applied = applied_in(&mut moment).await?;
        let row = self
            .read(sqlx::query(QUARANTINED).fetch_one(&mut *moment))
            .await?;
        Ok((applied, number(&row, 0)?))
    }
}

/// Pairs as the statements take them.
fn asked(pairs: &[Pair]) -> Result<String, StoreError> {
    let asked: Vec<(&UserId, &ConversationName)> = pairs
        .iter()
        .map(|pair| (&pair.user, &pair.conversation))
        .collect();
    json(&asked)
}

/// The place of what was asked, from the first column.
fn place(row: &SqliteRow) -> Result<usize, StoreError> {
    Ok(usize::try_from(number(row, 0)?).unwrap_or(usize::MAX))
}

fn pair(row: &SqliteRow) -> Result<Pair, StoreError> {
    Ok(Pair {
        user: user(row, 0)?,
        conversation: conversation(row, 1)?,
    })
}

/// From the third column on.
fn stand(row: &SqliteRow) -> Result<Stand, StoreError> {
    let moment = |at: usize| match row.try_get::<Option<i64>, _>(at)? {
        Some(_) => {
            let time: Option<i64> = row.try_get(at + 1)?;
            Ok::<_, StoreError>(Some(Moment {
                seq: seq(row, at)?,
                at: u64::try_from(time.unwrap_or_default()).unwrap_or_default(),
            }))
        }
        None => Ok(None),
    };
    Ok(Stand {
        joined: moment(2)?,
        last: moment(4)?,
    })
}

fn counted(row: &SqliteRow) -> Result<Counted, StoreError> {
    Ok(Counted {
        conversation: conversation(row, 0)?,
        last_seq: seq(row, 1)?,
        highest_seq: Seq(number(row, 2)?),
        dense: number(row, 3)?,
        participants: (small(row, 4)?, small(row, 5)?),
        bans: (small(row, 6)?, small(row, 7)?),
        keeps: (row.try_get(8)?, row.try_get(9)?),
        admin_takes_part: row.try_get(10)?,
        joined_later: small(row, 11)?,
        marks_later: small(row, 12)?,
        reactions_astray: small(row, 13)?,
        pruned: seq(row, 14)?,
        is_closed: row.try_get(15)?,
    })
}
