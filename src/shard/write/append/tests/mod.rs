//! What an append side makes of records, and of a log that takes, refuses or loses them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::log::double::Double;
use crate::log::lane::Lane;
use crate::log::record::{Entry, Record, Tail};
use crate::log::{AppendError, AppendOutcome, Batch, ShardLog, Stream, Token};
use crate::shard::write::append::{Appender, Ended};

mod entries;

mod restoring;

/// Takes what comes, or refuses it.
#[derive(Debug, Default)]
struct Sink {
    taken: Mutex<Vec<Batch>>,
    refuses: Mutex<bool>,
}

#[async_trait]
impl Double for Sink {
    async fn append(&self, cycle: &[Batch]) -> Vec<Result<AppendOutcome, AppendError>> {
        let mut taken = self.taken.lock().expect("whole");
        let found = taken.last().map_or(Tail::EMPTY, |batch| batch.tail);
        if cycle.iter().any(|batch| batch.expected != found) {
            return vec![Ok(AppendOutcome::TailMismatch { found }); cycle.len()];
        }
        if *self.refuses.lock().expect("whole") {
            return vec![Err(AppendError::NotWritten("full".to_owned())); cycle.len()];
        }
        taken.extend_from_slice(cycle);
        vec![Ok(AppendOutcome::Appended); cycle.len()]
    }
}

struct Bench {
    log: Arc<Sink>,
    lane: Lane,
    appender: Appender<&'static str>,
}

impl Bench {
    fn new() -> Self {
        let log = Arc::<Sink>::default();
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        let token = Token::new(Epoch(1));
        Self {
            log,
            lane,
            appender: Appender::new(ShardId(1), Stream::Messages, token, Tail::EMPTY),
        }
    }

    fn decide(&mut self, bytes: usize) -> Offset {
        let node = NodeId::from("n".repeat(bytes).as_str());
        self.appender.decide(
            Record::EpochStart {
                epoch: Epoch(1),
                node,
                ts: 1,
            },
            Vec::new(),
        )
    }

    async fn round(&mut self) -> Ended {
        self.appender.pump(&self.lane);
        let end = self.appender.end().await;
        self.appender.ended(end)
    }

    /// Seals and commits until nothing is left: records and bytes of each entry.
    async fn drained(&mut self) -> Vec<(usize, usize)> {
        while !self.appender.is_idle() {
            assert!(matches!(self.round().await, Ended::Committed(_)));
        }
        let mut before = Tail::EMPTY;
        let taken = self.log.taken.lock().expect("whole").clone();
        let entries = taken.iter().map(|batch| {
            assert_eq!(batch.expected, before);
            let entry = Entry::decode_after(&before, &batch.bytes).expect("links");
            before = batch.tail;
            (entry.records.len(), batch.bytes.len())
        });
        entries.collect()
    }
}
