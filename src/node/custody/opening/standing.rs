//! Standing by for a shard: its file follows the log until the owner is silent (then it is taken
//! over), the row names this node no more, or the file is of no use (then it is put aside and
//! seeded anew from the owner).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ids::{NodeId, ShardId};
use crate::log::Token;
use crate::node::custody::observe::Sign;
use crate::node::custody::opening::common::Inner;
use crate::node::custody::opening::gifts::{Arriving, Gifts};
use crate::node::custody::opening::keeper::{CLOSE_UNUSED_MAX, Keeper, fault_of};
use crate::shard::file::snapshot;
use crate::shard::file::snapshot::Orphans;
use crate::shard::replicas::Following;
use crate::shard::{Disposition, OpenError, ShardHandle, Standby, Taking};
use crate::telemetry;

/// Time for closing a standby.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A shard that was given to this node is told to it within this time, mostly: else the control
/// record tells.
const GIFT_WITHIN: Duration = Duration::from_millis(300);

/// Why a standby stops following.
#[derive(Debug)]
enum Left {
    /// The node takes no more, or no longer for this shard.
    Dropped,
    /// The control record names this node.
    Ours,
    /// By itself.
    Ended(Following),
    /// The owner is silent.
    Due(Token, u64),
    /// The owner gave the shard to this node.
    Given(Arriving),
}

impl Keeper {
    /// Stands by until that changes.
    pub(super) async fn stand_by(&mut self) -> Result<(), OpenError> {
        let standby = Standby::open(self.inner.opening(self.shard)).await?;
        self.inner.refused().remove(&self.shard);
        self.settled();
        self.inner.ways.owners.insert_standby(standby.clone());

        let left = self.follow(&standby).await;
        drop(self.inner.ways.owners.remove_standby(self.shard));
        tracing::debug!(node = %self.inner.node, shard = %self.shard, ?left, "stands by no more");

        match left {
            Left::Due(token, beat) => match self.succeed(standby, (token, beat)).await? {
                Some(failed) => self.mend(&failed).await,
                None => Ok(()),
            },
            Left::Given(arriving) => match self.receive(standby, arriving).await? {
                Some(failed) => self.mend(&failed).await,
                None => Ok(()),
            },
            Left::Dropped | Left::Ours => {
                standby.close(Instant::now() + CLOSE_UNUSED_MAX).await;
                Ok(())
            }
            Left::Ended(following) => {
                standby.close(Instant::now() + CLOSE_MAX).await;
                self.mend(&following).await
            }
        }
    }

    /// Follows until there is a reason not to. A takeover that is due has its permit when this
    /// returns.
    async fn follow(&self, standby: &Standby) -> Left {
        let Inner { ways, life, .. } = &*self.inner;
        let mut observation = ways.observer.follow(self.shard, standby.clone());
        let mut gifts = Gifts::of(&self.inner.awaited, self.shard);
        let due = async {
            loop {
                match observation.sign().await {
                    Sign::Ours => {
                        // Whoever gave it is about to say so, and then nothing is opened anew.
                        tokio::time::sleep(GIFT_WITHIN).await;
                        return Left::Ours;
                    }
                    Sign::Due(..) => {}
                }
                let permit = self.inner.taking.acquire().await;
                // It may have waited for long.
                if let Some(Sign::Due(token, beat)) = observation.sign_now() {
                    // Given back by `take_over`.
                    permit.map(tokio::sync::SemaphorePermit::forget).ok();
                    return Left::Due(token, beat);
                }
            }
        };

        tokio::select! {
            biased;
            () = life.opening.cancelled() => Left::Dropped,
            following = standby.ended() => Left::Ended(following),
            () = self.inner.dropped(self.shard) => Left::Dropped,
            arriving = gifts.next() => Left::Given(arriving),
            left = due => left,
        }
    }

    /// Takes the shard over, and serves it. Why the file is of no use, if it is not.
    async fn succeed(
        &mut self,
        standby: Standby,
        expected: (Token, u64),
    ) -> Result<Option<Following>, OpenError> {
        match self.take_over(standby, expected).await {
            Ok(handle) => Ok(self.serve(handle).await),
            Err(why) => Ok(Some(fault_of(&why).ok_or(why)?)),
        }
    }

    /// Opens the shard that its owner gave to this node, and serves it. Why the file is of no use,
    /// if it is not.
    async fn receive(
        &mut self,
        standby: Standby,
        arriving: Arriving,
    ) -> Result<Option<Following>, OpenError> {
        let Arriving { gift, served } = arriving;
        let from = gift.from.clone();
        match standby.receive(gift).await {
            Ok(handle) => {
                self.given = Some(served);
                Ok(self.serve(handle).await)
            }
            Err(why) => {
                tracing::warn!(node = %self.inner.node, shard = %self.shard, %from, %why, "what was given is not opened");
                drop(served.send(Err(why.to_string())));
                Ok(Some(fault_of(&why).ok_or(why)?))
            }
        }
    }

    async fn take_over(
        &self,
        standby: Standby,
        expected: (Token, u64),
    ) -> Result<ShardHandle, OpenError> {
        let (node, shard) = (&self.inner.node, self.shard);
        let begun = Instant::now();
        let taken = standby.take_over(Taking { expected }).await;
        self.inner.taking.add_permits(1);
        let result = match taken.as_ref().map_err(OpenError::disposition) {
            Ok(_) => "taken",
            Err(Disposition::Elsewhere) => "elsewhere",
            Err(Disposition::Refuse | Disposition::RefuseNode) => "refused",
            Err(Disposition::Reseed(_)) => "unfit",
            Err(Disposition::Wait) => "failed",
        };
        telemetry::TAKEOVERS.add(1, &[("node", &node.0), ("result", result)]);
        let (from, seconds) = (expected.0.epoch, begun.elapsed().as_secs_f64());
        tracing::info!(%node, %shard, %from, result, seconds, "a takeover has ended");
        taken
    }

    /// Gets a file that can follow: from the owner. One that has another history, or is damaged, is
    /// put aside first.
    async fn mend(&self, following: &Following) -> Result<(), OpenError> {
        self.put_aside(following).await?;
        self.seed().await
    }

    /// Gets a file from the owner, in place of the one that is there, if there is one.
    pub(super) async fn seed(&self) -> Result<(), OpenError> {
        let Inner {
            node, ways, life, ..
        } = &*self.inner;
        let shard = self.shard;
        let path = self.inner.path(shard);
        let seeding = ways.seeding.seed(shard, &path);
        tokio::select! {
            () = life.opening.cancelled() => return Ok(()),
            () = self.inner.dropped(shard) => return Ok(()),
            seeded = seeding => seeded.map_err(|why| OpenError::Failed(format!("shard {shard}: not seeded: {why}")))?,
        }
        tracing::info!(%node, %shard, "a replica is seeded");
        Ok(())
    }

    /// Counts and tells a replica that failed, and puts its file aside, unless it is only too old.
    pub(super) async fn put_aside(&self, failed: &Following) -> Result<(), OpenError> {
        let Inner { node, clock, .. } = &*self.inner;
        let (shard, path) = (self.shard, self.inner.path(self.shard));
        let (why, because) = match failed {
            Following::Live => return Ok(()),
            Following::Behind => ("behind", None),
            Following::Diverged(told) => ("diverged", Some(told)),
            Following::Damaged(told) => ("damaged", Some(told)),
        };

        telemetry::REPLICAS_FAILED.add(1, &[("node", &node.0), ("why", why)]);
        let Some(because) = because else {
            tracing::warn!(%node, %shard, "a replica is too far behind the log; it has to be seeded anew");
            return Ok(());
        };

        let diverged = matches!(failed, Following::Diverged(_));
        let orphans = if diverged {
            Orphans::Perhaps
        } else {
            Orphans::None
        };

        let to = quarantined(
            shard,
            &path,
            snapshot::quarantine(&path, clock, orphans).await,
        )?;
        let Some(to) = to else { return Ok(()) };
        if diverged {
            tracing::warn!(%node, %shard, because, to = %to.display(), "the file of a replica with another history is put aside");
            self.inner.send_orphans(shard, to);
        } else {
            tell_damaged(node, shard, because, &to);
        }

        Ok(())
    }
}

/// It is seeded anew; but why a disk damages files is for a person to find out.
fn tell_damaged(node: &NodeId, shard: ShardId, because: &str, to: &Path) {
    tracing::error!(%node, %shard, because, to = %to.display(), "the damaged file of a replica is put aside");
}

/// Where the file now is; `None` when there was none.
fn quarantined(
    shard: ShardId,
    path: &Path,
    moved: io::Result<PathBuf>,
) -> Result<Option<PathBuf>, OpenError> {
    match moved {
        Ok(to) => Ok(Some(to)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Failed(format!(
            "shard {shard}: {}: {error}",
            path.display()
        ))),
    }
}
