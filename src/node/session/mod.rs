//! Sessions: live WebSockets of users. `state` is the pure part (cursors, order, gaps), the hub joins sessions to
//! subscriptions, and this file has the socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::auth::Verifier;
use crate::clock::Clock;
use crate::node::owners::Owners;
use crate::shard::command::Push;

/// Settings of sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes queued for one session beyond which it is closed with 4420.
    pub outbox_bytes_max: usize,
    /// A ping at least this often; two unanswered end the session.
    pub heartbeat: Duration,
    /// A socket that takes nothing for this long is closed with 4420.
    pub write_timeout: Duration,
    /// Sessions of one user on this node; more are closed with 4429.
    pub sessions_per_user_max: usize,
    /// Sessions on this node; more are closed with 1013.
    pub sessions_max: usize,
    /// Client frames per second of one session, sustained; a burst of four times that is taken, more closes with 4429.
    pub frames_per_second_max: u32,
    /// How often delivered marks are gathered, and at most how often a session is pinged for them.
    pub delivered_every: Duration,
    /// Longest wait for the `resume` of a socket opened with `?resume=wait`.
    pub resume_wait_max: Duration,
}

/// All sessions of this node and what they are subscribed to.
#[derive(Debug)]
pub struct Hub {}

impl Hub {
    /// A hub without sessions. `pushes` is the channel that was given to `owners`; the hub's tasks run until it closes or
    /// [`Hub::drain`] ends.
    #[must_use]
    pub fn spawn(
        owners: Owners,
        verifier: Verifier,
        clock: Clock,
        config: Config,
        pushes: mpsc::Receiver<Push>,
    ) -> Arc<Self> {
        let _ = (owners, verifier, clock, config, pushes);
        todo!()
    }

    /// How many sessions are live.
    #[must_use]
    pub fn sessions(&self) -> usize {
        todo!()
    }

    /// Tells every session to `reconnect` after a delay spread over `window`, then closes each with 1012; done when all
    /// are gone, at most at the end of the window plus 2 s. New ones are refused from the start.
    pub async fn drain(&self, window: Duration, reason: &'static str) {
        let _ = (window, reason);
    }
}

/// Answers a request to `/v1/ws`: checks method, upgrade headers, query, and token (header: 401 before the upgrade;
/// subprotocol: upgrade, then close 4401), upgrades, and starts the session.
#[must_use]
pub fn accept(hub: &Arc<Hub>, request: Request<Incoming>, request_id: &str) -> Response<Full<Bytes>> {
    let _ = (hub, request, request_id);
    todo!()
}
