//! How a shard comes to be owned: compare log and file, claim, give back what the log lost, catch
//! up, start; the first thing that the owner appends is its epoch, in both streams. One way for the
//! owner that starts again on its own folder and for the standby that takes over.
//!
//! What the log makes no second copy of does not keep a shard closed: it is open for reads and
//! gives snapshots, and takes no write until its epoch is committed (ADR 17).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::NodeId;
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{Control, PerStream};
use crate::shard::error::OpenError;
use crate::shard::execute::Boxed;
use crate::shard::file::store::Store;
use crate::shard::file::worker::catch_up;
use crate::shard::handle::ShardHandle;
use crate::shard::options::Opening;
use crate::shard::replica::check::check;
use crate::shard::replica::claims::{claim, next_epoch, stands_still};
use crate::shard::replica::restore;
use crate::shard::replica::start::{Owned, start};
use crate::shard::replica::way::{Gift, Taking, Way};
use crate::shard::replicas::Following;

/// How long the other replicas are waited for when they are asked how they stand.
const STANDING_MAX: Duration = Duration::from_millis(300);
/// How long an opening waits for the commit of its epoch: mostly milliseconds. It is open without,
/// for reads.
const ANNOUNCED_MAX: Duration = Duration::from_millis(500);

/// Claims the shard, brings its file up to the log's tail, and starts it.
///
/// # Errors
/// One clear sentence why it is not opened; nothing was served.
pub(crate) async fn open(opening: Opening) -> Result<ShardHandle, OpenError> {
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
