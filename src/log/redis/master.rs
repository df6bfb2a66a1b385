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

use crate::log::redis::CommitLevel;
use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::connection::timed_out;
use crate::log::redis::denied::Denials;
use crate::log::redis::observe::Eye;
use crate::log::redis::servers::Servers;
use crate::log::redis::slots::Address;

/// A replica acknowledges every second; one that has not for more seconds than this is not waited
/// for.
const LAG_MAX: i64 = 2;
/// Claims under way at one master; further ones wait for one to end.
const CLAIMS_MAX: usize = 16;
/// Connections of claims that are kept for the next ones.
const CLAIMS_IDLE_MAX: usize = 2;

#[derive(Debug)]
pub(super) struct Master {
    address: Address,
    denials: Arc<Denials>,
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
    pub(super) fn new(address: Address, denials: Arc<Denials>) -> Self {
        Self {
            address,
            denials,
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

    /// Waits until the lane is free, and connects it where needed.
    pub(super) async fn begin(&self, servers: &Servers) -> RedisResult<Cycle<'_>> {
        let mut lane = self.lane.lock().await;
        let connection = match lane.take() {
            Some(connection) => connection,
            None => servers.connect_lane(&self.address).await?,
        };
        Ok(Cycle {
            master: self,
            place: Place::Lane(lane),
            connection,
        })
    }

    /// Waits until there is room for one claim more, and connects where needed.
    pub(super) async fn begin_claim(&self, servers: &Servers) -> RedisResult<Cycle<'_>> {
        let room = self.claims.acquire().await.map_err(|_closed| timed_out())?;
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => servers.connect_lane(&self.address).await?,
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
        servers: &Servers,
        count: usize,
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; count];
        let answered = self.append_all(servers, &mut verdicts, command).await;
        let reason = answered.map_or_else(|error| error.to_string(), |()| "no answer".to_owned());
        verdicts
            .into_iter()
            .map(|verdict| verdict.unwrap_or_else(|| Verdict::unanswered(&reason)))
            .collect()
    }

    async fn append_all(
        &self,
        servers: &Servers,
        verdicts: &mut [Option<Verdict>],
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> RedisResult<()> {
        let mut cycle = self.begin(servers).await?;
        let all: Vec<usize> = (0..verdicts.len()).collect();
        cycle
            .append_some(servers, verdicts, &all, |at| command(at, false))
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
                .append_some(servers, verdicts, &again, |at| command(at, true))
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
        self.master.denials.note(&self.master.address, &answers);
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
        servers: &Servers,
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
        let replicated = servers.config().commit == CommitLevel::Replicated;
        match replicated {
            true if at_once => drop(pipeline.add_command(servers.wait_for(1))),
            true => drop(pipeline.add_command(servers.replicas())),
            false => {}
        }
        let mut answers = self.send(&pipeline).await?;
        let copies = match replicated {
            false => None,
            true if at_once => answers.pop(),
            // On this connection, which has just written: WAIT covers nothing else.
            true if answers.pop().as_ref().is_none_or(has_replica) => {
                let mut alone = Pipeline::new();
                alone.add_command(servers.wait_for(1));
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

/// Whether INFO tells of a replica that a WAIT may count on; what it does not tell may be so.
fn has_replica(info: &Value) -> bool {
    replicas(info).is_none_or(|replicas| replicas > 0)
}

/// How many replicas INFO tells of that a WAIT may count on: online, and heard of lately. `None`
/// when it tells nothing, or not of a master.
pub(super) fn replicas(info: &Value) -> Option<usize> {
    let text = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => return None,
    };
    let told = |line: &str| line.starts_with("connected_slaves:");
    let is_online = |line: &&str| {
        let fields = line
            .strip_prefix("slave")
            .and_then(|rest| rest.split_once(':'))
            .map_or("", |(_, fields)| fields);
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let lag = field("lag").and_then(|lag| lag.parse::<i64>().ok());
        field("state") == Some("online") && lag.is_none_or(|lag| (0..=LAG_MAX).contains(&lag))
    };
    let of_master = !text
        .lines()
        .any(|line| line.starts_with("role:") && line != "role:master");
    (of_master && text.lines().any(told)).then(|| text.lines().filter(is_online).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> bool {
        has_replica(&Value::BulkString(text.as_bytes().to_vec()))
    }

    #[test]
    fn only_a_replica_that_is_online_and_answers_is_waited_for() {
        let with = |fields: &str| {
            format!(
                "# Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=1,{fields}\r\n"
            )
        };
        assert!(told(&with("state=online,offset=14,lag=0")));
        assert!(told(&with("state=online,offset=14,lag=2")));
        assert!(
            !told(&with("state=online,offset=14,lag=3")),
            "it may be paused"
        );
        assert!(
            !told(&with("state=online,offset=0,lag=-1")),
            "it has never answered"
        );
        assert!(!told(&with("state=wait_bgsave,offset=0,lag=0")));
        assert!(!told(
            "role:master\r\nconnected_slaves:0\r\nmaster_replid:x\r\n"
        ));
    }

    #[test]
    fn what_is_not_told_is_waited_for() {
        assert!(told("role:master\r\n"));
        assert!(has_replica(&Value::Nil));
    }

    #[test]
    fn the_replicas_that_answer_are_counted_and_a_replica_has_none_to_count() {
        let one = "ip=127.0.0.1,port=1,state=online,offset=14";
        let text = format!(
            "role:master\r\nconnected_slaves:3\r\nslave0:{one},lag=0\r\nslave1:{one},lag=9\r\nslave2:{one},lag=1\r\n"
        );
        let told = |info: &str| replicas(&Value::BulkString(info.as_bytes().to_vec()));
        assert_eq!(told(&text), Some(2));
        assert_eq!(told("role:master\r\nconnected_slaves:0\r\n"), Some(0));
        assert_eq!(told("role:slave\r\nconnected_slaves:0\r\n"), None);
        assert_eq!(told("role:master\r\n"), None);
    }
}
