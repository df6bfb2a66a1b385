//! Live delivery: the missing span and what is pushed make one sequence.

use super::*;

mod members;
mod spans;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench
}

fn live(subscribed: Subscribed) -> (Seq, Seq, Vec<Arc<Event>>) {
    match subscribed {
        Subscribed::Live {
            tail,
            joined,
            events,
            ..
        } => (tail, joined, events),
        other => panic!("{other:?}"),
    }
}
