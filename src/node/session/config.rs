//! Settings of sessions.

use std::time::Duration;

/// Settings of sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of events on their way to one session, beyond which it falls behind and is served by
    /// spans. Answers to the client's own frames may take half as much again.
    pub outbox_bytes_max: usize,
    /// A ping at least this often; two unanswered end the session.
    pub heartbeat: Duration,
    /// A socket that takes nothing for this long is closed with 4420.
    pub write_timeout: Duration,
    /// Sessions of one user on this node; more are closed with 4429.
    pub sessions_per_user_max: usize,
    /// Sessions on this node; more are closed with 1013.
    pub sessions_max: usize,
    /// Client frames per second of one session, sustained; a burst of four times that is taken,
    /// more closes with 4429.
    pub frames_per_second_max: u32,
    /// How often delivered marks are gathered, and at most how often a session is pinged for them.
    pub delivered_every: Duration,
    /// Longest wait for the `resume` of a socket opened with `?resume=wait`.
    pub resume_wait_max: Duration,
}
