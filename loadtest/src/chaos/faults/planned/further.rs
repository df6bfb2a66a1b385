//! Nodes that come, get their share, and leave for good.

use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::faults::planned::LOOK_EVERY;
use crate::chaos::faults::{After, Broken, Field, Mend};
use crate::chaos::random::Random;
use crate::chaos::site::further::FURTHER;

/// For a node that joins to get its share: it is steady after 10 s, then gets eight copies at a
/// time.
const SHARE_WITHIN: Duration = Duration::from_secs(240);
/// For all that a node has to be given to others.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
/// For the table to forget a node that has left: 100 s after its last sign of life.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(150);
/// For a mark to be set or taken away.
const MARKED_WITHIN: Duration = Duration::from_secs(20);
/// For the first shard to be given to a node that comes back, or by one that drains.
const MOVES_WITHIN: Duration = Duration::from_secs(90);
/// A node that is killed is replaced within this time, mostly.
const REPLACED_AFTER: Duration = Duration::from_secs(6);
/// Once shards are moved, so many milliseconds pass at most before somebody dies.
const LATER_MS: u64 = 2_000;

impl Field {
    /// A fourth node joins with an empty folder, gets its share, is drained for good, and is taken
    /// away.
    pub(super) async fn add_and_remove(&self) -> Result<Broken, String> {
        let name = "add-and-remove-node";
        // A mark of before is still there, for a mark outlives its node.
        self.steer(&["undrain", FURTHER], MARKED_WITHIN).await?;
        self.site.join("").await?;
        self.tell(name, &format!("{FURTHER} joins"));

        // Three quarters of what each of the four would have are a share: what is left may rest.
        let share = (self.site.shards() * 3 / 16).max(1);
        self.until_owned(FURTHER, |owned| owned >= share, SHARE_WITHIN)
            .await?;
        let had = self.had(&[FURTHER.to_owned()]).await;
        self.tell(name, &format!("{had} is to be drained"));

        self.steer(&["drain", FURTHER], DRAINED_WITHIN).await?;
        let named = self.site.named(FURTHER).await?;
        if named.rows > 0 {
            return Err(format!(
                "{FURTHER} is drained, and {} rows name it",
                named.rows
            ));
        }
        self.site.part().await?;
        self.tell(name, &format!("{FURTHER} is gone with its folder"));
        self.forgotten(FURTHER).await?;
        Ok(Broken {
            said: format!("{had}, drained and taken away"),
            mends: Vec::new(),
        })
    }

    /// Waits until the table does not know a node any more.
    async fn forgotten(&self, node: &str) -> Result<(), String> {
        let end = Instant::now() + FORGOTTEN_WITHIN;
        while self
            .site
            .named(node)
            .await
            .is_ok_and(|named| named.known || named.rows > 0)
        {
            if Instant::now() > end || self.world.log.is_wrong() {
                return Err(format!(
                    "the table knows {node} {FORGOTTEN_WITHIN:?} after it left"
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// A node is drained for good, and another one dies while it gives its shards away.
    pub(super) async fn drain_and_kill(&self, random: &mut Random) -> Result<Broken, String> {
        let nodes = self.nodes(random, 2).await?;
        let [node, other] = nodes.as_slice() else {
            return Err("there are no two nodes".to_owned());
        };
        let had = self.had(&nodes).await;
        let before = self.owned_by(node).await;
        self.steer(&["drain", node, "--no-wait"], MARKED_WITHIN)
            .await?;

        let gives = |owned| owned < before;
        let left = self.until_owned(node, gives, MOVES_WITHIN).await?;
        tokio::time::sleep(Duration::from_millis(random.below(LATER_MS))).await;
        self.site.kill(std::slice::from_ref(other)).await;
        Ok(Broken {
            said: format!("{had}: {node} drains, has {left} left, and {other} is killed"),
            mends: vec![
                Mend::Start(other.clone()),
                Mend::After(After::Drain(node.clone())),
            ],
        })
    }

    /// Waits until a node is drained, which goes on although another one had died; then it may get
    /// shards again.
    pub(super) async fn drained(&self, node: &str) -> Result<(), String> {
        if let Err(error) = self.steer(&["drain", node], DRAINED_WITHIN).await {
            let rule = "a node that drains is drained in the end";
            self.world.log.wrong(rule, None, error);
        }
        self.steer(&["undrain", node], MARKED_WITHIN)
            .await
            .map(drop)
    }

    /// A node dies and comes back, and while it is given its share again somebody dies: it, or one
    /// of those who give.
    pub(super) async fn balance_and_kill(&self, random: &mut Random) -> Result<Broken, String> {
        let nodes = self.nodes(random, 1).await?;
        let back = nodes.first().cloned().unwrap_or_default();
        self.site.kill(&nodes).await;
        tokio::time::sleep(REPLACED_AFTER).await;
        self.site.start_again(&nodes).await?;
        let before = self.owned_by(&back).await;
        self.tell(
            "balance-kill-node",
            &format!("{back} is back, and owns {before} shards"),
        );

        let gets = |owned| owned > before;
        self.until_owned(&back, gets, MOVES_WITHIN).await?;
        tokio::time::sleep(Duration::from_millis(random.below(LATER_MS))).await;
        let running = self.site.running_nodes();
        let victim = random.pick(&running).cloned().unwrap_or(back);
        let one = [victim.clone()];
        let had = self.had(&one).await;
        self.site.kill(&one).await;
        Ok(Broken {
            said: format!("{had} is killed while {nodes:?} gets its share"),
            mends: vec![Mend::Start(victim)],
        })
    }
}
