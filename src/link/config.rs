//! Settings of links.

use std::time::Duration;

use crate::link::version::PEER_VERSION;

/// Settings of links.
#[derive(Debug, Clone)]
pub struct Config {
    /// Both ends say that they live this often …
    pub heartbeat: Duration,
    /// … and an end that said nothing for this many times is dead.
    pub heartbeats_missed_max: u32,
    /// Longest wait for a TCP connection.
    pub connect_timeout: Duration,
    /// Longest wait for upgrade and proofs, at both ends.
    pub handshake_timeout: Duration,
    /// A peer that takes nothing for this long is dropped.
    pub write_timeout: Duration,
    /// First wait after a failed attempt; doubles up to `backoff_max`, and is jittered.
    pub backoff_min: Duration,
    /// Longest wait between attempts.
    pub backoff_max: Duration,
    /// Requests of one link without an answer; more are refused with `unavailable`.
    pub in_flight_max: usize,
    /// Bytes of requests, or of answers, that wait for one socket; more requests are refused with
    /// `unavailable`, more answers wait.
    pub queued_bytes_max: usize,
    /// Pushes that wait for one link; more are dropped, and the subscriber is told to subscribe
    /// again.
    pub pushes_max: usize,
    /// Connections that have not proven themselves yet; more wait in the kernel's queue.
    pub unproven_max: usize,
    /// Newest version of the peer contract that is spoken.
    pub newest: u16,
}

impl Config {
    /// Settings of the links between routers and nodes, which wait longer before they give up a
    /// silent end: its sockets end with it.
    #[must_use]
    pub fn front() -> Self {
        Self {
            heartbeats_missed_max: 6,
            backoff_max: Duration::from_secs(1),
            ..Self::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            heartbeats_missed_max: 3,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            in_flight_max: 4_096,
            queued_bytes_max: 64 << 20,
            pushes_max: 8_192,
            unproven_max: 64,
            newest: PEER_VERSION,
        }
    }
}
