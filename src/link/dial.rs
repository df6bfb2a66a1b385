//! How a link is opened, and what follows when it was not, or has ended: one line in the log for an
//! outage, and a pause that grows.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::ids::NodeId;
use crate::link::handshake::request_link;
use crate::link::socket::Socket;
use crate::link::{Config, Credentials, LinkError};

/// A link that ended sooner than this after it was opened counts as a failed attempt.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// Connects to the node at this address, upgrades, and proves both ends. Returns the socket, and
/// the version that both speak.
///
/// # Errors
/// [`LinkError`]: there is no link.
pub(crate) async fn dial(
    credentials: &Credentials,
    node: &NodeId,
    address: &str,
    config: &Config,
) -> Result<(Socket, u16), LinkError> {
    let stream = timeout(config.connect_timeout, TcpStream::connect(address))
        .await
        .map_err(|_elapsed| LinkError::Timeout("connecting"))??;
    timeout(
        config.handshake_timeout,
        request_link(credentials, node, config, stream),
    )
    .await
    .map_err(|_elapsed| LinkError::Timeout("the handshake"))?
}

/// Failed attempts in a row at one node.
#[derive(Debug, Default)]
pub(crate) struct Failures(u32);

impl Failures {
    /// An attempt that began then has failed, or its link has ended. Tells of it, once in an outage
    /// to everyone; that the node stops is no outage.
    pub(crate) fn add(&mut self, peer: &NodeId, begun: Instant, error: &LinkError) {
        self.0 = if begun.elapsed() > STEADY_AFTER {
            1
        } else {
            self.0.saturating_add(1)
        };
        let failures = self.0;
        if failures == 1 && !matches!(error, LinkError::Stopped | LinkError::Left) {
            tracing::warn!(%peer, %error, "link is down");
        } else {
            tracing::debug!(%peer, %error, failures, "link is still down");
        }
    }

    /// The pause before the next attempt: between half and all of a delay that doubles up to its
    /// cap, so that processes do not dial in step.
    pub(crate) fn pause(&self, config: &Config) -> Duration {
        Backoff::new(config.backoff_min, config.backoff_max).jittered(self.0.max(1))
    }
}
