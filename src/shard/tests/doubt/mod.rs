//! The log in bad weather: refusals, doubt, a lost token, a close in the middle.

use super::*;

mod closing;
mod decided_anew;
mod refused;
mod unheard;

/// A conversation, with everything of it applied.
async fn settled() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.send("c", "alice", "first").await;
    bench.at_rest().await;
    bench
}
