//! A standby follows the log with a file of its own, and says when it cannot.

use super::faulty::begin;
use super::*;
use crate::ids::Epoch;
use crate::log::record::{Header, Record, seal};
use crate::log::{PerStream, RawEntry};
use crate::shard::Standby;
use crate::shard::replicas::Following;

mod following;
mod setbacks;

/// A standby that is told of the log's tails every few milliseconds.
pub(super) struct Follower {
    pub(super) standby: Standby,
    looks: JoinHandle<()>,
}

impl Follower {
    pub(super) fn over(standby: Standby, log: &Arc<FaultyLog>) -> Self {
        let (looking, log) = (standby.clone(), Arc::clone(log));
        let looks = tokio::spawn(async move {
            loop {
                if let Ok(Some(control)) = log.control(SHARD).await {
                    looking.saw(control.tails);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { standby, looks }
    }

    pub(super) fn stop_looking(&self) {
        self.looks.abort();
    }

    pub(super) async fn reaches(&self, tails: PerStream<Tail>) {
        in_time(async {
            while self.standby.status().applied != tails {
                assert_eq!(self.standby.status().following, Following::Live);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

impl Bench {
    pub(super) fn opening_of(&self, node: &str) -> Opening {
        let path = self.folder.path().join(format!("s3-{node}.db"));
        let lane = Lane::spawn(Arc::clone(&self.log) as Arc<dyn ShardLog>);
        Opening {
            node: NodeId::from(node),
            path,
            lane,
            ..self.opening()
        }
    }

    pub(super) async fn follower(&self, node: &str) -> Follower {
        Follower::over(
            Standby::open(self.opening_of(node)).await.expect("opens"),
            &self.log,
        )
    }

    pub(super) fn tails(&self) -> PerStream<Tail> {
        self.handle()
            .0
            .committed
            .each_ref()
            .map(|tail| *tail.borrow())
    }

    /// Some of everything, applied.
    pub(super) async fn fill(&self, from: u64, count: u64) {
        for number in from..from + count {
            let message = self.send("c", "alice", &format!("m{number}")).await;
            in_time(self.execute(mark_read(&message, "bob")))
                .await
                .expect("marks");
        }
        self.at_rest().await;
    }

    /// The log is one that has only these entries of the messages stream and of the receipts
    /// stream; owned by node-a under that epoch.
    pub(super) async fn put_log(
        &mut self,
        name: &str,
        epoch: u64,
        entries: PerStream<&[RawEntry]>,
    ) {
        let fallen = EmbeddedLog::open(&self.folder.path().join(name))
            .await
            .expect("opens");
        let bytes = |entries: &[RawEntry]| entries.iter().map(|of| of.bytes.clone()).collect();
        begin(&*fallen, epoch, entries.map(bytes)).await;
        self.log = FaultyLog::over(fallen);
        self.lane = Lane::spawn(Arc::clone(&self.log) as Arc<dyn ShardLog>);
    }

    /// Entries of both streams that the log has.
    pub(super) async fn raws(&self) -> PerStream<Vec<RawEntry>> {
        PerStream {
            messages: self.raw(M).await,
            receipts: self.raw(R).await,
        }
    }

    pub(super) async fn raw(&self, stream: Stream) -> Vec<RawEntry> {
        self.log
            .inner
            .read(SHARD, stream, Offset(0), usize::MAX)
            .await
            .expect("reads")
    }
}

pub(super) async fn talkative() -> Bench {
    let bench = Bench::new().await;
    bench.create("c", &["alice", "bob"]).await;
    bench.fill(0, 5).await;
    bench
}

/// An entry that nobody but a diverged owner wrote.
pub(super) fn stranger(after: Tail, records: usize) -> RawEntry {
    let record = |ts| {
        Record::EpochStart {
            epoch: Epoch(99),
            node: NodeId::from("stranger"),
            ts,
        }
        .encode()
    };
    let (bytes, tail) = seal(
        &after,
        Epoch(99),
        &(0..records as u64).map(record).collect::<Vec<_>>(),
    );

    RawEntry {
        last: tail.offset,
        bytes,
    }
}

async fn ended(follower: &Follower) -> Following {
    in_time(follower.standby.ended()).await
}
