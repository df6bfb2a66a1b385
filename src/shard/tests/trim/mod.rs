//! Trim and the standbys in sync; the workers' progress; what ends an owner.

use super::*;
use crate::ids::Epoch;
use crate::log::PerStream;
use crate::shard::replicas::{Following, ReplicaStatus};

mod cap;
mod ends;
mod floor;

fn trimming() -> Config {
    let mut config = config();
    config.worker.trim_floor = Duration::ZERO;
    config.worker.trim_floor_bytes = 0;
    config
}

impl Bench {
    fn report(&self, node: &str, durable: PerStream<Tail>, following: Following) -> ReplicaStatus {
        let (shard, node, applied) = (SHARD, NodeId::from(node), self.tails());
        ReplicaStatus {
            shard,
            node,
            applied,
            durable,
            max_epoch: Epoch(1),
            following,
        }
    }

    /// Waits until the messages stream begins after an offset.
    async fn trimmed_to(&self, offset: Offset) {
        in_time(async {
            while self
                .raw(M)
                .await
                .first()
                .is_some_and(|raw| raw.last <= offset)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn durable(&self) {
        let mut durable = self.handle().0.durable.clone();
        let upto = self.tails().map(|tail| tail.offset);
        let reached =
            |durable: &PerStream<Offset>| durable.zip(upto).all(|(durable, upto)| durable >= upto);
        in_time(durable.wait_for(reached)).await.expect("lives");
    }
}

/// The proportions of the defaults: 128 MiB against 500,000 records of 300 bytes and more.
async fn with_a_small_cap() -> Bench {
    let bench = Bench::with(Config {
        stream_bytes_max: 400 * 1024,
        ..config()
    })
    .await;
    bench.create("c", &["alice"]).await;
    bench.handle().set_standbys(vec![NodeId::from("node-b")]);
    bench
}
