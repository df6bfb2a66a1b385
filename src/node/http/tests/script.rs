//! Shards that answer from a script.

use std::collections::{BTreeSet, VecDeque};

use async_trait::async_trait;

use super::*;
use crate::cluster::map::ShardMap;
use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{ClusterId, ShardId};
use crate::log::Identity;
use crate::node::link::frame::SummaryLength;
use crate::node::owners::Summaries;
use crate::protocol::Presence;
use crate::shard::command::Command;

pub(super) type Read = Result<(Found, Freshness), ShardError>;

/// Shards that answer what was prepared, in order, and remember what they were asked.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) owns: bool,
    pub(super) reads: Mutex<VecDeque<Read>>,
    pub(super) writes: Mutex<VecDeque<Result<Done, ShardError>>>,
    pub(super) summaries: Mutex<Summaries>,
    pub(super) asked: Mutex<Vec<String>>,
    /// Whether every outbox says that it holds nothing.
    pub(super) clear: AtomicBool,
    /// Where reads wait, once closed.
    pub(super) gate: Semaphore,
}

impl Script {
    fn note(&self, what: String) {
        self.asked.lock().expect("a lock").push(what);
    }

    pub(super) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

fn problem_of(error: ShardError) -> Problem {
    match error {
        ShardError::Problem(problem) => problem,
        ShardError::NotOwner => Problem::unavailable("moved"),
    }
}

#[async_trait]
impl Shards for Script {
    fn map(&self) -> ShardMap {
        ShardMap::new(16).expect("a power of two")
    }

    fn table(&self) -> Arc<Table> {
        let addresses = |port| NodeAddresses {
            http: format!("127.0.0.1:{port}"),
            peer: "127.0.0.1:2".into(),
            ..NodeAddresses::default()
        };
        let nodes = BTreeMap::from([
            (NodeId::from("n1"), addresses(1)),
            (NodeId::from("n2"), addresses(2)),
        ]);
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 16,
        };

        Arc::new(Table {
            version: 7,
            identity,
            nodes,
            rows: vec![vec![NodeId::from("n2")]; 16],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        })
    }

    fn owns(&self, _shard: ShardId) -> bool {
        self.owns
    }

    async fn execute_here(
        &self,
        _shard: ShardId,
        command: Command,
        _deadline: Instant,
    ) -> Result<Done, ShardError> {
        if !self.owns {
            return Err(ShardError::NotOwner);
        }
        self.note(format!("{command:?}"));
        self.writes
            .lock()
            .expect("a lock")
            .pop_front()
            .expect("a prepared answer")
    }

    async fn query_here(&self, _shard: ShardId, query: Query, _deadline: Instant) -> Read {
        if !self.owns {
            return Err(ShardError::NotOwner);
        }
        self.note(format!("{query:?}"));
        drop(self.gate.acquire().await.expect("a gate"));
        self.reads
            .lock()
            .expect("a lock")
            .pop_front()
            .expect("a prepared answer")
    }

    fn tell_here(&self, _shard: ShardId, command: Command, _deadline: Instant) {
        self.note(format!("{command:?}"));
    }

    async fn execute_at_owner(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, Problem> {
        self.execute_here(shard, command, deadline)
            .await
            .map_err(problem_of)
    }

    async fn query_at_owner(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem> {
        self.query_here(shard, query, deadline)
            .await
            .map_err(problem_of)
    }

    async fn summaries(
        &self,
        _reader: &UserId,
        (names, length): (&[ConversationName], SummaryLength),
        _deadline: Instant,
    ) -> Summaries {
        self.note(format!("{length:?} summaries {names:?}"));
        let mut scripted = self.summaries.lock().expect("a lock");
        let count = names.len().min(scripted.0.len());
        (scripted.0.drain(..count).collect(), scripted.1)
    }

    async fn presence(
        &self,
        users: Vec<UserId>,
        _deadline: Instant,
    ) -> Result<Vec<Presence>, Problem> {
        self.note(format!("presence {users:?}"));
        Ok(users
            .into_iter()
            .map(|user| Presence {
                user,
                online: true,
                last_seen: None,
            })
            .collect())
    }

    async fn outboxes_clear(&self, to: ShardId, _deadline: Instant) -> bool {
        self.note(format!("outboxes to {to:?}"));
        self.clear.load(Ordering::SeqCst)
    }
}
