//! Idempotency: one key, one message (invariant I13).

use super::*;

mod known;
mod used;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench
}

fn stamped() -> IdempotencyKey {
    IdempotencyKey::stamp()
}
