//! What gathers into which entry, who waits for it, and what a refusal takes back.

use crate::ids::Offset;
use crate::log::record::ENTRY_BYTES_MAX;
use crate::shard::write::append::Ended;
use crate::shard::write::append::tests::Bench;

#[tokio::test]
async fn records_are_numbered_from_the_tail_on_and_gather_while_a_batch_is_away() {
    let mut bench = Bench::new();
    assert_eq!([bench.decide(1), bench.decide(1)], [Offset(1), Offset(2)]);

    bench.appender.pump(&bench.lane);
    assert!(bench.appender.is_away());
    assert_eq!(
        (bench.decide(1), bench.appender.last()),
        (Offset(3), Offset(3))
    );

    bench.appender.pump(&bench.lane);
    assert_eq!(bench.appender.committed().offset, Offset(0));

    let end = bench.appender.end().await;
    let Ended::Committed(committed) = bench.appender.ended(end) else {
        panic!("refused")
    };

    assert_eq!(
        committed
            .iter()
            .map(|decided| decided.offset.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(bench.appender.committed().offset, Offset(2));
    assert_eq!(
        bench
            .drained()
            .await
            .iter()
            .map(|(records, _)| *records)
            .collect::<Vec<_>>(),
        [2, 1]
    );
}

#[tokio::test]
async fn an_entry_holds_at_most_256_records() {
    let mut bench = Bench::new();
    for _ in 0..600 {
        bench.decide(1);
    }
    assert_eq!(
        bench
            .drained()
            .await
            .iter()
            .map(|(records, _)| *records)
            .collect::<Vec<_>>(),
        [256, 256, 88]
    );
}

#[tokio::test]
async fn an_entry_holds_at_most_one_mebibyte_however_the_records_fall() {
    let mut bench = Bench::new();
    for record in 0..40 {
        bench.decide(60_000 + record * 1_000);
    }
    let entries = bench.drained().await;
    assert_eq!(
        entries.iter().map(|(records, _)| *records).sum::<usize>(),
        40
    );
    assert!(
        entries.iter().all(|(_, bytes)| *bytes <= ENTRY_BYTES_MAX),
        "{entries:?}"
    );
    assert!(entries.len() <= 5, "and they are well filled: {entries:?}");
}

#[tokio::test]
async fn what_is_surely_not_written_is_taken_back_and_its_offsets_are_used_again() {
    let mut bench = Bench::new();
    bench.decide(1);
    assert!(matches!(bench.round().await, Ended::Committed(_)));
    *bench.log.refuses.lock().expect("whole") = true;

    bench.decide(1);
    bench.appender.pump(&bench.lane);
    assert_eq!(bench.decide(1), Offset(3));

    let end = bench.appender.end().await;
    assert!(matches!(bench.appender.ended(end), Ended::NotWritten(_)));
    assert!(bench.appender.is_idle());
    assert_eq!(
        (bench.appender.last(), bench.appender.committed().offset),
        (Offset(1), Offset(1))
    );
    *bench.log.refuses.lock().expect("whole") = false;
    assert_eq!(bench.decide(1), Offset(2));
    assert_eq!(bench.drained().await.len(), 2, "and they link");
}

#[tokio::test]
async fn waiters_come_back_in_the_order_of_their_offsets_and_then_of_their_asking() {
    let mut bench = Bench::new();
    let (first, second) = (bench.decide(1), bench.decide(1));
    bench.appender.wait(second, "third");
    bench.appender.wait(first, "first");
    bench.appender.wait(second, "fourth");
    bench.appender.wait(first, "second");
    bench.appender.wait(second, "gave up");
    bench.appender.retain_waiting(|waiter| *waiter != "gave up");
    assert_eq!(bench.appender.ready(), None, "nothing is committed");
    assert!(matches!(bench.round().await, Ended::Committed(_)));

    bench.decide(1);
    bench.appender.wait(Offset(3), "later");

    let ready: Vec<_> = std::iter::from_fn(|| bench.appender.ready()).collect();
    assert_eq!(ready, ["first", "second", "third", "fourth"]);
    assert_eq!(
        bench.appender.take_waiting().collect::<Vec<_>>(),
        [(Offset(3), "later")]
    );
}

#[tokio::test]
async fn untrimmed_bytes_grow_with_commits_and_fall_with_trims() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.decide(1_000);
        bench.round().await;
    }
    let all = bench.appender.untrimmed_bytes();
    assert!(all > 3_000);
    bench.appender.trimmed(Offset(2));
    assert_eq!(bench.appender.untrimmed_bytes(), all / 3);
    bench.appender.trimmed(Offset(3));
    assert_eq!(bench.appender.untrimmed_bytes(), 0);
}

#[tokio::test]
async fn an_appender_says_when_too_much_gathers() {
    let mut bench = Bench::new();
    bench.decide(1);
    bench.appender.pump(&bench.lane);
    for _ in 0..16 {
        assert!(!bench.appender.is_full());
        bench.decide(1024 * 1024);
    }
    assert!(bench.appender.is_full());
    bench.drained().await;
    assert!(!bench.appender.is_full());
}
