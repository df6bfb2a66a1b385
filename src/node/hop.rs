//! The contract between router and node: the headers that a router adds to a forwarded request, and those by which a node
//! tells that the request belongs elsewhere. The router strips every one of them from what a client sent.

/// Milliseconds left of the request's budget when the router sent it on.
pub const DEADLINE_MS: &str = "rookery-deadline-ms";

/// Idempotency key that the router stamped on a POST without one.
pub const STAMPED_KEY: &str = "rookery-stamped-key";

/// On a 421: `host:port` of the HTTP port of the node that owns the shard, as far as the answering node knows.
pub const OWNER: &str = "rookery-owner";

/// On a 421: version of the table that the answering node follows. On a forwarded request: of that which the router
/// follows.
pub const TABLE_VERSION: &str = "rookery-table-version";

/// On a forwarded request: milliseconds since the router read its table in the store last.
pub const TABLE_AGE_MS: &str = "rookery-table-age-ms";

/// What a router asks a node for when it doubts that the node lives: nothing is there, and any answer will do.
pub const PROBE: &str = "/probe";

/// Every header with this prefix is ours; only [`CONSISTENCY`](crate::protocol::headers::CONSISTENCY) may come from a client.
pub const PREFIX: &str = "rookery-";

/// On a forwarded request whose body was over the limit: the number of bytes that the router read (and threw away). The
/// request then comes without its body; the node checks the token as always and answers 413 `too_large`.
pub const BODY_TOO_LARGE: &str = "rookery-body-too-large";
