//! The statements by which a folded batch of the messages stream gets into the file.

use sqlx::{Row, SqliteConnection};

use crate::ids::Offset;
use crate::shard::file::apply::Clockwork;
use crate::shard::file::apply::changes::{Changes, Stood};
use crate::shard::file::apply::messages::{Asked, Known};
use crate::shard::file::store::StoreError;
use crate::shard::file::store::columns::{conversation, int, json, rank, seq, user};
use crate::shard::file::store::remembered::LastSeqs;
use crate::shard::file::store::script::{Multi, Script, Which, look_up};
#[cfg(test)]
use crate::shard::file::store::write_content::{EDIT, ERASE, PRUNE};
use crate::shard::file::store::{
    write_closing, write_content, write_members, write_retention, write_views,
};

pub(super) const LAST_SEQS: &str = "SELECT c.name, c.last_seq, EXISTS (SELECT 1 FROM closings AS x WHERE x.conversation = c.name) \
    FROM json_each(?1) AS asked \
    CROSS JOIN conversations AS c ON c.name = asked.value";
pub(super) const JOINED: &str = "SELECT p.conversation, p.participant, p.joined_seq, p.role, p.muted_until FROM json_each(?1) AS asked \
    CROSS JOIN participants AS p \
    ON p.conversation = (asked.value ->> 0) AND p.participant = (asked.value ->> 1)";

const CREATE: Multi = Multi {
    head: "INSERT OR IGNORE INTO conversations (name, title, admin, created, created_by, created_offset, create_key, \
        create_key_stamped, create_fingerprint, last_seq, last_created, participants_count)",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
    tail: "",
};
const STAND: Multi = Multi {
    head: "UPDATE conversations SET last_seq = v.column2, last_created = v.column3 FROM (VALUES ",
    row: "(?, ?, ?)",
    tail: ") AS v WHERE conversations.name = v.column1",
};
const ADMIN: Multi = Multi {
    head: "UPDATE conversations SET admin = v.column2 FROM (VALUES ",
    row: "(?, ?)",
    tail: ") AS v WHERE conversations.name = v.column1",
};
const EVENT: Multi = Multi {
    head: "INSERT OR IGNORE INTO events (conversation, seq, kind, created, body, message_seq)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: "",
};
const KEY: Multi = Multi {
    head: "INSERT OR REPLACE INTO message_keys (conversation, sender, key, seq, fingerprint, ts)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: "",
};
const CREATE_KEY: Multi = Multi {
    head: "INSERT OR REPLACE INTO create_keys (user, key, name, fingerprint, ts)",
    row: "(?, ?, ?, ?, ?)",
    tail: "",
};
const INDEX: Multi = Multi {
    head: "INSERT INTO user_index (user, conversation, seq, joined, version, at)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: " ON CONFLICT (user, conversation) DO UPDATE SET seq = excluded.seq, joined = excluded.joined, \
        version = excluded.version, at = excluded.at WHERE excluded.seq > user_index.seq",
};
const OUTBOX: Multi = Multi {
    head: "INSERT OR IGNORE INTO outbox (\"offset\", idx, user, conversation, seq, joined, at, create_key, \
        create_fingerprint)",
    row: "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    tail: "",
};
const DELIVERED: &str = "DELETE FROM outbox WHERE (\"offset\", idx) <= (?, ?)";
const FORGET_KEYS: &str = "DELETE FROM message_keys WHERE ts < ?";
const FORGET_CREATE_KEYS: &str = "DELETE FROM create_keys WHERE ts < ?";

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [Multi; 5] = [STAND, ADMIN, INDEX, EDIT, ERASE];
#[cfg(test)]
pub(super) const DELETING: [&str; 4] = [DELIVERED, FORGET_KEYS, FORGET_CREATE_KEYS, PRUNE];

/// Asks the file what folding needs and is not remembered.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    asked: Asked,
    clockwork: Clockwork,
    last_seqs: &LastSeqs,
) -> Result<Known, StoreError> {
    let mut known = Known {
        clockwork,
        ..Known::default()
    };
    let mut names = Vec::new();

    for name in asked.conversations {
        match last_seqs.get(&name) {
            Some(stands) => drop(known.stands.insert(name, stands)),
            None => names.push(name),
        }
    }

    if !names.is_empty() {
        for row in look_up(connection, LAST_SEQS, json(&names)?).await? {
            let stands = (seq(&row, 1)?, row.try_get(2)?);
            known.stands.insert(conversation(&row, 0)?, stands);
        }
    }

    if !asked.leaving.is_empty() {
        let members: Vec<_> = asked.leaving.iter().collect();
        for row in look_up(connection, JOINED, json(&members)?).await? {
            known.joined.insert(
                (conversation(&row, 0)?, user(&row, 1)?),
                (seq(&row, 2)?, rank(&row, 3)?),
            );
        }
    }

    Ok(known)
}

/// Takes note of where conversations stand after a batch. One of which something went may hold
/// nothing: it is looked at again when it is written to.
pub(super) fn learn(last_seqs: &mut LastSeqs, changes: &Changes) {
    last_seqs.learn(&changes.stands, |stood| (stood.seq, stood.closed));
    last_seqs.forget_these(changes.pruned.keys());
}

/// Adds the rows of a batch. `last_seqs` is of before it. Returns which statements write new
/// messages.
pub(super) fn write(script: &mut Script, changes: &Changes, last_seqs: &LastSeqs) -> Vec<Which> {
    write_conversations(script, changes);
    write_members::update(script, changes);
    let messages = write_content::write(script, changes);
    write_events(script, changes);
    write_members::write(script, changes);
    write_views::write(script, changes);
    write_closing::write(script, changes);
    write_retention::write(script, changes, last_seqs);
    write_keys(script, changes);
    write_indexes(script, changes);
    messages
}

fn write_conversations(script: &mut Script, changes: &Changes) {
    script.rows(&CREATE, &changes.created, |query, row| {
        let key = row.create_key.as_ref();
        let Stood { seq, created, .. } = changes.stands.get(&row.name).copied().unwrap_or_default();
        let admin = changes.admins.get(&row.name).unwrap_or(&row.created_by);
        query
            .bind(row.name.as_str())
            .bind(row.title.as_deref())
            .bind(admin.as_str())
            .bind(int(row.created))
            .bind(row.created_by.as_str())
            .bind(int(row.created_offset.0))
            .bind(key.map(|key| key.key.as_ref()))
            .bind(key.map(|key| key.stamped))
            .bind(key.map(|key| key.fingerprint.as_slice()))
            .bind(int(seq.0))
            .bind(int(created))
    });

    let is_new = |name: &_| changes.created.iter().any(|row| row.name == *name);
    let stands: Vec<_> = changes
        .stands
        .iter()
        .filter(|(name, _)| !is_new(name))
        .collect();
    script.rows(&STAND, &stands, |query, (name, stood)| {
        query
            .bind(name.as_str())
            .bind(int(stood.seq.0))
            .bind(int(stood.created))
    });

    let admins: Vec<_> = changes
        .admins
        .iter()
        .filter(|(name, _)| !is_new(name))
        .collect();
    script.rows(&ADMIN, &admins, |query, (name, admin)| {
        query.bind(name.as_str()).bind(admin.as_str())
    });
}

fn write_events(script: &mut Script, changes: &Changes) {
    script.rows(&EVENT, &changes.events, |query, row| {
        query
            .bind(row.conversation.as_str())
            .bind(int(row.seq.0))
            .bind(row.kind)
            .bind(int(row.created))
            .bind(row.body.as_ref())
            .bind(row.message_seq.map(|seq| int(seq.0)))
    });
}

fn write_keys(script: &mut Script, changes: &Changes) {
    let keys: Vec<_> = changes.keys.iter().collect();
    script.rows(&KEY, &keys, |query, ((name, sender, key), row)| {
        query
            .bind(name.as_str())
            .bind(sender.as_str())
            .bind(key.as_ref())
            .bind(int(row.seq.0))
            .bind(row.fingerprint.as_slice())
            .bind(int(row.ts))
    });

    let create_keys: Vec<_> = changes.create_keys.iter().collect();
    script.rows(&CREATE_KEY, &create_keys, |query, ((who, key), row)| {
        query
            .bind(who.as_str())
            .bind(key.as_ref())
            .bind(row.name.as_str())
            .bind(row.fingerprint.as_slice())
            .bind(int(row.ts))
    });

    if let Some(before) = changes.keys_before {
        script.add(FORGET_KEYS, |query| query.bind(int(before)));
        script.add(FORGET_CREATE_KEYS, |query| query.bind(int(before)));
    }
}

fn write_indexes(script: &mut Script, changes: &Changes) {
    write_views::write_index(script, &changes.views_before);
    let index: Vec<_> = changes.index.values().collect();
    script.rows(&INDEX, &index, |query, (change, version)| {
        query
            .bind(change.user.as_str())
            .bind(change.conversation.as_str())
            .bind(int(change.seq.0))
            .bind(change.joined)
            .bind(int(version.0))
            .bind(int(change.at))
    });

    write_views::end_index(script, changes);
    write_views::write_index(script, &changes.views_after);
    write_views::write_outbox(script, changes);

    if let Some(upto) = changes.outbox_upto {
        let Offset(offset) = upto.offset;
        script.add(DELIVERED, |query| query.bind(int(offset)).bind(upto.index));
    }

    script.rows(&OUTBOX, &changes.outbox, |query, (position, change)| {
        let key = change.create_key.as_ref();
        query
            .bind(int(position.offset.0))
            .bind(position.index)
            .bind(change.user.as_str())
            .bind(change.conversation.as_str())
            .bind(int(change.seq.0))
            .bind(change.joined)
            .bind(int(change.at))
            .bind(key.map(|key| key.key.as_ref()))
            .bind(key.map(|key| key.fingerprint.as_slice()))
    });
}
