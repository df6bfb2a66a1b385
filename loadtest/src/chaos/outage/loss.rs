//! What is lost, and whom it hits.

use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::Signal;

use crate::chaos::outage::probe::Probed;
use crate::chaos::site::Site;

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Loss {
    /// A node, started again only after the run.
    KillNode,
    /// A node, started again at once.
    KillNodeRestart,
    /// A Redis master, started again only after the run.
    KillMaster,
    /// A Redis master, started again after 10 s.
    KillMasterRestart,
    /// A node and a Redis master, started again only after the run.
    Both,
    /// A node, started again at once, and a Redis master, started again after 10 s.
    BothRestart,
    /// A replica of Redis hangs; it goes on only after the run. Its master's writes wait for it,
    /// and then for a standby.
    HangReplica,
    /// A replica of Redis hangs, and a node dies, whose shards have to be claimed meanwhile: until
    /// all is read again.
    HangReplicaClaim,
    /// A node with its disk and a Redis master, for good: until all is read again.
    GoneReads,
    /// The same, until all is written again: the third node has to be given its copies first.
    GoneWrites,
}

impl Loss {
    pub(super) fn probed(self) -> Probed {
        match self {
            Self::GoneReads | Self::HangReplicaClaim => Probed::Reads,
            Self::HangReplica => Probed::Patiently,
            _ => Probed::Writes,
        }
    }

    pub(super) fn gone(self) -> bool {
        matches!(self, Self::GoneReads | Self::GoneWrites)
    }
}

/// The node that owns the most shards: nothing gives a node its shards back, and one without any is
/// not missed.
pub(super) async fn largest(site: &Site) -> Result<String, String> {
    let mut largest = (0, None);
    for node in site.nodes() {
        let owned = site.holding(&node).await?.owned.len();
        if owned > largest.0 {
            largest = (owned, Some(node));
        }
    }
    largest.1.ok_or_else(|| "nobody owns a shard".to_owned())
}

/// The loss, up to what of it comes back before all is served.
pub(super) async fn lose(
    site: &Site,
    loss: Loss,
    lost: &[String],
    node: &String,
) -> Result<(), String> {
    let own = std::slice::from_ref(node);
    match loss {
        Loss::HangReplica => site.signal(lost, Signal::SIGSTOP),
        Loss::HangReplicaClaim => {
            site.signal(lost, Signal::SIGSTOP);
            site.kill(own).await;
        }
        _ => site.kill(lost).await,
    }

    if loss.gone() {
        site.empty(node)?;
    }

    if matches!(loss, Loss::KillNodeRestart | Loss::BothRestart) {
        site.start_again(own).await?;
    }

    if matches!(loss, Loss::KillMasterRestart | Loss::BothRestart) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        site.start_again(lost).await?;
    }

    Ok(())
}
