//! What an operator changes while everybody works: nodes restarted, joined and drained, shards
//! moved, backups taken; and what dies meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::faults::{After, Broken, Field};
use crate::chaos::random::Random;
use crate::chaos::wire::say;

mod backups;

pub(super) mod catalogue;

mod further;

mod moves;

mod restarts;

/// For every shard to be served with all its replicas after one step of a change.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether a fault of that name is a change.
pub(super) fn is_one(name: &str) -> bool {
    catalogue::PLANNED.iter().any(|change| change.name == name)
}

impl Field {
    /// Makes the change of that name; what is to be mended is what died meanwhile.
    pub(super) async fn change(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        match name {
            "rolling-restart" => self.restart_in_turn().await,
            "move-shards" => self.move_shards(random).await,
            "move-shards-kill-node" => self.move_and_kill(random).await,
            "add-and-remove-node" => self.add_and_remove().await,
            "drain-kill-node" => self.drain_and_kill(random).await,
            "balance-kill-node" => self.balance_and_kill(random).await,
            "backup-kill-node" => self.back_up_and_kill(random).await,
            "restore-and-compare" => self.restore_and_compare().await,
            _ => Err(format!("there is no change {name}")),
        }
    }

    /// Waits for the end of what was begun before somebody died.
    pub(super) async fn comes_to_its_end(&self, name: &str, after: After) -> Result<(), String> {
        match after {
            After::Drain(node) => self.drained(&node).await,
            After::Backup(copying) => self.backed_up(name, copying).await,
        }
    }

    /// Tells a step of a change, and writes it down for those who read the history.
    fn tell(&self, name: &str, said: &str) {
        say(&format!("            {said}"));
        self.world.log.fault(name, said);
    }

    /// Waits until every shard is served with all its replicas in sync; what is not, is wrong.
    async fn back_in_service(&self, name: &str) {
        let nodes = self.site.nodes();
        if let Err(error) = self.site.in_sync(&nodes, BACK_WITHIN).await {
            let rule = "every shard has all its replicas in sync again";
            self.world
                .log
                .wrong(rule, None, format!("in {name}: {error}"));
        }
    }

    /// How many shards a node owns, as it tells; none when it does not answer.
    async fn owned_by(&self, node: &str) -> u64 {
        let holding = self.site.holding(node).await.unwrap_or_default();
        u64::try_from(holding.owned.len()).unwrap_or(u64::MAX)
    }

    /// Waits until a node owns as many shards as that; an error says what it waited for.
    async fn until_owned(
        &self,
        node: &str,
        is_so: impl Fn(u64) -> bool,
        within: Duration,
    ) -> Result<u64, String> {
        let end = Instant::now() + within;
        loop {
            let owned = self.owned_by(node).await;
            if is_so(owned) {
                return Ok(owned);
            }
            if Instant::now() > end || self.world.log.is_wrong() {
                return Err(format!("{node} owns {owned} shards after {within:?}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Has the cluster changed; not waited for when something is wrong already.
    async fn steer(&self, arguments: &[&str], within: Duration) -> Result<String, String> {
        let wrong = async {
            while !self.world.log.is_wrong() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            done = self.site.steer(arguments, within) => done,
            () = wrong => Err(format!("{arguments:?} is not waited for")),
        }
    }
}
