//! The connections to one master. Its lane: a connection with nothing but appends on it, one
//! pipeline at a time. Claims, which may wait long for replicas, have connections beside it, a few
//! at once.
//!
//! A connection that failed, timed out or was given up half-way is dropped, never used again: a
//! late answer must not be taken for the next one's. What it had sent may still be run; see the
//! interleavings of `docs/adr/0012-redis-log.md`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::connection::timed_out;
use crate::log::redis::copies;
use crate::log::redis::eye::Eye;
use crate::log::redis::links::Links;
use crate::log::redis::slots::Address;
use crate::log::redis::{CommitLevel, Config};

/// Claims under way at one master; further ones wait for one to end.
const CLAIMS_MAX: usize = 16;
/// Connections of claims that are kept for the next ones.
const CLAIMS_IDLE_MAX: usize = 2;

/// One master, and the connections that appends, claims and looks have to it for themselves.
pub(super) struct Master {
    address: Address,
    config: Arc<Config>,
    links: Arc<Links>,
    /// Its last WAIT was satisfied. Else replicas are looked for before one is sent: without any,
    /// each cycle would take as long as a WAIT.
    copies: AtomicBool,
    lane: Mutex<Option<MultiplexedConnection>>,
    claims: Semaphore,
    idle: std::sync::Mutex<Vec<MultiplexedConnection>>,
    eye: Mutex<Eye>,
}

/// A connection while one cycle, or one claim, has it.
pub(super) struct Cycle<'a> {
    master: &'a Master,
    place: Place<'a>,
    connection: MultiplexedConnection,
}

/// Where it belongs.
enum Place<'a> {
    Lane(MutexGuard<'a, Option<MultiplexedConnection>>),
    Claims(SemaphorePermit<'a>),
}

impl Master {
    pub(super) fn new(address: Address, config: Arc<Config>, links: Arc<Links>) -> Self {
        Self {
            address,
            config,
            links,
            copies: AtomicBool::new(false),
            lane: Mutex::default(),
            claims: Semaphore::new(CLAIMS_MAX),
            idle: std::sync::Mutex::default(),
            eye: Mutex::default(),
        }
    }

    /// Its connection for looks at control records, for one of them at a time.
    pub(super) async fn eye(&self) -> MutexGuard<'_, Eye> {
        self.eye.lock().await
    }

    /// A connection of its own, for its lane or for claims.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let response = match self.config.commit {
            CommitLevel::Log => self.config.timeout,
            CommitLevel::Replicated => self.config.timeout + self.config.replica_wait,
        };
        self.links.own(&self.address, "lane", response)?.await
    }

    /// Waits until the lane is free, and connects it where needed.
    async fn begin(&self) -> RedisResult<Cycle<'_>> {
        let mut lane = self.lane.lock().await;
        let connection = match lane.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Cycle {
            master: self,
            place: Place::Lane(lane),
            connection,
        })
    }

    /// Waits until there is room for one claim more, and connects where needed.
    pub(super) async fn begin_claim(&self) -> RedisResult<Cycle<'_>> {
        let room = self.claims.acquire().await.map_err(|_closed| timed_out())?;
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Cycle {
            master: self,
            place: Place::Claims(room),
            connection,
        })
    }

    /// Sends appends, each by `command(its place, by text)`, as one pipeline with WAIT last, and
    /// those whose script was missing a second time. A verdict for each, at the commit level; the
    /// connection is kept only if all was answered.
    pub(super) async fn append(
        &self,
        count: usize,
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; count];
        let answered = self.append_all(&mut verdicts, command).await;
        let reason = answered.map_or_else(|error| error.to_string(), |()| "no answer".to_owned());
        verdicts
            .into_iter()
            .map(|verdict| verdict.unwrap_or_else(|| Verdict::unanswered(&reason)))
            .collect()
    }

    async fn append_all(
        &self,
        verdicts: &mut [Option<Verdict>],
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> RedisResult<()> {
        let mut cycle = self.begin().await?;
        let all: Vec<usize> = (0..verdicts.len()).collect();
        cycle
            .append_some(verdicts, &all, |at| command(at, false))
            .await?;
        let unknown = |verdict: &Option<Verdict>| {
            verdict
                .as_ref()
                .is_some_and(|known| known.sign == Sign::NoScript)
        };

        let again: Vec<usize> = all
            .into_iter()
            .filter(|&at| verdicts.get(at).is_some_and(unknown))
            .collect();
        if !again.is_empty() {
            // A failure of this second attempt must not stand as the sure "no" of the first.
            for &at in &again {
                if let Some(verdict) = verdicts.get_mut(at) {
                    *verdict = None;
                }
            }
            cycle
                .append_some(verdicts, &again, |at| command(at, true))
                .await?;
        }
        cycle.end();
        Ok(())
    }
}

impl Cycle<'_> {
    /// One pipeline; an answer for each command, errors of the server among them.
    pub(super) async fn send(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let answers = self
            .connection
            .send_packed_commands(pipeline, 0, pipeline.len())
            .await?;
        let master = self.master;
        master.links.denials().note(&master.address, &answers);
        if answers.len() == pipeline.len() {
            Ok(answers)
        } else {
            Err((
                redis::ErrorKind::UnexpectedReturnType,
                "another number of answers than of commands",
            )
                .into())
        }
    }

    /// Everything was answered: the next one may use the connection.
    pub(super) fn end(self) {
        match self.place {
            Place::Lane(mut lane) => *lane = Some(self.connection),
            Place::Claims(_room) => {
                let mut idle = self
                    .master
                    .idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if idle.len() < CLAIMS_IDLE_MAX {
                    idle.push(self.connection);
                }
            }
        }
    }

    async fn append_some(
        &mut self,
        verdicts: &mut [Option<Verdict>],
        places: &[usize],
        command: impl Fn(usize) -> Vec<Cmd>,
    ) -> RedisResult<()> {
        let mut pipeline = Pipeline::new();
        // The last command of each batch is the one whose answer counts.
        let mut at = Vec::with_capacity(places.len());
        for &place in places {
            for each in command(place) {
                pipeline.add_command(each);
            }
            at.push((place, pipeline.len() - 1));
        }

        let at_once = self.master.copies.load(Ordering::Relaxed);
        let replicated = self.master.config.commit == CommitLevel::Replicated;
        match replicated {
            true if at_once => drop(pipeline.add_command(copies::wait_for(&self.master.config, 1))),
            true => drop(pipeline.add_command(copies::question())),
            false => {}
        }

        let mut answers = self.send(&pipeline).await?;
        let copies = match replicated {
            false => None,
            true if at_once => answers.pop(),
            // On this connection, which has just written: WAIT covers nothing else.
            true if answers.pop().as_ref().is_none_or(copies::has_replica) => {
                let mut alone = Pipeline::new();
                alone.add_command(copies::wait_for(&self.master.config, 1));
                self.send(&alone).await?.pop()
            }
            true => Some(Value::Int(0)),
        };
        if let Some(copies) = &copies {
            self.master
                .copies
                .store(matches!(copies, Value::Int(1..)), Ordering::Relaxed);
        }

        for (place, answer) in at {
            if let (Some(verdict), Some(answer)) = (verdicts.get_mut(place), answers.get(answer)) {
                *verdict = Some(Verdict::of(answer).after_wait(copies.as_ref()));
            }
        }
        Ok(())
    }
}
