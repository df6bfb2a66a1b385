//! What ends an owner whose file will not mend, where another replica can go on with the shard.
//! Alone it stays: what it has in memory and on disk is the best there is.

use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::log::PerStream;
use crate::log::record::Tail;
use crate::shard::file::worker::Workers;
use crate::shard::insync::InSync;
use crate::shard::replicas::Following;
use crate::shard::write::owner::Input;

/// What is watched of a shard that is owned.
pub(in crate::shard) struct Ends {
    /// What its workers say of file and log.
    following: watch::Receiver<Following>,
    standbys: watch::Receiver<InSync>,
    committed: PerStream<Arc<watch::Sender<Tail>>>,
    clock: Clock,
    fault: Arc<OnceLock<Following>>,
}

impl Ends {
    /// Begins to watch. What is returned is set before the shard is told to end.
    pub(in crate::shard) fn begin(
        workers: &Workers,
        (standbys, committed, clock): (
            &watch::Sender<InSync>,
            &PerStream<Arc<watch::Sender<Tail>>>,
            &Clock,
        ),
        inputs: &mpsc::Sender<Input>,
    ) -> Arc<OnceLock<Following>> {
        let fault = Arc::new(OnceLock::new());
        let ends = Self {
            following: workers.following(),
            standbys: standbys.subscribe(),
            committed: committed.clone(),
            clock: clock.clone(),
            fault: Arc::clone(&fault),
        };
        drop(tokio::spawn(ends.watch(inputs.downgrade())));
        fault
    }

    /// Tells the shard to end, once.
    async fn watch(mut self, inputs: mpsc::WeakSender<Input>) {
        let Ok(why) = self
            .following
            .wait_for(|following| *following != Following::Live)
            .await
            .map(|why| why.clone())
        else {
            return;
        };

        if !self.can_be_left(&why).await {
            return;
        }
        let Some(inputs) = inputs.upgrade() else {
            return;
        };
        if self.fault.set(why.clone()).is_ok() {
            drop(inputs.send(Input::Unfit(why)).await);
        }
    }

    /// Waits until another can go on; false when the shard ended before. Of a damaged file most can
    /// be read, and a standby may still need it: one in sync has to live. With another history than
    /// the log's nothing may be served in any case.
    async fn can_be_left(&mut self, why: &Following) -> bool {
        let is_damaged = matches!(why, Following::Damaged(_));
        let (committed, clock) = (&self.committed, &self.clock);
        let can = |standbys: &InSync| {
            let committed = committed.each_ref().map(|tail| tail.borrow().offset);
            if is_damaged {
                !standbys.witnesses(committed, clock.since_boot()).is_empty()
            } else {
                standbys.has_standbys()
            }
        };
        self.standbys.wait_for(can).await.is_ok()
    }
}
