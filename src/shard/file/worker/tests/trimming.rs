//! What goes from the log, and what stays.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ids::{Epoch, Offset};
use crate::log::record::Record;
use crate::log::{PerStream, ShardLog, Stream};
use crate::shard::file::store::mark;
use crate::shard::file::store::retained::{Mark, Retained};
use crate::shard::file::store::tests::{created, message};
use crate::shard::file::worker::kept::lock;
use crate::shard::file::worker::tests::{Bench, SHARD, START, config, trimming};
use crate::shard::file::worker::trim::Trim;
use crate::shard::file::worker::{Config, Setup};

// what must not happen: 27 (streams are never trimmed); I8: never beyond what is durable
#[tokio::test]
async fn the_log_is_trimmed_behind_what_is_durable_when_there_is_no_floor() {
    let mut bench = Bench::new(Config {
        trim_floor: Duration::ZERO,
        ..config()
    })
    .await;
    bench.append(&[created("c", &["alice"], START)]);
    bench.append(&[message("c", 2, "alice", 1, START)]);

    let tail = bench.append(&[message("c", 3, "alice", 2, START)]);
    bench.commit(tail);
    bench.applied(tail.offset).await;

    assert_eq!(
        bench.log.first(Stream::Messages),
        Some(Offset(1)),
        "applied is not durable"
    );

    let mut trimmed = bench.workers.trimmed();
    bench.store.checkpoint().await.expect("checkpoints");

    let reached = trimmed.wait_for(|offsets| offsets.messages > Offset(0));
    let offsets = *tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .expect("in time")
        .expect("runs");
    assert_eq!(
        offsets,
        PerStream {
            messages: Offset(3),
            receipts: Offset(0)
        }
    );

    assert_eq!(bench.log.first(Stream::Messages), None);
    assert_eq!(
        *bench.workers.durable().borrow(),
        PerStream {
            messages: Offset(3),
            receipts: Offset(0)
        }
    );
}

// I8: whatever the floor and its bytes say, nothing goes that a loss of power could take from the
// file
#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn nothing_is_trimmed_that_is_not_durable() {
    let mut bench = Bench::new(config()).await;
    let kept = PerStream::from_fn(|_stream| Arc::new(Mutex::new(Retained::default())));
    for _ in 0..4 {
        bench.append(&[Record::EpochStart {
            epoch: Epoch(1),
            node: "n".into(),
            ts: START,
        }]);
    }

    let now = tokio::time::Instant::now();
    for (entry, ago) in bench.written.entries.iter().zip([300, 200, 100, 0]) {
        let since = now
            .checked_sub(Duration::from_secs(ago))
            .expect("the machine runs for a while");
        lock(&kept.messages).push(Mark {
            since,
            ..mark(&entry.entry, &entry.bytes)
        });
    }

    let (committed, config) = (
        bench.committed.each_ref().map(watch::Sender::subscribe),
        config(),
    );
    let (log, store) = (
        Arc::clone(&bench.log) as Arc<dyn ShardLog>,
        bench.store.clone(),
    );
    let setup = Setup {
        shard: SHARD,
        log,
        store,
        trimming: Some(trimming()),
        committed,
        config,
    };

    let (durable, trimmed) = (
        watch::Sender::new(PerStream::both(Offset(0))),
        watch::Sender::new(PerStream::both(Offset(0))),
    );
    let (stood, opened_at, stop) = (
        Arc::default(),
        PerStream::both(Offset(0)),
        CancellationToken::new(),
    );

    let trim = Trim {
        setup,
        retained: kept,
        durable,
        trimmed,
        stood,
        opened_at,
        stop,
    };

    assert!(!trim.trim(&trimming(), Stream::Messages, Offset(2)).await);
    assert_eq!(bench.log.first(Stream::Messages), Some(Offset(3)));
    assert!(trim.trim(&trimming(), Stream::Messages, Offset(4)).await);
    assert_eq!(
        bench.log.first(Stream::Messages),
        Some(Offset(4)),
        "the newest is young"
    );
}
