//! For each bug of what messages say, of who may speak, of what is counted, and of what goes: the
//! load that shows it, in which messages are edited and erased, and participants silenced and kept
//! out, and some conversations are deleted, or keep their messages for a minute.

use crate::chaos::planted::scenario::{FEW, Scenario, Stage};

/// The file has what was said only some time later, and the memory has it meanwhile.
const LATE_FILES: &str = "--apply-tick 500ms";

/// The first of them, whose load is that of all.
const SILENCE: Scenario = Scenario {
    bug: "silence",
    about: "the owner does not ask for roles and mutes: readers and muted participants send",
    stage: Stage::Changes,
    node_flags: "",
    shards: FEW,
    wired: false,
    rate: 100,
    readers: 8,
    churn_ms: 0,
    regulars: false,
};

/// Whoever has a shard next reads its heads in the file.
const HANDED_ON: Stage = Stage::ChangesAnd(&["move-shards", "stop-node", "move-shards"]);

/// What is dropped of edits, deletions, roles, bans, counts, own views, closing and retention.
pub(super) const SAID: [Scenario; 8] = [
    SILENCE,
    Scenario {
        bug: "words_of_file",
        about: "messages are shown as the file has them, without what was said and is not in it yet",
        node_flags: LATE_FILES,
        ..SILENCE
    },
    Scenario {
        bug: "events_of_file",
        about: "changes are shown with the words that the file has of them, without what was said since",
        node_flags: LATE_FILES,
        ..SILENCE
    },
    Scenario {
        bug: "bans",
        about: "the owner does not ask who is banned: whoever was kept out is let in again",
        ..SILENCE
    },
    Scenario {
        bug: "erased_uncounted",
        about: "erased messages of others count as unread",
        ..SILENCE
    },
    Scenario {
        bug: "views_of_file",
        about: "whoever takes a shard over knows nobody's own view: a change of one field loses the others",
        stage: HANDED_ON,
        ..SILENCE
    },
    Scenario {
        bug: "closed_of_file",
        about: "whoever takes a shard over does not know what was deleted",
        stage: HANDED_ON,
        ..SILENCE
    },
    Scenario {
        bug: "retention_halved",
        about: "messages go when they are half as old as they are kept",
        stage: Stage::Minutes,
        ..SILENCE
    },
];
