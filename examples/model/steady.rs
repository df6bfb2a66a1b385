//! What a cluster does by the clock, whether or not anything is sent; and what is connected to
//! what.

use crate::Size;

/// See `src/node/custody/renewal.rs` (`--renew-every`), `observe.rs`,
/// `src/cluster/table/follow.rs`, `placement.rs`, `announce.rs`, `coordinator.rs`.
const RENEW_EVERY: f64 = 0.75;
const LOOK_EVERY: f64 = 0.25;
const TELL_EVERY: f64 = 1.0;

/// Each task that follows the table asks so often.
pub(crate) const POLLS_A_SECOND: usize = 4;

/// Tasks of a node that poll the table: it follows it, and it looks after its own part in it.
pub(crate) const POLLS_OF_NODE: usize = 2;

/// Something that is done again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) what: &'static str,
    /// In the whole cluster.
    pub(crate) per_second: f64,
    /// Whether it is spread over all masters of Redis, or goes to the one that has the table.
    pub(crate) spread: bool,
}

/// What is done a second.
pub(crate) fn rates(size: &Size) -> Vec<Rate> {
    let (shards, nodes) = (f64::from(size.shards), size.nodes as f64);
    let (routers, masters) = (size.routers as f64, size.masters as f64);
    let standbys = shards * (size.replicas - 1) as f64;
    let rate = |what, per_second, spread| Rate {
        what,
        per_second,
        spread,
    };

    vec![
        rate("renewals", shards / RENEW_EVERY, true),
        rate("looks at control records", standbys / LOOK_EVERY, true),
        rate("pipelines of renewals", nodes * masters / RENEW_EVERY, true),
        rate("pipelines of looks", nodes * masters / LOOK_EVERY, true),
        rate(
            "questions which server answers (INFO)",
            2.0 * nodes * masters / LOOK_EVERY,
            true,
        ),
        rate(
            "polls of the table",
            (nodes * POLLS_OF_NODE as f64 + routers) * POLLS_A_SECOND as f64,
            false,
        ),
        rate("announcements", nodes / TELL_EVERY, false),
        rate(
            "claims of the coordinator's lease",
            nodes / TELL_EVERY,
            false,
        ),
    ]
}

/// How many connections there are of a kind, and how many at one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connections {
    pub(crate) what: &'static str,
    pub(crate) all: usize,
    /// At the process that has the most of them.
    pub(crate) at_one: usize,
}

/// When everybody has something for everybody else.
pub(crate) fn connections(size: &Size) -> [Connections; 4] {
    let Size {
        nodes,
        routers,
        masters,
        ..
    } = *size;
    let others = nodes.saturating_sub(1);
    let connections = |what, all, at_one| Connections { what, all, at_one };

    [
        // Who asks dials: two nodes that ask each other have two.
        connections("links between nodes", nodes * others, 2 * others),
        connections(
            "links of routers to nodes",
            routers * nodes,
            nodes.max(routers),
        ),
        // Of a node to each master: one shared, one of its lane, one eye, and one of the thread
        // that renews.
        connections(
            "connections of nodes to masters of Redis",
            4 * nodes * masters,
            4 * nodes,
        ),
        connections("connections of routers to Redis", routers, routers),
    ]
}
