//! The connections to Redis: one shared by everything that may be repeated, one lane per master for appends and claims.
//!
//! The shared connection is made at the first call and again after a loss. Its calls are few retries and hard time-outs
//! away from an error, so that nobody queues behind a server that is gone: a call ends within [`Config::timeout`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use redis::{RedisError, RedisResult, ServerErrorKind, Value};

use crate::ids::ShardId;
use crate::shard::log::LogError;
use crate::shard::log::redis::keys::Keys;
use crate::shard::log::redis::master::Master;
use crate::shard::log::redis::slots::{Address, Slots};
use crate::shard::log::redis::{CommitLevel, Config};
use crate::telemetry::{LOG_REDIS_COMMANDS, LOG_REDIS_CONNECTIONS};

/// Repetitions of a call that found its connection closed, or its slot elsewhere.
const RETRIES: u32 = 2;
/// Pauses between them, in milliseconds.
const RETRY_WAIT_MIN: u64 = 20;
const RETRY_WAIT_MAX: u64 = 250;
/// Calls in flight on one connection; further ones wait, up to the time-out.
const CALLS_MAX: usize = 1024;
/// Time-outs that making the shared connection may take: it is several round trips, to several servers.
const CONNECTING_MAX: u32 = 5;
/// After so many calls in a row without an answer the client of the cluster is made anew: its view may be beyond repair.
const FAILURES_MAX: u32 = 8;

/// A script, loaded where it is missing.
#[derive(Debug)]
pub struct Lua {
    /// Its text.
    pub text: &'static str,
}

/// The servers of one deployment; see the head of this file.
pub struct Servers {
    config: Config,
    /// Where to connect first, with user and password.
    seeds: Vec<ConnectionInfo>,
    /// Held while it is made.
    shared: Arc<tokio::sync::Mutex<Option<Shared>>>,
    /// Calls of the shared connection in a row that nothing answered.
    failures: AtomicU32,
    slots: Slots,
    /// One for each master that was written to; those that are no master any more go when the slots are read.
    masters: Mutex<HashMap<Address, Arc<Master>>>,
    hashes: Mutex<HashMap<&'static str, Arc<str>>>,
    /// Of every shard asked for so far.
    keys: RwLock<HashMap<ShardId, Arc<Keys>>>,
}

#[derive(Clone)]
struct Shared {
    /// Tells this connection from the one before.
    number: u64,
    connection: Connection,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
        .and_then(Value::extract_error)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("Servers").field("cluster", &self.config.cluster).finish_non_exhaustive()
    }
}

impl Servers {
    /// Takes the settings; connects at the first call, and again after each loss.
    ///
    /// # Errors
    /// One clear line: no URL, or one that is none, or several that are no Redis Cluster.
    pub fn new(config: Config) -> Result<Arc<Self>, String> {
        let mut seeds = Vec::new();
        for (number, url) in config.urls.iter().enumerate() {
            // Not the URL itself: it may hold a password.
            let seed = url.as_str().into_connection_info();
            let seed = seed.map_err(|error| format!("Redis URL {}: {error}", number + 1))?;
            seeds.push(seed.set_tcp_settings(tcp_settings(&config)));
        }
        let Some(first) = seeds.first() else { return Err("no Redis URL".to_owned()) };
        if seeds.len() > 1 && !config.cluster {
            return Err(format!("{} Redis URLs, but no Redis Cluster: give one", seeds.len()));
        }
        let slots = if config.cluster {
            let ConnectionAddr::Tcp(host, _) = first.addr() else {
                return Err("a Redis Cluster is reached over TCP: redis://host:port".to_owned());
            };
            Slots::of_cluster(host)
        } else {
            Slots::of_one(&first.addr().to_string())
        };
        Ok(Arc::new(Self {
            seeds,
            shared: Arc::default(),
            failures: AtomicU32::new(0),
            slots,
            masters: Mutex::default(),
            hashes: Mutex::default(),
            keys: RwLock::default(),
            config,
        }))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One command over the shared connection. It may be sent more than once: only for what may be repeated.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn command(&self, command: Cmd) -> Result<Value, LogError> {
        self.ask("other", &command).await.map_err(log_error)
    }

    /// One script over the shared connection; as [`Servers::command`]. All keys have one hash tag.
    ///
    /// # Errors
    /// What Redis answered, or that it did not in time.
    pub async fn script(&self, script: &Lua, keys: &[&str], arguments: &[&[u8]]) -> Result<Value, LogError> {
        self.run("other", script, keys, arguments).await
    }

    pub(super) async fn run(
        &self,
        word: &'static str,
        script: &Lua,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, LogError> {
        let by_hash = self.ask(word, &self.evaluation(script, keys, arguments, false)).await;
        match by_hash {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                self.ask(word, &self.evaluation(script, keys, arguments, true)).await.map_err(log_error)
            }
            other => other.map_err(log_error),
        }
    }

    /// The command that runs a script, by its hash or, which loads it, by its text.
    pub(super) fn evaluation(&self, script: &Lua, keys: &[&str], arguments: &[&[u8]], by_text: bool) -> Cmd {
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
        let hash = hashes.entry(script.text).or_insert_with(|| Arc::from(redis::Script::new(script.text).get_hash()));
        Arc::clone(hash)
    }

    /// One command over the shared connection, repeated when that is of use.
    pub(super) async fn ask(&self, word: &'static str, command: &Cmd) -> RedisResult<Value> {
        LOG_REDIS_COMMANDS.add(1, &[("command", word)]);
        match tokio::time::timeout(self.config.timeout, self.ask_until_answered(command)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                self.unanswered(None);
                Err(timed_out())
            }
        }
    }

    async fn ask_until_answered(&self, command: &Cmd) -> RedisResult<Value> {
        let mut pause = Duration::from_millis(RETRY_WAIT_MIN);
        let mut attempt = 0;
        loop {
            let error = match self.ask_once(command).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // The client of the cluster has its own repetitions; what it gives up is given up.
            let again = !self.config.cluster && error.is_connection_dropped() && !error.is_connection_refusal();
            if attempt == RETRIES || !again {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(RETRY_WAIT_MAX));
        }
    }

    async fn ask_once(&self, command: &Cmd) -> RedisResult<Value> {
        let mut shared = self.shared().await?;
        let answer = shared.connection.ask(command).await;
        let unanswered = answer.as_ref().is_err_and(|error| !matches!(error.kind(), redis::ErrorKind::Server(_)));
        if unanswered {
            self.unanswered(Some(shared.number));
        } else {
            self.failures.store(0, Ordering::Relaxed);
        }
        answer
    }

    async fn shared(&self) -> RedisResult<Shared> {
        let mut shared = Arc::clone(&self.shared).lock_owned().await;
        if let Some(shared) = shared.as_ref() {
            return Ok(shared.clone());
        }
        LOG_REDIS_CONNECTIONS.add(1, &[("use", "shared")]);
        let making = self.making()?;
        // In a task of its own: a caller whose time is over must not undo what took longer than that.
        let longest = self.config.timeout * CONNECTING_MAX;
        let made = tokio::spawn(async move {
            let connection = tokio::time::timeout(longest, making).await.unwrap_or_else(|_elapsed| Err(timed_out()))?;
            let made = Shared { number: rand::random(), connection };
            *shared = Some(made.clone());
            Ok(made)
        });
        made.await.unwrap_or_else(|_gone| Err(timed_out()))
    }

    /// Counts a call that nothing answered, and forgets the connection (of that number, or whichever it is) once it is
    /// beyond hope: at once, or for a cluster, whose client mends itself, when nothing at all has answered for a while.
    fn unanswered(&self, number: Option<u64>) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.config.cluster && failures < FAILURES_MAX {
            return;
        }
        // Whoever has the lock is making a new one.
        let Ok(mut shared) = self.shared.try_lock() else { return };
        self.failures.store(0, Ordering::Relaxed);
        if shared.as_ref().is_some_and(|shared| number.is_none_or(|number| number == shared.number)) {
            *shared = None;
        }
    }

    /// Connects, independent of the caller.
    fn making(&self) -> RedisResult<BoxFuture<'static, RedisResult<Connection>>> {
        if self.config.cluster {
            let client = self.cluster_client()?;
            return Ok(async move { client.get_async_connection().await.map(Connection::Cluster) }.boxed());
        }
        let seed = self.seeds.first().cloned().ok_or_else(timed_out)?;
        Ok(connect(seed, self.config.timeout / 2, self.config.timeout / 2).map_ok(Connection::One).boxed())
    }

    fn cluster_client(&self) -> RedisResult<ClusterClient> {
        let half = self.config.timeout / 2;
        // Beside the seeds, every master seen so far: the seeds may be those that are gone.
        let known = self.slots.masters().into_iter().filter_map(|address| self.at(&address));
        let nodes: Vec<ConnectionInfo> = self.seeds.iter().cloned().chain(known).collect();
        ClusterClient::builder(nodes)
            .retries(RETRIES)
            .min_retry_wait(RETRY_WAIT_MIN)
            .max_retry_wait(RETRY_WAIT_MAX)
            .connection_timeout(half)
            .response_timeout(half)
            .overall_response_timeout(Some(self.config.timeout))
            .connection_concurrency_limit(CALLS_MAX)
            .tcp_settings(tcp_settings(&self.config))
            .build()
    }

    /// How to connect to a server that Redis named, with the user and password of the seeds.
    fn at(&self, address: &str) -> Option<ConnectionInfo> {
        let (host, port) = address.rsplit_once(':')?;
        let seed = self.seeds.first()?.clone();
        Some(seed.set_addr(ConnectionAddr::Tcp(host.to_owned(), port.parse().ok()?)))
    }

    /// A connection of its own to a master, for its lane.
    pub(super) async fn connect_lane(&self, address: &str) -> RedisResult<MultiplexedConnection> {
        LOG_REDIS_CONNECTIONS.add(1, &[("use", "lane")]);
        let to = if self.config.cluster { self.at(address) } else { self.seeds.first().cloned() };
        let to = to.ok_or_else(|| RedisError::from((redis::ErrorKind::Client, "no such address")))?;
        let response = match self.config.commit {
            CommitLevel::Log => self.config.timeout,
            CommitLevel::Replicated => self.config.timeout + self.config.replica_wait,
        };
        connect(to, self.config.timeout / 2, response).await
    }

    /// The keys of a shard.
    pub(super) fn keys(&self, shard: ShardId) -> Arc<Keys> {
        if let Some(keys) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&shard) {
            return Arc::clone(keys);
        }
        let keys = Arc::new(Keys::of(&self.config.prefix, shard));
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(shard, Arc::clone(&keys));
        keys
    }

    /// A connection of its own to a master, for looks at its control records.
    pub(super) async fn connect_watch(&self, address: &str) -> RedisResult<MultiplexedConnection> {
        LOG_REDIS_CONNECTIONS.add(1, &[("use", "watch")]);
        let to = if self.config.cluster { self.at(address) } else { self.seeds.first().cloned() };
        let to = to.ok_or_else(|| RedisError::from((redis::ErrorKind::Client, "no such address")))?;
        connect(to, self.config.timeout / 2, self.config.timeout / 2).await
    }

    /// The map of slots.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Reads the map of slots anew, unless somebody just did or there is none.
    pub(super) async fn refresh_slots(&self) {
        if !self.config.cluster {
            return;
        }
        self.slots.refresh(async || self.ask("slots", redis::cmd("CLUSTER").arg("SLOTS")).await).await;
        let known = self.slots.masters();
        let mut masters = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        masters.retain(|address, _| known.contains(address));
    }

    /// The master that has a shard's keys, as far as is known; reads the map of slots when nothing is.
    pub(super) async fn master_of(&self, keys: &Keys) -> Option<Arc<Master>> {
        if self.slots.master(keys.slot()).is_none() {
            self.refresh_slots().await;
        }
        self.slots.master(keys.slot()).map(|address| self.master(&address))
    }

    /// The lane to a master.
    pub(super) fn master(&self, address: &Address) -> Arc<Master> {
        let mut masters = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        let master = masters.entry(Arc::clone(address)).or_insert_with(|| Arc::new(Master::new(Arc::clone(address))));
        Arc::clone(master)
    }
}

async fn connect(to: ConnectionInfo, within: Duration, response: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(Some(response))
        .set_concurrency_limit(CALLS_MAX);
    Client::open(to)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Small writes go out at once; what the other side does not acknowledge ends the connection.
fn tcp_settings(config: &Config) -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(config.timeout * 4)
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "redis did not answer in time").into()
}

pub(super) fn log_error(error: RedisError) -> LogError {
    LogError(error.to_string())
}
