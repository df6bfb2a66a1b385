//! What keeps a shard from being opened: a log that was lost or is another's, and another owner.

use crate::log::record::Tail;
use crate::log::{Control, PerStream};
use crate::shard::error::OpenError;
use crate::shard::file::store::Progress;
use crate::shard::options::Opening;
use crate::shard::replica::way::Taking;
use crate::shard::replicas::ReplicaStatus;

/// Never an empty history served as if it were the truth, and never a shard that another node owns.
pub(super) fn check(
    opening: &Opening,
    control: Option<&Control>,
    (progress, others): (&Progress, &[ReplicaStatus]),
    taking: Option<&Taking>,
) -> Result<(), OpenError> {
    let shard = opening.shard;
    let path = opening.path.display();

    match control {
        None if progress.applied != PerStream::both(Tail::EMPTY) && !opening.config.adopt_local => {
            Err(OpenError::Refused(format!(
                "shard {shard}: the log knows nothing of this shard, but {path} has records up to {}: \
             the log was lost or is another's; restore it, or make it anew from the file with `rookery node --adopt-local`",
                progress.applied.messages.offset,
            )))
        }
        // With records of its own it is adopted, and gets what another one has beyond them.
        None if progress.applied == PerStream::both(Tail::EMPTY)
            && let Some(other) = others
                .iter()
                .find(|other| other.applied != PerStream::both(Tail::EMPTY)) =>
        {
            Err(OpenError::Refused(format!(
                "shard {shard}: the log and {path} know nothing of this shard, but {} has records up to {}: the log was \
                 lost or is another's; restore it, or make it anew from that node's file with `rookery node --adopt-local`",
                other.node, other.applied.messages.offset,
            )))
        }
        None if opening.claimed && progress.applied == PerStream::both(Tail::EMPTY) => {
            Err(OpenError::Refused(format!(
                "shard {shard}: it was claimed before, but the log knows nothing of it and {path} is empty: the log was lost; \
             restore it, or make the shard anew from the file of a node that has it, with `rookery node --adopt-local` there",
            )))
        }
        Some(control) if control.identity != opening.identity => Err(OpenError::Foreign(format!(
            "shard {shard}: the log belongs to cluster {} with {} shards, this node to {} with {}",
            control.identity.cluster,
            control.identity.shards,
            opening.identity.cluster,
            opening.identity.shards,
        ))),
        // Our own earlier claim, also one whose answer was lost, is ours: our folder's lock says
        // that nobody else uses it.
        Some(control) if control.owner != opening.node && taking.is_none() => {
            Err(OpenError::Elsewhere(format!(
                "shard {shard}: owned by {}, and this is {}; it is served there, or nowhere until \
                 that node is back",
                control.owner, opening.node,
            )))
        }
        _ => Ok(()),
    }
}
