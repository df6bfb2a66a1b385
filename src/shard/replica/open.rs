//! How a shard comes to be owned: compare log and file, claim, give back what the log lost, catch
//! up, start; the first thing that the owner appends is its epoch, in both streams. One way for the
//! owner that starts again on its own folder and for the standby that takes over.
//!
//! What the log makes no second copy of does not keep a shard closed: it is open for reads and
//! gives snapshots, and takes no write until its epoch is committed (ADR 17).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::{Epoch, NodeId, ShardId};
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{Claim, ClaimOutcome, Control, PerStream, Token};
use crate::shard::error::OpenError;
use crate::shard::execute::Boxed;
use crate::shard::file::store::{Progress, Store};
use crate::shard::file::worker::catch_up;
use crate::shard::handle::ShardHandle;
use crate::shard::options::Opening;
use crate::shard::replica::restore;
use crate::shard::replica::start::{Owned, start};
use crate::shard::replicas::{Following, ReplicaStatus};

/// How long the other replicas are waited for when they are asked how they stand.
const STANDING_MAX: Duration = Duration::from_millis(300);
/// How long an opening waits for the commit of its epoch: mostly milliseconds. It is open without,
/// for reads.
const ANNOUNCED_MAX: Duration = Duration::from_millis(500);
/// Claims in a row while only the beat moves.
const CLAIMS_MAX: u32 = 8;

/// What a takeover goes by.
#[derive(Debug, Clone)]
pub struct Taking {
    /// Token and beat that were watched; the claim is refused when they moved.
    pub expected: (Token, u64),
}

/// What the owner of a shard gave to this node (ADR 19).
#[derive(Debug, Clone)]
pub struct Gift {
    /// Who gave it.
    pub from: NodeId,
    /// The token under which it is to be owned.
    pub token: Token,
    /// Where its streams ended, which nobody could change since.
    pub tails: PerStream<Tail>,
}

/// How a standby comes to own the shard.
pub(in crate::shard) enum Way {
    /// Its owner is silent.
    Silence(Taking),
    /// Its owner gave it.
    Gift(Gift),
}

/// Claims the shard, brings its file up to the log's tail, and starts it.
///
/// # Errors
/// One clear sentence why it is not opened; nothing was served.
pub async fn open(opening: Opening) -> Result<ShardHandle, OpenError> {
    // Boxed as `dyn`: the compiler cannot prove the nested futures `Send` through their lifetimes.
    let opened: Boxed<Result<ShardHandle, OpenError>> = Box::pin(open_file(opening));
    opened.await
}

/// Opens the file, and with it the shard.
async fn open_file(opening: Opening) -> Result<ShardHandle, OpenError> {
    let shard = opening.shard;
    let store = Store::open(
        &opening.path,
        opening.identity,
        shard,
        opening.config.store.clone(),
    )
    .await?;
    with(opening, store, None).await
}

/// Opens the shard with the file that a standby has open.
pub(in crate::shard) async fn take_over(
    opening: Opening,
    store: Store,
    way: Way,
) -> Result<ShardHandle, OpenError> {
    with(opening, store, Some(way)).await
}

async fn with(opening: Opening, store: Store, way: Option<Way>) -> Result<ShardHandle, OpenError> {
    let owned = match &way {
        Some(Way::Gift(gift)) => receive(&opening, &store, gift).await,
        Some(Way::Silence(taking)) => own(&opening, &store, Some(taking)).await,
        None => own(&opening, &store, None).await,
    };
    let owned = match owned {
        Ok(owned) => start(opening, store.clone(), owned).await,
        Err(error) => Err(error),
    };
    let owned = match owned {
        Ok(handle) => handle.announced(ANNOUNCED_MAX).await.map(|()| handle),
        Err(error) => Err(error),
    };
    if owned.is_err() {
        // Whoever moves the file away must find it closed.
        store.close().await;
    }
    owned
}

/// Everything up to the first append of the new epoch: the token, the tails that it follows, and
/// the lease.
async fn own(
    opening: &Opening,
    store: &Store,
    taking: Option<&Taking>,
) -> Result<Owned, OpenError> {
    let shard = opening.shard;
    let control = opening.log.control(shard).await?;
    if let Some(taking) = taking {
        stands_still(opening, control.as_ref(), taking)?;
    }
    let others = opening
        .replicas
        .standing(shard, Instant::now() + STANDING_MAX)
        .await;
    check(
        opening,
        control.as_ref(),
        (&store.progress(), &others),
        taking,
    )?;
    if let (Some(control), Some(_)) = (&control, taking) {
        restore::look(opening, store, control).await?;
    }
    let epoch = next_epoch(shard, control.as_ref(), store.progress().max_epoch, &others);
    let begin_at = if control.is_none() {
        restore::begin_at(store).await?
    } else {
        PerStream::both(Tail::EMPTY)
    };
    // Appends and renewals prove the ownership as well as the claim does, and later.
    let sent = opening.clock.since_boot();
    let control = claim(opening, (control, begin_at), epoch, taking.is_some()).await?;
    let following = others
        .iter()
        .filter(|other| other.following == Following::Live);
    let answered: Vec<NodeId> = following.map(|other| other.node.clone()).collect();
    // Every other token is fenced: the log is final now.
    let control = restore::from_file(opening, store, control).await?;
    let control = restore::from_others(opening, &others, control).await?;
    catch_up(
        shard,
        opening.log.as_ref(),
        store,
        control.tails,
        &opening.config.worker,
    )
    .await?;
    let lease = Arc::new(Lease::new(opening.config.takeover_watch, sent));
    Ok(Owned {
        token: control.token,
        tails: control.tails,
        lease,
        answered,
    })
}

/// The same for a shard that was given to this node: its token is in the log, and nobody else has a
/// claim to it.
async fn receive(opening: &Opening, store: &Store, gift: &Gift) -> Result<Owned, OpenError> {
    let shard = opening.shard;
    if gift.token.epoch <= store.progress().max_epoch {
        let line = format!(
            "shard {shard}: given by {} under an epoch that this file has seen",
            gift.from
        );
        return Err(OpenError::Failed(line));
    }
    // A renewal, and not a mere look: what moves nothing could be old when others have watched the
    // beat for long.
    let sent = opening.clock.since_boot();
    let renewed = opening.log.renew(&[(shard, gift.token)]).await;
    let is_current = renewed.into_iter().next().transpose()?;
    if is_current != Some(true) {
        let line = format!(
            "shard {shard}: given by {}, but the token is not current any more",
            gift.from
        );
        return Err(OpenError::Elsewhere(line));
    }
    let (identity, token, owner) = (opening.identity, gift.token, opening.node.clone());
    let control = Control {
        identity,
        token,
        owner,
        beat: 0,
        tails: gift.tails,
    };
    let control = restore::from_file(opening, store, control).await?;
    catch_up(
        shard,
        opening.log.as_ref(),
        store,
        control.tails,
        &opening.config.worker,
    )
    .await?;
    let lease = Arc::new(Lease::new(opening.config.takeover_watch, sent));
    Ok(Owned {
        token,
        tails: control.tails,
        lease,
        answered: vec![gift.from.clone()],
    })
}

/// The control record is as it was when the watch ended: its owner shows no sign of life.
fn stands_still(
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

/// Never an empty history served as if it were the truth, and never a shard that another node owns.
fn check(
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

/// Above every epoch that the log or the file knows: a log that fell back may have forgotten some.
fn next_epoch(
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

async fn claim(
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

fn refused(shard: ShardId, found: Option<&Control>) -> OpenError {
    let owner = found.map_or_else(
        || "no one, or it changes".to_owned(),
        |found| found.owner.to_string(),
    );
    OpenError::Failed(format!(
        "shard {shard}: the claim was refused; its owner is {owner}"
    ))
}
