//! The claim of a shard: under which epoch it is made, and why it may be refused.

use crate::ids::{Epoch, NodeId, ShardId};
use crate::log::record::Tail;
use crate::log::{Claim, ClaimOutcome, Control, PerStream, Token};
use crate::shard::error::OpenError;
use crate::shard::options::Opening;
use crate::shard::replica::way::Taking;
use crate::shard::replicas::ReplicaStatus;

/// Claims in a row while only the beat moves.
const CLAIMS_MAX: u32 = 8;

/// Above every epoch that the log or the file knows: a log that fell back may have forgotten some.
pub(super) fn next_epoch(
    shard: ShardId,
    control: Option<&Control>,
    of_file: Epoch,
    others: &[ReplicaStatus],
) -> Epoch {
    let of_others = others
        .iter()
        .map(|other| other.max_epoch)
        .max()
        .unwrap_or_default();
    let of_file = of_file.max(of_others);
    let of_log = control.map_or(Epoch(0), |control| control.token.epoch);
    if control.is_some() && of_log < of_file {
        tracing::warn!(%shard, %of_log, %of_file, "the log fell back: its epoch is lower than one that a replica applied");
    }
    of_log.max(of_file).next()
}

pub(super) async fn claim(
    opening: &Opening,
    (control, begin_at): (Option<Control>, PerStream<Tail>),
    epoch: Epoch,
    takes_over: bool,
) -> Result<Control, OpenError> {
    let shard = opening.shard;
    let mut claim = Claim {
        shard,
        expected: control.map(|control| (control.token, control.beat)),
        token: Token::new(epoch),
        owner: opening.node.clone(),
        identity: opening.identity,
        begin_at,
        ends_at: None,
    };

    for _ in 1..CLAIMS_MAX {
        match opening.log.claim(claim.clone()).await? {
            ClaimOutcome::Claimed(claimed) => return Ok(claimed),
            // Only the beat moved: a batch of our own former self, still on its way.
            ClaimOutcome::Refused(Some(found))
                if !takes_over
                    && found.owner == opening.node
                    && claim
                        .expected
                        .is_some_and(|(token, _)| token == found.token) =>
            {
                claim.expected = Some((found.token, found.beat));
            }
            // Its owner lives, or another standby was faster.
            ClaimOutcome::Refused(Some(found)) if takes_over => {
                return Err(moved(shard, &found, &opening.node));
            }
            ClaimOutcome::Refused(found) => return Err(refused(shard, found.as_ref())),
        }
    }

    Err(refused(shard, None))
}

/// The control record is as it was when the watch ended: its owner shows no sign of life.
pub(super) fn stands_still(
    opening: &Opening,
    control: Option<&Control>,
    taking: &Taking,
) -> Result<(), OpenError> {
    let (shard, node) = (opening.shard, &opening.node);
    match control {
        Some(control) if (control.token, control.beat) == taking.expected => Ok(()),
        Some(control) => Err(moved(shard, control, node)),
        None => Err(OpenError::Failed(format!(
            "shard {shard}: its control record is gone; {node} does not take it over"
        ))),
    }
}

fn moved(shard: ShardId, control: &Control, node: &NodeId) -> OpenError {
    OpenError::Elsewhere(format!(
        "shard {shard}: {} shows signs of life; {node} does not take it over",
        control.owner
    ))
}

fn refused(shard: ShardId, found: Option<&Control>) -> OpenError {
    let owner = found.map_or_else(
        || "no one, or it changes".to_owned(),
        |found| found.owner.to_string(),
    );
    OpenError::Failed(format!(
        "shard {shard}: the claim was refused; its owner is {owner}"
    ))
}
