//! Where a shard is served, as far as is known, and why an attempt to ask there brought nothing.

use crate::ids::NodeId;
use crate::link::Failure;
use crate::problem::{Code, Problem};
use crate::shard::command::ShardError;

/// Where a shard is served, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Route {
    /// By this node.
    Here,
    /// By another node.
    Node(NodeId),
    /// The table names nobody, or us while we do not own the shard yet.
    Nowhere,
}

/// Why an attempt brought nothing.
#[derive(Debug)]
pub(super) enum Missed {
    /// For the caller.
    Refused(Problem),
    /// Surely not served; the owner is elsewhere, or cannot be reached now.
    NotServed,
    /// May have been served.
    Lost,
}

impl From<ShardError> for Missed {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Problem(problem) => Self::Refused(problem),
            ShardError::NotOwner => Self::NotServed,
        }
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(_) => Self::NotServed,
            Failure::Lost => Self::Lost,
            Failure::Full => Self::Refused(Problem::unavailable(
                "too much waits for the owner; try again",
            )),
            Failure::TooLarge => Self::Refused(Problem::new(
                Code::TooLarge,
                "the request is too large for the link to the owner",
            )),
        }
    }
}
