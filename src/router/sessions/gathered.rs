//! What sockets have told that their node is not told yet.

use std::collections::HashMap;
use std::time::Duration;

use crate::link::front::SessionNumber;
use crate::router::sessions::pulse::Marks;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Gathered {
    /// What clients have read. No more than the pulses of all sockets hold.
    pub(super) reads: HashMap<SessionNumber, Marks>,
    /// Sockets that took something, each once.
    pub(super) taken: Vec<SessionNumber>,
    /// How often it is told.
    pub(super) every: Option<Duration>,
}
