//! An owner under test: a shard, its token, what was sent and what was acknowledged.

use std::sync::Arc;

use crate::ids::{NodeId, ShardId};
use crate::log::conformance::{batch, claimed, identity, linked, read_all};
use crate::log::record::Tail;
use crate::log::redis::testing::{DEADLINE, log};
use crate::log::redis::{Config, RedisLog};
use crate::log::{
    AppendError, AppendOutcome, Batch, Claim, PerStream, RawEntry, ShardLog, Stream, Token,
};

pub(super) const M: Stream = Stream::Messages;

/// Holds one shard and appends to its messages.
pub(super) struct Owned {
    pub(super) log: Arc<RedisLog>,
    pub(super) config: Config,
    pub(super) shard: ShardId,
    pub(super) token: Token,
    pub(super) tail: Tail,
    pub(super) acknowledged: Vec<RawEntry>,
}

impl Owned {
    pub(super) async fn new(config: Config, shard: u16) -> Self {
        let (log, shard) = (log(&config), ShardId(shard));
        let token = claimed(&*log, shard).await;
        Self {
            log,
            config,
            shard,
            token,
            tail: Tail::EMPTY,
            acknowledged: Vec::new(),
        }
    }

    /// The batch that comes next.
    pub(super) fn next(&self) -> Batch {
        let text = format!("entry-{}", self.acknowledged.len());
        batch(self.shard, M, self.token, &self.tail, (2, &text))
    }

    pub(super) async fn send(&self, batch: &Batch) -> Result<AppendOutcome, AppendError> {
        let mut answers = self.log.append(std::slice::from_ref(batch)).await;
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    /// Notes a committed batch.
    pub(super) fn committed(&mut self, batch: &Batch) {
        self.tail = batch.tail;
        self.acknowledged.push(RawEntry {
            last: batch.tail.offset,
            bytes: batch.bytes.clone(),
        });
    }

    /// Sends the batch, as the lane would, until the answer is definite; how it was in doubt
    /// before.
    pub(super) async fn settle(&mut self, batch: &Batch) -> (AppendOutcome, Vec<AppendError>) {
        let (end, mut doubts) = (tokio::time::Instant::now() + DEADLINE, Vec::new());
        loop {
            match self.send(batch).await {
                Ok(outcome) => {
                    if matches!(
                        outcome,
                        AppendOutcome::Appended | AppendOutcome::AlreadyDone
                    ) {
                        self.committed(batch);
                    }
                    return (outcome, doubts);
                }
                Err(error) => doubts.push(error),
            }
            assert!(
                tokio::time::Instant::now() < end,
                "no definite answer: {doubts:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Appends the next batch, which must be committed in the end.
    pub(super) async fn append(&mut self) {
        let next = self.next();
        let (outcome, doubts) = self.settle(&next).await;
        let committed = matches!(
            outcome,
            AppendOutcome::Appended | AppendOutcome::AlreadyDone
        );
        assert!(committed, "{outcome:?} after {doubts:?}");
    }

    /// A claim of the shard by this node, one epoch higher.
    pub(super) fn claim(&self, expected: Option<(Token, u64)>) -> Claim {
        let (shard, token, owner) = (
            self.shard,
            Token::new(self.token.epoch.next()),
            NodeId::from("node-a"),
        );
        Claim {
            shard,
            expected,
            token,
            owner,
            identity: identity(),
            begin_at: PerStream::both(Tail::EMPTY),
            ends_at: None,
        }
    }

    /// The log holds exactly what was acknowledged, each once, linked; read by somebody without a
    /// memory.
    pub(super) async fn assert_whole(&self) {
        let fresh = log(&self.config);
        let entries = read_all(&*fresh, self.shard, M).await;
        assert_eq!(entries, self.acknowledged);
        assert_eq!(linked(&entries), self.tail);
        let control = fresh
            .control(self.shard)
            .await
            .unwrap()
            .expect("a control record");
        assert_eq!((control.token, control.tails[M]), (self.token, self.tail));
    }
}

pub(super) fn assert_doubt(result: &Result<AppendOutcome, AppendError>, word: &str) {
    assert!(
        matches!(result, Err(AppendError::InDoubt(reason) | AppendError::Unanswered(reason)) if reason.contains(word)),
        "{result:?}, not {word}"
    );
}

pub(super) fn assert_not_written(result: &Result<AppendOutcome, AppendError>, word: &str) {
    let refused = match result {
        Err(
            AppendError::NotWritten(reason)
            | AppendError::Full {
                reason,
                in_doubt: false,
            },
        ) => reason.contains(word),
        _ => false,
    };
    assert!(refused, "{result:?}, not {word}");
}

pub(super) fn assert_not_replicated(result: &Result<AppendOutcome, AppendError>) {
    assert!(
        matches!(result, Err(AppendError::NotReplicated(_))),
        "{result:?}"
    );
}
