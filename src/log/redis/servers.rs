//! The servers of one deployment: which of them a command goes to, over a connection that
//! everything shares which may be repeated (`Links`), and what becomes of it when it is sent
//! elsewhere or not answered. Appends and claims have connections of their own (`Master`).
//!
//! The library's client of a cluster is not used: it can hang within, for all servers at once, and
//! then nothing answers until the process ends; see `docs/adr/0012-redis-log.md`. A call ends
//! within [`Config::timeout`], after a few attempts.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, ServerErrorKind, Value};

use crate::backoff::Backoff;
use crate::ids::ShardId;
use crate::log::LogError;
use crate::log::redis::Config;
use crate::log::redis::answer::{Sign, Verdict};
use crate::log::redis::connection::timed_out;
use crate::log::redis::denied::Denials;
use crate::log::redis::failure::log_error;
use crate::log::redis::keys::{self, Keys};
use crate::log::redis::links::Links;
use crate::log::redis::master::Master;
use crate::log::redis::slots::{Address, Slots};
use crate::telemetry::LOG_REDIS_COMMANDS;

/// How often one call is sent at most: repeated when nothing answered or nobody serves the slot
/// just now, or sent on to where its keys are.
const ATTEMPTS_MAX: u32 = 5;
/// Pauses between repetitions; doubled from the first.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(250));

/// A script, loaded where it is missing.
#[derive(Debug)]
pub struct Lua {
    /// Its text.
    pub text: &'static str,
}

/// The servers of one deployment; see the head of this file.
pub struct Servers {
    config: Arc<Config>,
    links: Arc<Links>,
    slots: Arc<Slots>,
    /// Each read of the slots begins with another server: one that is mistaken is not asked for
    /// ever.
    turn: AtomicUsize,
    /// One for each master that was written to; those that are no master any more go when the slots
    /// are read.
    masters: Mutex<HashMap<Address, Arc<Master>>>,
    hashes: Mutex<HashMap<&'static str, Arc<str>>>,
    /// The keys of every shard asked for so far.
    keys: RwLock<HashMap<ShardId, Arc<Keys>>>,
}

/// What a call does after an attempt that was no success.
enum Next {
    /// Goes there, and says that the keys are there before their slot is.
    Asking(Address),
    /// Goes to the slot's master, which may be another one now.
    AtOnce,
    /// Likewise, after the slots were read and a pause.
    Later,
    /// Is given up.
    Never,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("Servers")
            .field("cluster", &self.config.cluster)
            .finish_non_exhaustive()
    }
}

impl Servers {
    /// Takes the settings; connects at the first call, and again after each loss.
    ///
    /// # Errors
    /// One clear line: no URL, or one that is none, or several that are no Redis Cluster.
    pub fn new(config: Config) -> Result<Arc<Self>, String> {
        let links = Links::new(&config)?;
        let slots = if config.cluster {
            let host = links
                .host()
                .ok_or("a Redis Cluster is reached over TCP: redis://host:port")?;
            Slots::of_cluster(host)
        } else {
            Slots::of_one(links.seeds().next().ok_or("no Redis URL")?)
        };

        Ok(Arc::new(Self {
            links: Arc::new(links),
            slots: Arc::new(slots),
            turn: AtomicUsize::new(0),
            masters: Mutex::default(),
            hashes: Mutex::default(),
            keys: RwLock::default(),
            config: Arc::new(config),
        }))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One command about a key. It may be sent more than once: only for what may be repeated.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn command(&self, key: &str, command: Cmd) -> Result<Value, LogError> {
        self.ask("other", keys::slot_of(key), &command)
            .await
            .map_err(log_error)
    }

    /// One script; as [`Servers::command`]. All keys have one hash tag.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn script(
        &self,
        script: &Lua,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, LogError> {
        self.run("other", script, keys, arguments).await
    }

    pub(super) async fn run(
        &self,
        word: &'static str,
        script: &Lua,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, LogError> {
        let slot = keys.first().map_or(0, |key| keys::slot_of(key));
        let by_hash = self
            .ask(word, slot, &self.evaluation(script, keys, arguments, false))
            .await;
        match by_hash {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => self
                .ask(word, slot, &self.evaluation(script, keys, arguments, true))
                .await
                .map_err(log_error),
            other => other.map_err(log_error),
        }
    }

    /// The command that runs a script, by its hash or, which loads it, by its text.
    pub(super) fn evaluation(
        &self,
        script: &Lua,
        keys: &[&str],
        arguments: &[&[u8]],
        by_text: bool,
    ) -> Cmd {
        let mut command = redis::cmd(if by_text { "EVAL" } else { "EVALSHA" });
        if by_text {
            command.arg(script.text)
        } else {
            command.arg(&*self.hash(script))
        };
        command.arg(keys.len()).arg(keys).arg(arguments);
        command
    }

    fn hash(&self, script: &Lua) -> Arc<str> {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hashes
            .entry(script.text)
            .or_insert_with(|| Arc::from(redis::Script::new(script.text).get_hash()));
        Arc::clone(hash)
    }

    /// One command about a slot, repeated when that is of use. Dropped half-way it leaves nothing
    /// behind that another call would wait for.
    pub(super) async fn ask(
        &self,
        word: &'static str,
        slot: u16,
        command: &Cmd,
    ) -> RedisResult<Value> {
        LOG_REDIS_COMMANDS.add(1, &[("command", word)]);
        let asked =
            tokio::time::timeout(self.config.timeout, self.ask_until_answered(slot, command)).await;
        asked.unwrap_or_else(|_elapsed| Err(timed_out()))
    }

    async fn ask_until_answered(&self, slot: u16, command: &Cmd) -> RedisResult<Value> {
        let mut pauses = BACKOFF.pauses();
        let (mut asking, mut failed) = (None, None);
        for _ in 0..ATTEMPTS_MAX {
            let (address, is_asking) = match asking.take() {
                Some(there) => (there, true),
                None => (self.serving(slot).await.ok_or_else(unserved)?, false),
            };
            let (next, error) = match self.links.ask(&address, is_asking, command).await {
                Ok(answer @ Value::ServerError(_)) => (
                    self.after(slot, Verdict::of(&answer).sign),
                    answer.extract_error().err(),
                ),
                Ok(answer) => return Ok(answer),
                Err(error) => (self.after_silence(&error), Some(error)),
            };
            failed = error;
            match next {
                Next::Asking(there) => asking = Some(there),
                Next::AtOnce => {}
                Next::Later => {
                    self.refresh_slots().await;
                    tokio::time::sleep(pauses.next()).await;
                }
                Next::Never => break,
            }
        }

        Err(failed.unwrap_or_else(timed_out))
    }

    /// The answer of each master, once.
    pub(super) async fn ask_masters(&self, command: &Cmd) -> Vec<RedisResult<Value>> {
        if self.slots.masters().is_empty() {
            self.refresh_slots().await;
        }
        let masters = self.slots.masters();
        let asked = masters
            .iter()
            .map(|master| self.links.ask(master, false, command));
        join_all(asked)
            .await
            .into_iter()
            .map(|answer| answer.and_then(Value::extract_error))
            .collect()
    }

    fn after(&self, slot: u16, sign: Sign) -> Next {
        let address = |spelled: &str| self.slots.address(spelled);
        match sign {
            Sign::Moved(to) => address(&to).map_or(Next::Later, |to| {
                self.slots.moved(slot, &to);
                Next::AtOnce
            }),
            Sign::Ask(to) => address(&to).map_or(Next::Later, Next::Asking),
            Sign::Unserved if self.config.cluster => Next::Later,
            _ => Next::Never,
        }
    }

    /// Of a cluster another server may serve the slot now. One server that refuses is not asked
    /// again.
    fn after_silence(&self, error: &RedisError) -> Next {
        let again = self.config.cluster || !error.is_connection_refusal();
        if again { Next::Later } else { Next::Never }
    }

    /// The server that has a slot, as far as is known; reads the map of slots when nothing is.
    async fn serving(&self, slot: u16) -> Option<Address> {
        if self.slots.master(slot).is_none() {
            self.refresh_slots().await;
        }
        self.slots.master(slot)
    }

    /// The keys of a shard.
    pub(super) fn keys(&self, shard: ShardId) -> Arc<Keys> {
        if let Some(keys) = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
        {
            return Arc::clone(keys);
        }
        let keys = Arc::new(Keys::of(&self.config.prefix, shard));
        self.keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, Arc::clone(&keys));
        keys
    }

    /// A connection of its own to a master, for looks at its control records.
    pub(super) fn connect_watch(
        &self,
        address: &str,
    ) -> RedisResult<impl Future<Output = RedisResult<MultiplexedConnection>> + Send + use<>> {
        self.links.own(address, "watch", self.config.timeout)
    }

    /// What the servers refuse is told there.
    pub(super) fn denials(&self) -> &Denials {
        self.links.denials()
    }

    /// What the servers have refused, in their words.
    #[cfg(test)]
    pub fn denied(&self) -> Vec<String> {
        self.links
            .denials()
            .told()
            .into_iter()
            .map(|(denied, words)| format!("{denied:?} {words}"))
            .collect()
    }

    /// The map of slots.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Reads the map of slots anew, of any server that answers, unless somebody just did or there
    /// is none.
    pub(super) async fn refresh_slots(&self) {
        if !self.config.cluster {
            return;
        }
        let mut servers = self.slots.servers();
        servers.extend(
            self.links
                .seeds()
                .filter(|seed| !servers.contains(seed))
                .cloned()
                .collect::<Vec<_>>(),
        );

        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len().max(1);
        servers.rotate_left(turn);
        let (links, slots) = (Arc::clone(&self.links), Arc::clone(&self.slots));
        // In a task of its own: a caller who gives up must not undo it for those who wait with
        // them.
        let reading = tokio::spawn(async move {
            slots
                .refresh(async || {
                    links
                        .ask_any(servers, redis::cmd("CLUSTER").arg("SLOTS"))
                        .await
                })
                .await;
        });
        reading.await.ok();
        self.links.keep(&self.slots.servers());
        let known = self.slots.masters();
        let mut masters = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        masters.retain(|address, _| known.contains(address));
    }

    /// The master that has a shard's keys, as far as is known; reads the map of slots when nothing
    /// is.
    pub(super) async fn master_of(&self, keys: &Keys) -> Option<Arc<Master>> {
        self.serving(keys.slot())
            .await
            .map(|address| self.master(&address))
    }

    /// The lane to a master.
    pub(super) fn master(&self, address: &Address) -> Arc<Master> {
        let mut masters = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            Arc::new(Master::new(
                Arc::clone(address),
                Arc::clone(&self.config),
                Arc::clone(&self.links),
            ))
        };
        Arc::clone(masters.entry(Arc::clone(address)).or_insert_with(made))
    }
}

fn unserved() -> RedisError {
    (redis::ErrorKind::Client, "no server is known for the slot").into()
}
