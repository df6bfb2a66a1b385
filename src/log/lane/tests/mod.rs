//! What a lane makes of a log that answers by a script.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::ids::{Epoch, Offset, ShardId};
use crate::log::double::Double;
use crate::log::lane::job::Definite;
use crate::log::lane::places::PLACES_MAX;
use crate::log::lane::standing::{Standing, Standings};
use crate::log::lane::way::Lane;
use crate::log::lane::witness::Witnesses;
use crate::log::lease::Lease;
use crate::log::record::Tail;
use crate::log::{AppendError, AppendOutcome, Batch, ShardLog, Stream, Token};

mod doubt;
mod held;
mod places;
mod standing;
mod witnesses;

type Answer = Result<AppendOutcome, AppendError>;

/// Answers by a script per shard, then "appended"; remembers every cycle.
#[derive(Debug, Default)]
struct Scripted {
    script: Mutex<HashMap<ShardId, VecDeque<Answer>>>,
    cycles: Mutex<Vec<Vec<Batch>>>,
    places: bool,
    /// Shards that have moved to the place of this one.
    moved: Mutex<HashMap<ShardId, ShardId>>,
}

impl Scripted {
    fn lane(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
        let script = script
            .into_iter()
            .map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
        let log = Arc::new(Self {
            script: Mutex::new(script.collect()),
            ..Self::default()
        });
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        (log, lane)
    }

    /// As [`Scripted::lane`], with as many places as there are shards; appends of shard 9 never
    /// end.
    fn lane_of_places(script: impl IntoIterator<Item = (u16, Vec<Answer>)>) -> (Arc<Self>, Lane) {
        let script = script
            .into_iter()
            .map(|(shard, answers)| (ShardId(shard), VecDeque::from(answers)));
        let log = Self {
            script: Mutex::new(script.collect()),
            places: true,
            ..Self::default()
        };
        let log = Arc::new(log);
        let lane = Lane::spawn(Arc::clone(&log) as Arc<dyn ShardLog>);
        (log, lane)
    }

    /// Every attempt for a shard.
    fn attempts(&self, shard: u16) -> Vec<Batch> {
        let cycles = self.cycles.lock().expect("whole");
        cycles
            .iter()
            .flatten()
            .filter(|batch| batch.shard == ShardId(shard))
            .cloned()
            .collect()
    }
}

#[async_trait]
impl Double for Scripted {
    fn place(&self, shard: ShardId) -> u64 {
        let shard = self
            .moved
            .lock()
            .expect("whole")
            .get(&shard)
            .copied()
            .unwrap_or(shard);
        if self.places { u64::from(shard.0) } else { 0 }
    }

    async fn append(&self, cycle: &[Batch]) -> Vec<Answer> {
        self.cycles.lock().expect("whole").push(cycle.to_vec());
        if self.places && cycle.iter().any(|batch| batch.shard == ShardId(9)) {
            std::future::pending::<()>().await;
        }
        let mut script = self.script.lock().expect("whole");
        let next = |batch: &Batch| script.get_mut(&batch.shard).and_then(VecDeque::pop_front);
        cycle
            .iter()
            .map(next)
            .map(|answer| answer.unwrap_or(Ok(AppendOutcome::Appended)))
            .collect()
    }
}

fn token(nonce: u64) -> Token {
    Token {
        epoch: Epoch(1),
        nonce,
    }
}

fn batch(shard: u16) -> Batch {
    let tail = Tail {
        offset: Offset(1),
        ..Tail::EMPTY
    };
    let (shard, stream, expected) = (ShardId(shard), Stream::Messages, Tail::EMPTY);
    Batch {
        shard,
        stream,
        token: token(1),
        expected,
        tail,
        bytes: Bytes::from_static(b"entry"),
    }
}

fn doubt() -> Answer {
    Err(AppendError::InDoubt("split".to_owned()))
}

fn unanswered() -> Answer {
    Err(AppendError::Unanswered("time-out".to_owned()))
}

fn not_written() -> Answer {
    Err(AppendError::NotWritten("full".to_owned()))
}

async fn until(standings: &mut Standings, holds: impl Fn(Standing) -> bool) {
    while !holds(standings.now()) {
        standings.changed().await.expect("a lane");
    }
}

fn short() -> Answer {
    Err(AppendError::NotReplicated("no copy".to_owned()))
}
