//! What a worker applies, when, and what it does with what is refused.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::ids::{Epoch, Offset, Seq};
use crate::log::Stream;
use crate::log::record::{Record, Tail};
use crate::shard::file::store::tests::{Written, conversation, created, message};
use crate::shard::file::worker::Config;
use crate::shard::file::worker::tests::{Bench, START, config, never_ticking};

// what must not happen: 26 (a read lags behind what was acknowledged)
#[tokio::test]
async fn committed_entries_are_applied_and_those_in_doubt_are_not() {
    let mut bench = Bench::new(config()).await;
    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.append(&[message("c", 2, "alice", 1, START)]);
    bench.commit(first);
    bench.applied(first.offset).await;
    assert_eq!(bench.store.progress().applied.messages, first);

    // Had the second been applied, this would find two events.
    let events = bench
        .store
        .events(&conversation("c"), Seq(0), 9)
        .await
        .expect("reads");
    assert_eq!(events.len(), 1);

    bench.commit(bench.written.tail);
    bench.applied(Offset(2)).await;
    assert_eq!(bench.store.progress().applied.messages, bench.written.tail);
}

#[tokio::test]
async fn whoever_hurries_a_worker_does_not_wait_for_its_tick() {
    let mut bench = Bench::new(never_ticking()).await;
    let tail = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(tail);
    bench.workers.hurry(Stream::Messages);
    bench.applied(tail.offset).await;
}

// what must not happen: 24 (a backlog that grows without bound)
#[tokio::test]
async fn a_full_transaction_does_not_wait_for_the_tick_either() {
    let mut bench = Bench::new(Config {
        records_max: 8,
        ..never_ticking()
    })
    .await;
    bench.append(&[created("c", &["alice"], START)]);
    for seq in 2..=40 {
        bench.append(&[message("c", seq, "alice", seq, START)]);
    }
    bench.commit(bench.written.tail);
    bench.applied(Offset(33)).await;
}

#[tokio::test]
async fn what_comes_little_by_little_is_gathered_into_one_transaction_over_several_ticks() {
    let mut bench = Bench::new(Config {
        tick: Duration::from_millis(300),
        ..config()
    })
    .await;
    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(first);
    bench.workers.hurry(Stream::Messages);
    bench.applied(first.offset).await;

    let reads = bench.log.reads.load(Ordering::SeqCst);
    for seq in 2..=40 {
        bench.append(&[message("c", seq, "alice", seq, START)]);
        bench.commit(bench.written.tail);
        tokio::task::yield_now().await;
    }

    bench.applied(Offset(40)).await;
    assert_eq!(
        bench.log.reads.load(Ordering::SeqCst),
        reads + 1,
        "one round of the worker"
    );
}

// what must not happen: 3 and 6 (persistence never resumes; a batch that fails is lost)
#[tokio::test]
async fn what_the_log_or_the_file_refuses_is_tried_again_until_it_works() {
    let mut bench = Bench::new(config()).await;
    bench.log.failing.store(3, Ordering::SeqCst);
    bench.store.execute("PRAGMA max_page_count = 1").await;

    let mut records = vec![created("c", &["alice"], START)];
    records.extend((2..=250).map(|seq| message("c", seq, "alice", seq, START)));
    bench.append(&records);
    bench.commit(bench.written.tail);

    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.log.reads.load(Ordering::SeqCst) < 6 {
        assert!(Instant::now() < deadline, "tried again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(bench.store.progress().applied.messages, Tail::EMPTY);
    bench.store.execute("PRAGMA max_page_count = 1000000").await;
    bench.applied(Offset(250)).await;

    let head = bench
        .store
        .head(&conversation("c"))
        .await
        .expect("reads")
        .expect("there");
    assert_eq!(head.last_seq, Seq(250));
}

// what must not happen: 7 (one malformed record: never acked, the loop spins)
#[tokio::test]
async fn a_malformed_record_neither_stops_the_worker_nor_makes_it_spin() {
    let mut bench = Bench::new(config()).await;
    bench.append(&[
        created("c", &["alice"], START),
        Record::decode(bytes::Bytes::from_static(b"\xff")),
    ]);
    bench.append(&[message("c", 2, "alice", 1, START)]);
    bench.commit(bench.written.tail);
    bench.applied(Offset(3)).await;

    let reads = bench.log.reads.load(Ordering::SeqCst);
    bench.append(&[message("c", 3, "alice", 2, START)]);
    bench.commit(bench.written.tail);
    bench.applied(Offset(4)).await;

    assert!(
        bench.log.reads.load(Ordering::SeqCst) <= reads + 1,
        "one entry, one read"
    );
}

#[tokio::test]
async fn a_log_that_does_not_link_stops_its_stream_and_not_the_other() {
    let mut bench = Bench::new(config()).await;
    let mut other = Written::default();
    other.entry(&[created("d", &["bob"], START)]);
    other.entry(&[message("d", 2, "bob", 1, START)]);

    let first = bench.append(&[created("c", &["alice"], START)]);
    bench.commit(first);
    bench.applied(first.offset).await;
    bench.log.set(Stream::Messages, &other);
    bench.commit(other.tail);

    let mut receipts = Written::default();
    receipts.entry(&[Record::EpochStart {
        epoch: Epoch(1),
        node: "n".into(),
        ts: START,
    }]);

    bench.log.set(Stream::Receipts, &receipts);
    bench.committed.receipts.send_replace(receipts.tail);

    let mut applied = bench.workers.applied(Stream::Receipts);
    let reached = applied.wait_for(|tail| *tail == receipts.tail);
    assert!(
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .is_ok_and(|seen| seen.is_ok())
    );

    bench
        .workers
        .finish(Instant::now() + Duration::from_secs(20))
        .await;
    assert_eq!(
        bench.store.progress().applied.messages,
        first,
        "nothing of the other history is in the file"
    );
}

// what must not happen: 8 (no graceful shutdown of the workers)
#[tokio::test]
async fn finishing_applies_all_that_is_committed_and_makes_it_durable() {
    let mut bench = Bench::new(never_ticking()).await;
    let tail = bench.append(&[
        created("c", &["alice"], START),
        message("c", 2, "alice", 1, START),
    ]);
    bench.commit(tail);
    bench
        .workers
        .finish(Instant::now() + Duration::from_secs(20))
        .await;
    assert_eq!(bench.store.progress().applied.messages, tail);
    assert_eq!(bench.store.progress().durable.messages, tail);
}
