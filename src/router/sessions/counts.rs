//! Counts frames of all sessions of a router, and the writes to their sockets: metrics that are
//! bound once.

use crate::telemetry;

/// Counts frames of all sessions, and the writes to their sockets.
#[derive(Debug)]
pub(super) struct Counts {
    frames_in: metrics::Counter,
    frames_out: metrics::Counter,
    writes: metrics::Counter,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            frames_in: telemetry::SESSION_FRAMES.bind(&[("direction", "in")]),
            frames_out: telemetry::SESSION_FRAMES.bind(&[("direction", "out")]),
            writes: telemetry::SESSION_WRITES.bind(&[]),
        }
    }
}

impl Counts {
    /// Counts frames and writes to sockets.
    pub(super) fn count_out(&self, frames: u64, writes: u64) {
        if writes > 0 {
            self.frames_out.increment(frames);
            self.writes.increment(writes);
        }
    }

    /// Counts a frame of a client.
    pub(super) fn count_in(&self) {
        self.frames_in.increment(1);
    }
}
