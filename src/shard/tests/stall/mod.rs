//! A log that does not answer: which writes are decided, which wait, and what their callers are
//! told.

use super::*;
use crate::log::lane::Standing;

mod meanwhile;
mod outcomes;
mod parked;

async fn settled(config: Config) -> Bench {
    let bench = Bench::with(config).await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}

/// A shard with one write decided whose batch has had no definite answer for so long that the log
/// counts as stalled.
async fn stalled(config: Config, fault: Fault) -> (Bench, JoinHandle<Result<Done, ShardError>>) {
    let bench = settled(config).await;
    bench.log.always(Some(fault));
    let decided = tokio::spawn(bench.execute(send_key("c", "alice", "decided", "decided")));
    counts_as_stalled(&bench).await;
    (bench, decided)
}

async fn counts_as_stalled(bench: &Bench) {
    is_stalled(bench, SHARD).await;
}

async fn is_stalled(bench: &Bench, shard: ShardId) {
    in_time(async {
        loop {
            let since = match bench.lane.standing(shard) {
                Standing::Clear => None,
                Standing::InDoubt { since } | Standing::NotReplicated { since } => Some(since),
            };
            if since.is_some_and(|since| since.elapsed() >= Duration::from_secs(1)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
