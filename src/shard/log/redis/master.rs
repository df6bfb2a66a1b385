//! The connections to one master. Its lane: a connection with nothing but appends and claims on it, one pipeline at a time.
//!
//! A connection that failed, timed out or was given up half-way is dropped, never used again: a late answer must not be
//! taken for the next one's. What it had sent may still be run; see the interleavings of `docs/adr/0012-redis-log.md`.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::{Mutex, MutexGuard};

use crate::shard::log::redis::answer::{Sign, Verdict};
use crate::shard::log::redis::servers::Servers;
use crate::shard::log::redis::slots::Address;

#[derive(Debug)]
pub(super) struct Master {
    address: Address,
    lane: Mutex<Option<MultiplexedConnection>>,
    watch: Mutex<Option<MultiplexedConnection>>,
}

/// The lane while one cycle, or one claim, has it.
pub(super) struct Cycle<'a> {
    lane: MutexGuard<'a, Option<MultiplexedConnection>>,
    connection: MultiplexedConnection,
}

impl Master {
    pub(super) fn new(address: Address) -> Self {
        Self { address, lane: Mutex::default(), watch: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Its connection for looks at control records, for one of them at a time.
    pub(super) async fn watch(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.watch.lock().await
    }

    /// Waits until the lane is free, and connects it where needed.
    pub(super) async fn begin(&self, servers: &Servers) -> RedisResult<Cycle<'_>> {
        let mut lane = self.lane.lock().await;
        let connection = match lane.take() {
            Some(connection) => connection,
            None => servers.connect_lane(&self.address).await?,
        };
        Ok(Cycle { lane, connection })
    }

    /// Sends appends, each by `command(its place, by text)`, as one pipeline with WAIT last, and those whose script was
    /// missing a second time. A verdict for each, at the commit level; the connection is kept only if all was answered.
    pub(super) async fn append(
        &self,
        servers: &Servers,
        count: usize,
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; count];
        let answered = self.append_all(servers, &mut verdicts, command).await;
        let reason = answered.map_or_else(|error| error.to_string(), |()| "no answer".to_owned());
        verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| Verdict::unanswered(&reason))).collect()
    }

    async fn append_all(
        &self,
        servers: &Servers,
        verdicts: &mut [Option<Verdict>],
        command: impl Fn(usize, bool) -> Vec<Cmd>,
    ) -> RedisResult<()> {
        let mut cycle = self.begin(servers).await?;
        let all: Vec<usize> = (0..verdicts.len()).collect();
        cycle.append_some(servers, verdicts, &all, |at| command(at, false)).await?;
        let unknown = |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(|known| known.sign == Sign::NoScript);
        let again: Vec<usize> = all.into_iter().filter(|&at| verdicts.get(at).is_some_and(unknown)).collect();
        if !again.is_empty() {
            // A failure of this second attempt must not stand as the sure "no" of the first.
            for &at in &again {
                if let Some(verdict) = verdicts.get_mut(at) {
                    *verdict = None;
                }
            }
            cycle.append_some(servers, verdicts, &again, |at| command(at, true)).await?;
        }
        cycle.end();
        Ok(())
    }
}

impl Cycle<'_> {
    /// One pipeline; an answer for each command, errors of the server among them.
    pub(super) async fn send(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let answers = self.connection.send_packed_commands(pipeline, 0, pipeline.len()).await?;
        if answers.len() == pipeline.len() {
            Ok(answers)
        } else {
            Err((redis::ErrorKind::UnexpectedReturnType, "another number of answers than of commands").into())
        }
    }

    /// Everything was answered: the next one may use the connection.
    pub(super) fn end(mut self) {
        *self.lane = Some(self.connection);
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
        let wait = servers.wait();
        if let Some(wait) = &wait {
            pipeline.add_command(wait.clone());
        }
        let answers = self.send(&pipeline).await?;
        let copies = wait.and_then(|_| answers.last());
        for (place, answer) in at {
            if let (Some(verdict), Some(answer)) = (verdicts.get_mut(place), answers.get(answer)) {
                *verdict = Some(Verdict::of(answer).after_wait(copies));
            }
        }
        Ok(())
    }
}
