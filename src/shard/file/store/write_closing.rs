//! The statements by which a conversation is closed in the file, and by which what is left of it
//! goes (ADR 26). They find by themselves what they concern, so a record names nobody.

use crate::shard::file::apply::changes::{Changes, ClosingRow};
use crate::shard::file::store::columns::int;
use crate::shard::file::store::script::Script;

/// Rows of each table that go with one step, but for messages and events, of which its record says
/// how many.
pub(super) const ROWS: i64 = 1_000;

const OUT: &str = "INSERT OR IGNORE INTO outbox (\"offset\", idx, user, conversation, seq, joined, at) \
    SELECT ?, row_number() OVER (ORDER BY participant) - 1, participant, conversation, ?, 0, ? \
    FROM participants WHERE conversation = ?";
const DEPART: &str = "INSERT OR REPLACE INTO departures (conversation, participant, joined_seq, left_seq) \
    SELECT conversation, participant, 0, ? FROM participants WHERE conversation = ?";
const LEAVE: &str = "DELETE FROM participants WHERE conversation = ?";
const END_VIEWS: &str = "DELETE FROM views WHERE conversation = ?";
const CLOSED: &str = "INSERT OR IGNORE INTO closings (conversation, seq, erased) VALUES (?, ?, 0)";
const EMPTY: &str = "UPDATE conversations SET title = NULL, data = NULL, posts = 1, adds = 2, \
    edit_window_s = NULL, typing = 1, presence = 1, participants_count = 0, \
    create_fingerprint = iif(create_fingerprint IS NULL, NULL, zeroblob(16)) WHERE name = ?";

const PRUNE_EVENTS: &str = "DELETE FROM events WHERE conversation = ? AND seq <= ?";
const PRUNED: &str = "INSERT INTO pruned (conversation, up_to) VALUES (?, ?) \
    ON CONFLICT (conversation) DO UPDATE SET up_to = max(up_to, excluded.up_to)";

const ERASE_BANS: &str = "DELETE FROM bans WHERE conversation = ? AND user IN (\
    SELECT b.user FROM bans AS b WHERE b.conversation = ? ORDER BY b.user LIMIT ?)";
const ERASE_DEPARTURES: &str = "DELETE FROM departures WHERE conversation = ? AND participant IN (\
    SELECT d.participant FROM departures AS d WHERE d.conversation = ? \
        AND d.left_seq < (SELECT c.last_seq FROM conversations AS c WHERE c.name = d.conversation) \
    ORDER BY d.participant LIMIT ?)";
const COUNTED: &str = "UPDATE conversations SET keeps = iif(?, 0, keeps), \
    bans = (SELECT count(*) FROM bans AS b WHERE b.conversation = conversations.name) WHERE name = ?";

const ERASED: &str = "UPDATE closings SET erased = 1 WHERE conversation = ?";

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [&str; 12] = [
    END_VIEWS,
    OUT,
    DEPART,
    LEAVE,
    CLOSED,
    EMPTY,
    PRUNE_EVENTS,
    PRUNED,
    ERASE_BANS,
    ERASE_DEPARTURES,
    COUNTED,
    ERASED,
];

/// Adds that conversations are closed, and what goes of them; to be called when everything else of
/// the batch that concerns them is added, but for what is delivered of the outbox.
pub(super) fn write(script: &mut Script, changes: &Changes) {
    for closing in &changes.closings {
        close(script, closing);
    }

    for (name, up_to) in &changes.pruned {
        let (name, up_to) = (name.as_str(), int(up_to.0));
        script.add(PRUNE_EVENTS, |query| query.bind(name).bind(up_to));
        script.add(PRUNED, |query| query.bind(name).bind(up_to));
    }

    for (name, is_last) in &changes.erased {
        let name = name.as_str();
        for statement in [ERASE_BANS, ERASE_DEPARTURES] {
            script.add(statement, |query| query.bind(name).bind(name).bind(ROWS));
        }
        script.add(COUNTED, |query| query.bind(*is_last).bind(name));
        if *is_last {
            script.add(ERASED, |query| query.bind(name));
        }
    }
}

fn close(script: &mut Script, closing: &ClosingRow) {
    let (name, seq) = (closing.name.as_str(), int(closing.seq.0));
    script.add(OUT, |query| {
        query
            .bind(int(closing.offset.0))
            .bind(seq)
            .bind(int(closing.at))
            .bind(name)
    });
    script.add(DEPART, |query| query.bind(seq).bind(name));
    script.add(LEAVE, |query| query.bind(name));
    script.add(END_VIEWS, |query| query.bind(name));
    script.add(CLOSED, |query| query.bind(name).bind(seq));
    script.add(EMPTY, |query| query.bind(name));
}
