//! How Redis is reached and used.

use std::time::Duration;

/// What makes an append acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitLevel {
    /// Redis has answered it.
    Log,
    /// A replica of that Redis has it too.
    Replicated,
}

/// How Redis is reached and used.
#[derive(Clone)]
pub struct Config {
    /// `redis://[user:password@]host:port` of the server, or of some servers of the cluster.
    pub urls: Vec<String>,
    /// Whether they are a Redis Cluster.
    pub cluster: bool,
    /// First part of every key's hash tag.
    pub prefix: String,
    /// When an append counts as acknowledged.
    pub commit: CommitLevel,
    /// How long one WAIT waits for a replica.
    pub replica_wait: Duration,
    /// A call without an answer after this long has failed; an append is in doubt.
    pub timeout: Duration,
}
