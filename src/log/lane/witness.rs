//! What the lane asks of those who stand in for the second copy in the log while the log makes none.

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;

use crate::log::Stream;
use crate::log::record::Tail;

/// The witnesses of one shard.
#[async_trait]
pub trait Witnesses: fmt::Debug + Send + Sync + 'static {
    /// Whether there is one that could be asked now.
    fn any(&self) -> bool;

    /// Whether they are asked as soon as a second copy is missing, though it may be for a moment only.
    fn at_once(&self) -> bool {
        false
    }

    /// True when all there are now, at least one, hold the stream up to exactly this tail; they are waited for, at most
    /// until `deadline`.
    async fn hold(&self, stream: Stream, tail: Tail, deadline: Instant) -> bool;
}
