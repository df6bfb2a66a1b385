//! Whether the shard of a batch is proven to be owned here.

use std::sync::Arc;

use crate::clock::Clock;
use crate::log::lease::Lease;

/// What the lane knows of a shard's ownership. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub(super) lease: Arc<Lease>,
    pub(super) clock: Clock,
}

impl Proof {
    /// Nothing proves it now, and a renewal may prove it again: so somebody else may watch for
    /// signs of life. A shard that is known to be lost is no such one: what is sent for it meets
    /// the fence, which is no sign.
    pub(super) fn has_ended(&self) -> bool {
        !self.lease.is_lost() && self.lease.has_ended(self.clock.since_boot())
    }
}
