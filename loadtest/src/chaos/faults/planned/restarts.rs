//! All nodes are restarted, one after the other, as for a new version.

use crate::chaos::faults::{Broken, Field};

/// The change.
const NAME: &str = "rolling-restart";
/// How often each node is restarted.
const ROUNDS: usize = 3;

impl Field {
    /// Stops each node in turn, which gives its shards away; the next one when it is back and every
    /// shard has all its replicas.
    pub(super) async fn restart_in_turn(&self) -> Result<Broken, String> {
        let (nodes, mut given) = (self.site.nodes(), 0);

        for round in 1..=ROUNDS {
            for node in &nodes {
                if self.world.log.is_wrong() {
                    break;
                }
                given += self.owned_by(node).await;
                let one = std::slice::from_ref(node);
                let had = self.had(one).await;
                self.tell(NAME, &format!("round {round}: {had} is to stop"));

                self.site.stop(node).await?;
                self.site.start_again(one).await?;
                self.back_in_service(NAME).await;
            }
        }

        // In each round somebody has each shard.
        if given < self.site.shards() && !self.world.log.is_wrong() {
            return Err(format!("{nodes:?} had {given} shards to give"));
        }
        Ok(Broken {
            said: format!("{nodes:?} in turn, {ROUNDS} times; they gave {given} shards away"),
            mends: Vec::new(),
        })
    }
}
