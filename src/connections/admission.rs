//! Whether a newcomer is served: where there is a place, or one that is idle gives way.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::connections::port::{Port, Seat};
use crate::connections::turn::{Noted, Turns};
use crate::telemetry::{HTTP_CONNECTIONS_EVICTED, HTTP_CONNECTIONS_REFUSED};

/// How long a connection must have been idle before it may give way: whoever has just connected, or
/// been answered, may be about to ask.
pub(crate) const IDLE_AT_LEAST: Duration = Duration::from_secs(1);

/// How long a newcomer waits for the place of a connection that gives way; closing an idle one
/// takes no time.
pub(crate) const GIVES_WAY_WITHIN: Duration = Duration::from_secs(1);

/// How often the log says that newcomers are refused.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The connections of one port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(pub(super) Arc<Port>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("role", &self.0.role)
            .field("max", &self.0.max)
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// At most `max` connections of a port, at least one. `role` says whose port it is, in metrics
    /// and the log.
    #[must_use]
    pub(crate) fn new(role: &'static str, max: usize) -> Self {
        Self::giving_way_after(role, max, IDLE_AT_LEAST)
    }

    pub(super) fn giving_way_after(
        role: &'static str,
        max: usize,
        idle_at_least: Duration,
    ) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Port::new(role, max, idle_at_least)))
    }

    /// Takes the next newcomer from the listen queue. Nobody is lost when the future is dropped.
    ///
    /// # Errors
    /// The system's, mostly that the process has no file descriptor left.
    pub(crate) async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Entrant)> {
        let permit = Arc::clone(&self.0.entrants)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _peer) = listener.accept().await?;
        Ok((
            stream,
            Entrant {
                connections: self.clone(),
                _permit: permit,
            },
        ))
    }

    /// Tells the connection that has been idle longest to end. False when none has been idle long
    /// enough.
    fn evict(&self) -> bool {
        let latest = Instant::now().checked_sub(self.0.idle_at_least);
        let longest_idle = {
            let mut idle = self.0.idle();
            idle.first_entry()
                .filter(|first| latest.is_some_and(|latest| first.key().0 <= latest))
                .map(|first| first.remove())
        };
        let Some(seat) = longest_idle else {
            return false;
        };

        let reason = if seat.state().used { "idle" } else { "unused" };
        HTTP_CONNECTIONS_EVICTED.add(1, &[("role", self.0.role), ("reason", reason)]);
        tracing::debug!(
            role = self.0.role,
            reason,
            "an idle connection gives way to a new one"
        );
        seat.evicted.cancel();
        true
    }

    /// Counts a refused newcomer, and says so in the log from time to time.
    fn tell_refused(&self) {
        HTTP_CONNECTIONS_REFUSED.add(1, &[("role", self.0.role)]);
        let now = Instant::now();
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
            *told = Some(now);
            tracing::warn!(
                role = self.0.role,
                max = self.0.max,
                "connections are refused: none of those there are is idle"
            );
        }
    }
}

/// A newcomer that is neither served nor refused yet.
#[derive(Debug)]
pub(crate) struct Entrant {
    connections: Connections,
    _permit: OwnedSemaphorePermit,
}

impl Entrant {
    /// Finds the newcomer a place, if need be that of the connection that has been idle longest.
    ///
    /// # Errors
    /// The newcomer itself, which is to be [refused](Entrant::refuse): no connection is idle.
    pub(crate) async fn admitted(self) -> Result<Place, Self> {
        let port = &self.connections.0;
        if let Ok(permit) = Arc::clone(&port.places).try_acquire_owned() {
            return Ok(Place::new(port, permit));
        }
        if self.connections.evict()
            && let Ok(Ok(permit)) =
                timeout(GIVES_WAY_WITHIN, Arc::clone(&port.places).acquire_owned()).await
        {
            return Ok(Place::new(port, permit));
        }
        self.connections.tell_refused();
        Err(self)
    }
}

/// The place of a connection that is served; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(port: &Arc<Port>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            seat: Seat::new(port),
            _permit: permit,
        }
    }

    /// Wraps the connection's socket, so that the first byte of a request is noticed.
    #[must_use]
    pub(crate) fn noted<S>(&self, stream: S) -> Noted<S> {
        Noted::new(stream, Arc::clone(&self.seat))
    }

    /// What begins the turns of this connection.
    #[must_use]
    pub(crate) fn turns(&self) -> Turns {
        Turns(Arc::clone(&self.seat))
    }

    /// Waits until this connection has to give way: it is idle, and is to be shut down gracefully.
    pub(crate) async fn evicted(&self) {
        self.seat.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.note(|state| state.left = true);
    }
}
