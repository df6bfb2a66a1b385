//! The statements by which the file knows when conversations have to lose their oldest events (ADR
//! 27). Run when everything else of a batch that concerns them is written.

use crate::shard::file::apply::changes::Changes;
use crate::shard::file::store::remembered::LastSeqs;
use crate::shard::file::store::script::{Multi, Script};

const RETAIN: Multi = Multi {
    head: "UPDATE retained SET retention_s = v.column2 FROM (VALUES ",
    row: "(?, ?)",
    tail: ") AS v WHERE retained.conversation = v.column1",
};

/// Sets the time of the lowest seq that is held.
macro_rules! oldest {
    ($which:literal) => {
        concat!(
            "UPDATE retained SET oldest = (SELECT iif(min(lowest.seq), lowest.created, NULL) FROM ( \
                SELECT first_message.seq, first_message.created FROM (SELECT x.seq, x.created FROM messages AS x \
                    WHERE x.conversation = retained.conversation ORDER BY x.seq LIMIT 1) AS first_message \
                UNION ALL SELECT first_event.seq, first_event.created FROM (SELECT y.seq, y.created FROM events AS y \
                    WHERE y.conversation = retained.conversation ORDER BY y.seq LIMIT 1) AS first_event) AS lowest) \
            WHERE ",
            $which,
            "conversation IN (VALUES "
        )
    };
}

/// Where events are gone.
const LATER: Multi = Multi {
    head: oldest!(""),
    row: "(?)",
    tail: ")",
};

/// Where something was written, and nothing was held before.
const AGAIN: Multi = Multi {
    head: oldest!("oldest IS NULL AND "),
    row: "(?)",
    tail: ")",
};

/// Statements that find rows, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const FINDING: [Multi; 3] = [RETAIN, LATER, AGAIN];

/// Adds them. A conversation that was written to since something of it went holds something, and is
/// not looked at again.
pub(super) fn write(script: &mut Script, changes: &Changes, last_seqs: &LastSeqs) {
    let retentions: Vec<_> = changes
        .updates
        .iter()
        .filter_map(|(name, update)| Some((name, *update.settings.retention_s.set()?)))
        .collect();
    script.rows(&RETAIN, &retentions, |query, (name, retention)| {
        query.bind(name.as_str()).bind(*retention)
    });

    let pruned: Vec<_> = changes.pruned.keys().collect();
    script.rows(&LATER, &pruned, |query, name| query.bind(name.as_str()));
    let is_new = |name: &&_| last_seqs.get(name).is_none();
    let written: Vec<_> = changes.stands.keys().filter(is_new).collect();
    script.rows(&AGAIN, &written, |query, name| query.bind(name.as_str()));
}
