//! Settings of a router.

use std::time::Duration;

use crate::auth::UserClaim;
use crate::router::cors::Origins;

/// Settings of a router.
#[derive(Debug, Clone)]
pub struct Config {
    /// Client connections that are no WebSocket. One more takes the place of the one that has been
    /// idle longest; when none is idle, it is refused with 503 `unavailable`.
    pub connections_max: usize,
    /// WebSocket connections; more are refused with 503 `unavailable`.
    pub sockets_max: usize,
    /// Time for one request from its last byte to its answer, all attempts included.
    pub budget: Duration,
    /// Memory for requests that wait for a node's answer; a request over it is refused with 503
    /// `unavailable`.
    pub hold_bytes_max: usize,
    /// A request's head must arrive within this from its first byte, else the connection is closed.
    pub head_timeout: Duration,
    /// A body must arrive within this, else 400 (one over the limit may take three times as long).
    pub body_timeout: Duration,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// At the end, requests begun have so long to finish.
    pub finish_timeout: Duration,
    /// At the end, WebSocket clients are told to reconnect spread over this window.
    pub drain_window: Duration,
    /// The claim of a token that names its user, whose shard decides which node is asked.
    pub user_claim: UserClaim,
    /// Pages that may use the API.
    pub origins: Origins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            sockets_max: 20_000,
            budget: Duration::from_secs(5),
            hold_bytes_max: 64 * 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            finish_timeout: Duration::from_secs(10),
            drain_window: Duration::from_secs(5),
            user_claim: UserClaim::default(),
            origins: Origins::None,
        }
    }
}
