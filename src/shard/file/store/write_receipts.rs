//! The statements by which a folded batch of the receipts stream gets into the file.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use crate::ids::Seq;
use crate::log::record::Pruning;
use crate::shard::file::apply::Clockwork;
use crate::shard::file::apply::receipts::{Kind, Known, Part, Participant, Watermarks};
use crate::shard::file::store::StoreError;
use crate::shard::file::store::columns::{conversation, int, json, number, optional, seq, user};
use crate::shard::file::store::remembered::Remembered;
use crate::shard::file::store::script::{Multi, Script, look_up};
use crate::shard::file::store::write_closing::ROWS;

pub(super) const WATERMARKS: &str = "SELECT w.conversation, w.participant, w.delivered, w.read, w.delivered_at, \
    w.read_at, o.read_up_to, o.at FROM json_each(?1) AS asked CROSS JOIN watermarks AS w \
    ON w.conversation = (asked.value ->> 0) AND w.participant = (asked.value ->> 1) \
    LEFT JOIN own_marks AS o ON o.conversation = w.conversation AND o.participant = w.participant";

const WATERMARK: Multi = Multi {
    head: "INSERT OR REPLACE INTO watermarks (conversation, participant, delivered, read, delivered_at, read_at)",
    row: "(?, ?, ?, ?, ?, ?)",
    tail: "",
};
// Whoever has one has a row of watermarks too.
const OWN: Multi = Multi {
    head: "INSERT OR REPLACE INTO own_marks (conversation, participant, read_up_to, at)",
    row: "(?, ?, ?, ?)",
    tail: "",
};
const ADVANCE: Multi = Multi {
    head: "INSERT OR IGNORE INTO advances (conversation, participant, kind, upto_seq, ts)",
    row: "(?, ?, ?, ?, ?)",
    tail: "",
};
const REPLACED: Multi = Multi {
    head: "DELETE FROM advances WHERE (conversation, participant, kind, upto_seq) IN (VALUES ",
    row: "(?, ?, ?, ?)",
    tail: ")",
};
// Times of one watermark never fall, so of the advances before a time all but the highest are
// followed by another one before that time.
const FOLD: Multi = Multi {
    head: "DELETE FROM advances WHERE (conversation, participant, kind, upto_seq) IN (\
        SELECT a.conversation, a.participant, a.kind, a.upto_seq FROM (VALUES ",
    row: "(?, ?, ?, ?)",
    tail: ") AS v CROSS JOIN advances AS a \
        ON a.conversation = v.column1 AND a.participant = v.column2 AND a.kind = v.column3 \
        WHERE a.ts < v.column4 AND (SELECT b.ts FROM advances AS b WHERE b.conversation = a.conversation \
        AND b.participant = a.participant AND b.kind = a.kind AND b.upto_seq > a.upto_seq \
        ORDER BY b.upto_seq LIMIT 1) < v.column4)",
};
const REACT: Multi = Multi {
    head: "INSERT OR REPLACE INTO reactions (message_id, participant, reaction, ts, conversation)",
    row: "(?, ?, ?, ?, ?)",
    tail: "",
};
const TAKE_BACK: Multi = Multi {
    head: "DELETE FROM reactions WHERE (message_id, participant) IN (VALUES ",
    row: "(?, ?)",
    tail: ")",
};

const ERASE_WATERMARKS: &str = "DELETE FROM watermarks WHERE conversation = ?";
const ERASE_OWN: &str = "DELETE FROM own_marks WHERE conversation = ?";
const ERASE_ADVANCES: &str = "DELETE FROM advances WHERE (conversation, participant, kind, upto_seq) IN (\
    SELECT a.conversation, a.participant, a.kind, a.upto_seq FROM advances AS a WHERE a.conversation = ? \
    ORDER BY a.participant, a.kind, a.upto_seq LIMIT ?)";
const ERASE_REACTIONS: &str = "DELETE FROM reactions WHERE (message_id, participant) IN (\
    SELECT r.message_id, r.participant FROM reactions AS r INDEXED BY reactions_by_participant \
    WHERE r.conversation = ? ORDER BY r.participant, r.ts, r.message_id LIMIT ?)";

// Whoever ever moved a watermark has a row that says so.
const PRUNE_ADVANCES: &str = "DELETE FROM advances WHERE (conversation, participant, kind, upto_seq) IN (\
    SELECT a.conversation, a.participant, a.kind, a.upto_seq FROM watermarks AS w CROSS JOIN advances AS a \
    ON a.conversation = w.conversation AND a.participant = w.participant AND a.kind = ? AND a.upto_seq <= ? \
    WHERE w.conversation = ? ORDER BY w.participant, a.upto_seq LIMIT ?)";
const PRUNE_REACTIONS: Multi = Multi {
    head: "DELETE FROM reactions WHERE message_id IN (VALUES ",
    row: "(?)",
    tail: ")",
};

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [Multi; 4] = [REPLACED, FOLD, TAKE_BACK, PRUNE_REACTIONS];
#[cfg(test)]
pub(super) const DELETING: [&str; 5] = [
    ERASE_WATERMARKS,
    ERASE_OWN,
    ERASE_ADVANCES,
    ERASE_REACTIONS,
    PRUNE_ADVANCES,
];

/// Watermarks written lately.
pub(super) type Marks = Remembered<Participant, Watermarks>;

/// Asks the file what folding needs and is not remembered.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    asked: BTreeSet<Participant>,
    clockwork: Clockwork,
    marks: &Marks,
) -> Result<Known, StoreError> {
    let mut known = Known {
        clockwork,
        ..Known::default()
    };
    let mut unknown = Vec::new();

    for participant in asked {
        match marks.get(&participant) {
            Some(known_marks) => drop(known.watermarks.insert(participant, known_marks)),
            None => unknown.push(participant),
        }
    }

    if unknown.is_empty() {
        return Ok(known);
    }

    for row in look_up(connection, WATERMARKS, json(&unknown)?).await? {
        let found = Watermarks {
            delivered: seq(&row, 2)?,
            read: seq(&row, 3)?,
            delivered_at: number(&row, 4)?,
            read_at: number(&row, 5)?,
            own: optional(&row, 6)?.map(Seq).zip(optional(&row, 7)?),
        };
        known
            .watermarks
            .insert((conversation(&row, 0)?, user(&row, 1)?), found);
    }

    Ok(known)
}

/// Adds the rows of a part of a batch.
pub(super) fn write(script: &mut Script, part: &Part) {
    let watermarks: Vec<_> = part.watermarks.iter().collect();
    script.rows(&WATERMARK, &watermarks, |query, ((name, who), marks)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(int(marks.delivered.0))
            .bind(int(marks.read.0))
            .bind(int(marks.delivered_at))
            .bind(int(marks.read_at))
    });

    let own: Vec<_> = watermarks
        .iter()
        .filter_map(|(who, marks)| Some((who, marks.own?)))
        .collect();
    script.rows(&OWN, &own, |query, ((name, who), (upto, at))| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(int(upto.0))
            .bind(int(*at))
    });

    let replaced: Vec<_> = part.replaced.iter().collect();
    script.rows(&REPLACED, &replaced, |query, ((name, who), kind, upto)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(kind.code())
            .bind(int(upto.0))
    });

    let advances: Vec<_> = part.advances.iter().collect();
    script.rows(
        &ADVANCE,
        &advances,
        |query, (((name, who), kind, upto), ts)| {
            query
                .bind(name.as_str())
                .bind(who.as_str())
                .bind(kind.code())
                .bind(int(upto.0))
                .bind(int(**ts))
        },
    );

    let folds: Vec<_> = part.folds.iter().collect();
    script.rows(&FOLD, &folds, |query, (((name, who), kind), before)| {
        query
            .bind(name.as_str())
            .bind(who.as_str())
            .bind(kind.code())
            .bind(int(**before))
    });
    write_reactions(script, part);

    if let Some(name) = &part.erased {
        erase(script, name.as_str());
    }
    if let Some(pruning) = &part.pruned {
        prune(script, pruning);
    }
}

fn erase(script: &mut Script, name: &str) {
    for statement in [ERASE_WATERMARKS, ERASE_OWN] {
        script.add(statement, |query| query.bind(name));
    }
    for statement in [ERASE_ADVANCES, ERASE_REACTIONS] {
        script.add(statement, |query| query.bind(name).bind(ROWS));
    }
}

fn prune(script: &mut Script, pruning: &Pruning) {
    let (name, up_to) = (pruning.conversation.as_str(), int(pruning.up_to.0));
    for kind in [Kind::Delivered, Kind::Read] {
        script.add(PRUNE_ADVANCES, |query| {
            query.bind(kind.code()).bind(up_to).bind(name).bind(ROWS)
        });
    }
    script.rows(&PRUNE_REACTIONS, &pruning.messages, |query, id| {
        query.bind(id.as_bytes().as_slice())
    });
}

fn write_reactions(script: &mut Script, part: &Part) {
    let set: Vec<_> = part
        .reactions
        .iter()
        .filter_map(|(at, (name, code, ts))| Some((at, name, (*code)?, *ts)))
        .collect();
    script.rows(&REACT, &set, |query, ((id, who), name, code, ts)| {
        query
            .bind(id.as_bytes().as_slice())
            .bind(who.as_str())
            .bind(*code)
            .bind(int(*ts))
            .bind(name.as_str())
    });
    let taken: Vec<_> = part
        .reactions
        .iter()
        .filter(|(_, (_, code, _))| code.is_none())
        .collect();
    script.rows(&TAKE_BACK, &taken, |query, ((id, who), _)| {
        query.bind(id.as_bytes().as_slice()).bind(who.as_str())
    });
}
