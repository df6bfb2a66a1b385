//! The statements by which it gets into the file who takes part in a conversation, what they are
//! there, who is banned from it, and what its admin set.

use std::sync::Arc;

use crate::protocol::Patch;
use crate::shard::file::apply::changes::Changes;
use crate::shard::file::store::columns::{int, role_number, whom_number};
use crate::shard::file::store::script::{Multi, Script};

const COUNT: Multi = Multi {
    head: "UPDATE conversations SET participants_count = \
        (SELECT count(*) FROM participants AS p WHERE p.conversation = conversations.name) WHERE name IN (",
    row: "?",
    tail: ")",
};
const JOIN: Multi = Multi {
    head: "INSERT OR REPLACE INTO participants (conversation, participant, joined_seq, position, role, \
        muted_until)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: "",
};
const LEAVE: Multi = Multi {
    head: "DELETE FROM participants WHERE (conversation, participant) IN (VALUES ",
    row: "(?, ?)",
    tail: ")",
};
const DEPARTURE: Multi = Multi {
    head: "INSERT OR REPLACE INTO departures (conversation, participant, joined_seq, left_seq, role, \
        muted_until)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: "",
};
const KEEPS: Multi = Multi {
    head: "UPDATE conversations SET keeps = 1 WHERE name IN (",
    row: "?",
    tail: ")",
};
const RANK: Multi = Multi {
    head: "UPDATE participants SET role = v.column3, muted_until = v.column4 FROM (VALUES ",
    row: "(?, ?, ?, ?)",
    tail: ") AS v WHERE participants.conversation = v.column1 AND participants.participant = v.column2",
};
const BAN: Multi = Multi {
    head: "INSERT OR REPLACE INTO bans (conversation, user, banned_by, at, reason)",
    row: "(?, ?, ?, ?, ?)",
    tail: "",
};
const UNBAN: Multi = Multi {
    head: "DELETE FROM bans WHERE (conversation, user) IN (VALUES ",
    row: "(?, ?)",
    tail: ")",
};
const COUNT_BANS: Multi = Multi {
    head: "UPDATE conversations SET bans = \
        (SELECT count(*) FROM bans AS b WHERE b.conversation = conversations.name) WHERE name IN (",
    row: "?",
    tail: ")",
};
// What may be taken away has a column before it that says whether it changes.
const UPDATE: Multi = Multi {
    head: "UPDATE conversations SET title = iif(v.column2, v.column3, title), data = iif(v.column4, v.column5, data), \
        posts = ifnull(v.column6, posts), adds = ifnull(v.column7, adds), \
        edit_window_s = iif(v.column8, v.column9, edit_window_s), typing = ifnull(v.column10, typing), \
        presence = ifnull(v.column11, presence) FROM (VALUES ",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    tail: ") AS v WHERE conversations.name = v.column1",
};

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [Multi; 7] = [COUNT, LEAVE, KEEPS, RANK, UNBAN, COUNT_BANS, UPDATE];

/// Adds what changes of conversations themselves.
pub(super) fn update(script: &mut Script, changes: &Changes) {
    let updates: Vec<_> = changes.updates.iter().collect();
    script.rows(&UPDATE, &updates, |query, (name, update)| {
        let settings = &update.settings;
        let window = settings.edit_window_s;
        query
            .bind(name.as_str())
            .bind(!update.title.keeps())
            .bind(text(&update.title))
            .bind(!update.data.keeps())
            .bind(text(&update.data))
            .bind(settings.post.map(whom_number))
            .bind(settings.add.map(whom_number))
            .bind(!window.keeps())
            .bind(window.set().copied().flatten())
            .bind(settings.typing)
            .bind(settings.presence)
    });
}

/// Adds who takes part, what they are, and who is banned.
pub(super) fn write(script: &mut Script, changes: &Changes) {
    write_ranks(script, changes);
    write_bans(script, changes);
    if changes.members.is_empty() {
        return;
    }

    let joining: Vec<_> = changes
        .members
        .iter()
        .filter_map(|(who, joined)| Some((who, (*joined)?)))
        .collect();
    script.rows(&JOIN, &joining, |query, ((name, who), joined)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(int(joined.seq.0))
            .bind(joined.position)
            .bind(role_number(joined.rank.role))
            .bind(joined.rank.muted_until.map(int))
    });

    let leaving: Vec<_> = changes
        .members
        .iter()
        .filter(|(_, joined)| joined.is_none())
        .map(|(who, _)| who)
        .collect();
    script.rows(&LEAVE, &leaving, |query, (name, who)| {
        query.bind(name.as_str()).bind(who.as_str())
    });
    let departures: Vec<_> = changes.departures.iter().collect();

    script.rows(
        &DEPARTURE,
        &departures,
        |query, ((name, who), departure)| {
            query
                .bind(name.as_str())
                .bind(who.as_str())
                .bind(int(departure.joined.0))
                .bind(int(departure.left.0))
                .bind(role_number(departure.rank.role))
                .bind(departure.rank.muted_until.map(int))
        },
    );

    let keeping: Vec<_> = changes.keeping.iter().collect();
    script.rows(&KEEPS, &keeping, |query, name| query.bind(name.as_str()));

    let mut touched: Vec<_> = changes.members.keys().map(|(name, _)| name).collect();
    touched.dedup();
    script.rows(&COUNT, &touched, |query, name| query.bind(name.as_str()));
}

fn text(patch: &Patch<Option<Arc<str>>>) -> Option<&str> {
    patch.set().and_then(Option::as_deref)
}

fn write_ranks(script: &mut Script, changes: &Changes) {
    let ranks: Vec<_> = changes.ranks.iter().collect();
    script.rows(&RANK, &ranks, |query, ((name, who), rank)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(role_number(rank.role))
            .bind(rank.muted_until.map(int))
    });
}

fn write_bans(script: &mut Script, changes: &Changes) {
    let bans: Vec<_> = changes
        .bans
        .iter()
        .filter_map(|(who, row)| Some((who, row.as_ref()?)))
        .collect();
    script.rows(&BAN, &bans, |query, ((name, who), row)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(row.by.as_str())
            .bind(int(row.at))
            .bind(row.reason.as_deref())
    });
    let ended: Vec<_> = changes
        .bans
        .iter()
        .filter(|(_, row)| row.is_none())
        .map(|(who, _)| who)
        .collect();
    script.rows(&UNBAN, &ended, |query, (name, who)| {
        query.bind(name.as_str()).bind(who.as_str())
    });

    let mut touched: Vec<_> = changes.bans.keys().map(|(name, _)| name).collect();
    touched.dedup();
    script.rows(&COUNT_BANS, &touched, |query, name| {
        query.bind(name.as_str())
    });
}
