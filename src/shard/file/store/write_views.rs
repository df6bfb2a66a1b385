//! The statements by which participants' own views get into the file: at their conversations, into
//! the outbox, and into the indexes of users.

use std::collections::BTreeMap;

use crate::ids::Offset;
use crate::log::record::{IndexView, OutboxPosition};
use crate::shard::file::apply::changes::{Changes, IndexPlace};
use crate::shard::file::store::columns::int;
use crate::shard::file::store::script::{Multi, Script};

const VIEW: Multi = Multi {
    head: "INSERT OR REPLACE INTO views (conversation, participant, revision, notify_after, pinned, archived, at)",
    row: "(?, ?, ?, ?, ?, ?, ?)",
    tail: "",
};
const END: Multi = Multi {
    head: "DELETE FROM views WHERE (conversation, participant) IN (VALUES ",
    row: "(?, ?)",
    tail: ")",
};
const OUTBOX: Multi = Multi {
    head: "INSERT OR IGNORE INTO outbox_views (\"offset\", idx, revision, pinned, archived)",
    row: "(?, ?, ?, ?, ?)",
    tail: "",
};
const DELIVERED: &str = "DELETE FROM outbox_views WHERE (\"offset\", idx) <= (?, ?)";

// Of the membership that the index has now; an older change never overwrites a newer one.
const INDEX: Multi = Multi {
    head: "WITH v AS (VALUES ",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: ") INSERT INTO index_views (user, conversation, joined_seq, version, revision, pinned, archived) \
        SELECT v.column1, v.column2, i.seq, i.version, v.column4, v.column5, v.column6 FROM v \
        CROSS JOIN user_index AS i ON i.user = v.column1 AND i.conversation = v.column2 \
        WHERE i.seq = v.column3 AND i.joined = 1 \
        ON CONFLICT (user, conversation) DO UPDATE SET joined_seq = excluded.joined_seq, \
            version = excluded.version, revision = excluded.revision, pinned = excluded.pinned, \
            archived = excluded.archived \
        WHERE excluded.joined_seq <> index_views.joined_seq OR excluded.revision >= index_views.revision",
};
const INDEX_END: Multi = Multi {
    head: "DELETE FROM index_views WHERE (user, conversation) IN (VALUES ",
    row: "(?, ?)",
    tail: ") AND joined_seq <> (SELECT i.seq FROM user_index AS i \
        WHERE i.user = index_views.user AND i.conversation = index_views.conversation)",
};

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [Multi; 3] = [END, INDEX, INDEX_END];
#[cfg(test)]
pub(super) const DELETING: [&str; 1] = [DELIVERED];

/// Adds the views of those who take part, and that views of those who left are over.
pub(super) fn write(script: &mut Script, changes: &Changes) {
    let set: Vec<_> = changes
        .views
        .iter()
        .filter_map(|(who, row)| Some((who, row.as_ref()?)))
        .collect();
    script.rows(&VIEW, &set, |query, ((name, who), row)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(int(row.revision))
            .bind(row.notify_after.map(int))
            .bind(row.pinned)
            .bind(row.archived)
            .bind(int(row.at))
    });

    let ended: Vec<_> = changes
        .views
        .iter()
        .filter(|(_, row)| row.is_none())
        .map(|(who, _)| who)
        .collect();
    script.rows(&END, &ended, |query, (name, who)| {
        query.bind(name.as_str()).bind(who.as_str())
    });
}

/// Adds views in users' indexes, of memberships that the index has at this point.
pub(super) fn write_index(script: &mut Script, views: &BTreeMap<IndexPlace, IndexView>) {
    let rows: Vec<_> = views.iter().collect();
    script.rows(&INDEX, &rows, |query, (((who, name), joined), view)| {
        query
            .bind(who.as_str())
            .bind(name.as_str())
            .bind(int(joined.0))
            .bind(int(view.revision))
            .bind(view.pinned)
            .bind(view.archived)
    });
}

/// Adds that views end with the memberships that users' indexes have no more.
pub(super) fn end_index(script: &mut Script, changes: &Changes) {
    let touched: Vec<_> = changes.index.keys().collect();
    script.rows(&INDEX_END, &touched, |query, (who, name)| {
        query.bind(who.as_str()).bind(name.as_str())
    });
}

/// Adds what goes of the outbox, and then what new rows of it say of views.
pub(super) fn write_outbox(script: &mut Script, changes: &Changes) {
    if let Some(OutboxPosition {
        offset: Offset(offset),
        index,
    }) = changes.outbox_upto
    {
        script.add(DELIVERED, |query| query.bind(int(offset)).bind(index));
    }

    let new: Vec<_> = changes
        .outbox
        .iter()
        .filter_map(|(position, change)| Some((position, change.view?)))
        .collect();
    script.rows(&OUTBOX, &new, |query, (position, view)| {
        query
            .bind(int(position.offset.0))
            .bind(position.index)
            .bind(int(view.revision))
            .bind(view.pinned)
            .bind(view.archived)
    });
}
