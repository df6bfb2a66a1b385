//! A standby takes the shard over, and the log gets back what it lost.

use super::*;
use crate::log::record::Entry;
use crate::shard::Taking;

mod given_back;
mod suffixes;
mod taken;

impl Bench {
    /// What a watch would go by.
    async fn watched(&self) -> Taking {
        let control = self
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        Taking {
            expected: (control.token, control.beat),
        }
    }
}

/// What the log has is one history: every entry links, and nothing stands there twice.
async fn assert_whole(bench: &Bench) {
    for stream in Stream::BOTH {
        let mut tail = Tail::EMPTY;
        for raw in bench.raw(stream).await {
            tail = Entry::decode_after(&tail, &raw.bytes).expect("links").tail;
        }
        let control = bench
            .log
            .inner
            .control(SHARD)
            .await
            .expect("reads")
            .expect("claimed");
        assert_eq!(tail, control.tails[stream]);
    }
}
