//! Sessions that are sent to other nodes, each after a delay of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::node::session::deadlines::Due;
use crate::node::session::hub::{Hub, millis};
use crate::protocol::ServerFrame;

impl Hub {
    /// Sends every session elsewhere as [`Hub::drain`] does, and takes none in until
    /// [`Hub::welcome`]. Does not wait for them to go.
    pub(crate) fn send_away(&self, window: Duration, reason: &'static str) {
        self.inner.away.store(true, Ordering::SeqCst);
        self.spread(window, reason);
    }

    /// Takes sessions in again.
    pub(crate) fn welcome(&self) {
        self.inner.away.store(false, Ordering::SeqCst);
    }

    /// Sessions are sent away now.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn is_away(&self) -> bool {
        self.inner.away.load(Ordering::SeqCst)
    }

    /// Each session has a delay of its own, at the end of which it is closed.
    pub(super) fn spread(&self, window: Duration, reason: &'static str) {
        let sessions: Vec<_> = self
            .inner
            .board()
            .sessions
            .values()
            .map(|entry| Arc::clone(&entry.session))
            .collect();
        tracing::info!(
            sessions = sessions.len(),
            window_ms = millis(window),
            reason,
            "draining sessions"
        );

        let now = Instant::now();
        for session in sessions {
            let delay = window.mul_f64(rand::random_range(0.0..=1.0));
            if !session.is_followed {
                session.offer_frame(&ServerFrame::Reconnect {
                    after_ms: millis(delay),
                    reason,
                });
            }
            self.inner
                .deadlines()
                .at(now + delay, session.id, Due::Close);
        }
    }
}
