//! A log that lost its shards, and a file from which they are made anew.

use super::faulty::begin;
use super::*;
use crate::ids::Epoch;
use crate::log::PerStream;
use crate::log::record::Header;
use crate::shard::OpenError;

impl Bench {
    /// The log is gone; an empty one stands in its place.
    async fn lose_log(&mut self, name: &str) {
        self.handle().close(soon()).await;
        self.pump.abort();
        let empty = EmbeddedLog::open(&self.folder.path().join(name))
            .await
            .expect("opens");
        self.log = FaultyLog::over(empty);
        self.lane = Lane::spawn(Arc::clone(&self.log) as Arc<dyn ShardLog>);
    }

    async fn refusal(&self) -> String {
        match in_time(crate::shard::open(self.opening()))
            .await
            .expect_err("not opened")
        {
            OpenError::Refused(line) => line,
            other => panic!("{other:?}"),
        }
    }

    async fn entries(&self, stream: Stream) -> Vec<bytes::Bytes> {
        let entries = self
            .log
            .inner
            .read(SHARD, stream, Offset(0), usize::MAX)
            .await
            .expect("reads");
        entries.into_iter().map(|entry| entry.bytes).collect()
    }
}

/// A bench with messages, a read mark and a reaction, all applied; and what its log has.
async fn filled(config: Config) -> (Bench, PerStream<Vec<bytes::Bytes>>) {
    let bench = Bench::with(config).await;
    bench.create("c", &["alice", "bob"]).await;

    for number in 0..5 {
        let message = bench.send("c", "alice", &format!("m{number}")).await;
        bench.at_rest().await;
        let mark = MarkRead {
            message_id: message.core.id,
            user: user("bob"),
            origin: None,
        };
        in_time(bench.execute(Command::MarkRead(mark)))
            .await
            .expect("marks");
        bench.applied().await;
    }

    let had = PerStream {
        messages: bench.entries(M).await,
        receipts: bench.entries(R).await,
    };

    assert!(
        had.each_ref().all(|entries| entries.len() > 1),
        "several entries each"
    );

    (bench, had)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_is_refused_until_it_is_made_anew_from_the_file_entry_by_entry() {
    let (mut bench, had) = filled(config()).await;
    bench.lose_log("empty.db").await;

    let line = bench.refusal().await;
    assert!(
        line.contains("knows nothing of this shard") && line.contains("--adopt-local"),
        "{line}"
    );
    assert_eq!(
        bench.log.inner.control(SHARD).await.expect("reads"),
        None,
        "nothing was written"
    );

    bench.config.adopt_local = true;
    bench.reopen().await;

    for (stream, had) in had.iter() {
        let has = bench.entries(stream).await;
        assert_eq!(&has[..had.len()], had.as_slice(), "byte for byte");
        let epochs: Vec<Epoch> = has
            .iter()
            .map(|entry| Header::read(entry).expect("an entry").epoch)
            .collect();
        assert!(
            epochs.is_sorted() && epochs[0] == Epoch(1) && epochs.last() == Some(&Epoch(2)),
            "{epochs:?}"
        );
    }

    assert_eq!(
        bench.texts("c", "bob").await,
        ["m0", "m1", "m2", "m3", "m4"]
    );
    assert_eq!(bench.send("c", "alice", "m5").await.core.seq, Seq(7));

    bench.config.adopt_local = false;
    bench.restart().await;
    assert_eq!(bench.texts("c", "bob").await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_file_no_longer_has_as_entries_stays_before_the_beginning() {
    // None of the entries stay, or the newest few of them.
    for bytes_max in [0, 1_000] {
        let mut few = config();
        few.store.raw_bytes_max = bytes_max;
        let mut bench = Bench::with(few).await;
        bench.create("c", &["alice"]).await;
        let store = bench.handle().0.store.clone();
        let oldest = || async {
            store
                .kept_entries(M, Offset(0), 1)
                .await
                .expect("reads")
                .first()
                .map(|kept| kept.last)
        };
        in_time(async {
            while oldest().await.is_some_and(|last| last <= Offset(3)) {
                bench.send("c", "alice", "one of many").await;
                bench.at_rest().await;
                store.checkpoint().await.expect("checkpoints");
            }
        })
        .await;
        let before = bench.texts("c", "alice").await;
        bench.lose_log(&format!("empty-{bytes_max}.db")).await;
        bench.config.adopt_local = true;
        bench.reopen().await;
        let kept = bench.entries(M).await;
        let first = Header::read(&kept[0]).expect("an entry").first;
        // The first of all is the new epoch's, or one that was there before.
        assert_eq!(
            (first > Offset(3), kept.len() > 1),
            (true, bytes_max > 0),
            "from {first}, {} entries",
            kept.len()
        );
        assert_eq!(bench.texts("c", "alice").await, before);
        bench.send("c", "alice", "after").await;
        bench.restart().await;
        assert_eq!(bench.texts("c", "alice").await.len(), before.len() + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption_that_was_broken_off_is_taken_up_again() {
    let (mut bench, had) = filled(config()).await;
    bench.lose_log("half.db").await;
    // The claim, and one entry: then the process died.
    let entries = PerStream {
        messages: had.messages[..1].to_vec(),
        receipts: Vec::new(),
    };
    begin(&*bench.log.inner, 7, entries).await;
    // From then on it is like any log that fell back.
    bench.reopen().await;
    assert_eq!(bench.entries(M).await[..had.messages.len()], had.messages);
    assert_eq!(bench.texts("c", "bob").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_another_history_is_not_written_over() {
    let (mut bench, had) = filled(config()).await;
    let (other, others) = filled(config()).await;
    drop(other);

    // Message ids are random, so these are not ours.
    let others = &others.messages[..others.messages.len() - 1];
    assert_ne!(others.last(), had.messages.get(others.len() - 1));

    bench.lose_log("other.db").await;
    let entries = PerStream {
        messages: others.to_vec(),
        receipts: Vec::new(),
    };
    begin(&*bench.log.inner, 7, entries).await;
    bench.config.adopt_local = true;

    let error = in_time(crate::shard::open(bench.opening()))
        .await
        .expect_err("not opened");
    assert!(
        matches!(error, OpenError::Diverged(_)) && error.to_string().contains("does not link"),
        "{error:?}"
    );
    assert_eq!(bench.entries(M).await, others);
}
