//! What a socket tells the node of its session, by way of the connection on which that is.

use std::fmt;
use std::sync::Arc;

use crate::link::front::{SessionNumber, Up};
use crate::router::sessions::counts::Counts;
use crate::router::sessions::pulse::Marks;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Sent {
    /// It is on its way.
    Yes,
    /// Too much waits for the connection; it may be tried again.
    Full,
    /// The connection has ended.
    Never,
}

/// One connection to a node, as the sockets of its sessions use it.
pub(super) trait Line: fmt::Debug + Send + Sync {
    /// A frame of a session, to the node.
    fn send(&self, up: Up) -> Sent;

    /// Tells the node at once what a socket took, if anything.
    fn tell_taken(&self, number: SessionNumber, taken: u32);

    /// A socket took something that is told with the others'.
    fn list(&self, number: SessionNumber);

    /// A client has surely read so far.
    fn read(&self, number: SessionNumber, marks: Marks);

    /// What a client has read and the node was not told; it is not told any more.
    fn unread(&self, number: SessionNumber) -> Marks;

    /// The session is over for its client. What they have read is told before.
    fn leave(&self, number: SessionNumber);

    /// Where frames are counted.
    fn counts(&self) -> Arc<Counts>;
}
