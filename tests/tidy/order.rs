//! The order of the wings.

/// The wings of each folder in their order: each uses only those before it. What the folder's own
/// `mod.rs` defines, all of them may use.
pub(crate) const ORDER: [(&str, &[&str]); 14] = [
    (
        "log",
        &[
            "record", "stream", "control", "batch", "contract", "lease", "lane", "embedded",
            "redis",
        ],
    ),
    (
        "log/lane",
        &[
            "proof", "job", "witness", "full", "standing", "copies", "cycle",
        ],
    ),
    (
        "cluster",
        &[
            "map",
            "ring",
            "table",
            "assignment",
            "balance",
            "draining",
            "claimed",
            "directory",
            "announce",
            "coordinator",
            "waiting",
            "folder",
            "identify",
            "placement",
        ],
    ),
    (
        "shard",
        &[
            "push", "command", "replicas", "insync", "status", "error", "file", "write", "options",
            "delivery", "state", "read", "typing", "execute", "handle", "outbox", "giving",
            "replica",
        ],
    ),
    (
        "shard/file",
        &["apply", "store", "refusal", "worker", "snapshot", "backup"],
    ),
    (
        "shard/write",
        &[
            "fate",
            "agreed",
            "message",
            "filter",
            "head",
            "subscriptions",
            "typing",
            "presence",
            "append",
            "owner",
            "used_keys",
        ],
    ),
    (
        "shard/read",
        &[
            "paging", "shown", "barrier", "presence", "events", "message", "history", "receipts",
            "find", "admit",
        ],
    ),
    (
        "shard/replica",
        &[
            "witnesses",
            "ends",
            "restore",
            "start",
            "open",
            "standby",
            "sharing",
            "orphans",
        ],
    ),
    (
        "node",
        &[
            "folder",
            "given",
            "listeners",
            "link",
            "owners",
            "outbox",
            "session",
            "http",
            "standby",
            "context",
            "agreed",
            "custody",
            "steering",
            "parts",
            "life",
        ],
    ),
    (
        "node/custody",
        &[
            "role", "watch", "shards", "observe", "rows", "renewal", "cutoff", "gauges",
            "balancer", "opening",
        ],
    ),
    (
        "node/custody/opening",
        &["files", "surplus", "tries", "keeper", "handing", "standing"],
    ),
    ("node/standby", &["seed", "reports", "verify", "orphans"]),
    (
        "router",
        &[
            "cors",
            "directory",
            "explained",
            "headers",
            "hold",
            "paced",
            "route",
            "asked",
            "versions",
            "attempts",
            "links",
            "forward",
            "server",
            "sessions",
            "opening",
        ],
    ),
    (
        "process",
        &[
            "advertise",
            "files",
            "front",
            "subject",
            "node",
            "router",
            "cluster",
            "backup",
            "restore",
            "check",
        ],
    ),
];
