//! The connections that are shared by everything that may be repeated: one to each server, made at
//! its first call and anew after a loss.
//!
//! No call shares anything with another server's: not a connection, not a lock that is held while
//! something is waited for. A call that ends without an answer, also because whoever made it gave
//! it up, ends its connection: the next call makes another one. Those that are still under way on
//! the old one keep it until they end.
//!
//! A new connection, also of a lane, has to answer before it is used. So a server that hears this
//! process and is not heard by it is not written to again and again: others would take that for
//! signs of life (ADR 12, ADR 15).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline};
use redis::{RedisError, RedisResult, Value};

use crate::log::redis::Config;
use crate::log::redis::connection::{connect, timed_out};
use crate::log::redis::denied::Denials;
use crate::log::redis::slots::Address;
use crate::telemetry::LOG_REDIS_CONNECTIONS;

/// Of servers that may all answer a question, the next is asked when the one before has not
/// answered for so long.
const NEXT_AFTER: Duration = Duration::from_millis(50);

/// The way to every server of one deployment; see the head of this file.
pub(super) struct Links {
    /// One call, or making a connection, takes so long at most.
    longest: Duration,
    /// Where to connect first, with user and password.
    seeds: Vec<(Address, ConnectionInfo)>,
    made: Mutex<HashMap<Address, Arc<Link>>>,
    denials: Arc<Denials>,
}

/// The connection to one server.
#[derive(Default)]
struct Link {
    now: Mutex<Option<Made>>,
}

/// Shared by everybody who waits for it, and afterwards the connection itself.
type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

#[derive(Clone)]
struct Made {
    /// Tells this connection from the one before.
    number: u64,
    connecting: Connecting,
}

/// A call under way. Dropped before it was answered, whoever gave it up, it ends its connection.
struct Call<'a> {
    link: &'a Link,
    number: u64,
    answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.forget(self.number);
        }
    }
}

impl Link {
    /// The connection that is there or being made, or a new one by `connect`.
    fn made(self: &Arc<Self>, connect: impl FnOnce() -> RedisResult<Connect>) -> RedisResult<Made> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = now.as_ref() {
            return Ok(made.clone());
        }

        LOG_REDIS_CONNECTIONS.add(1, &[("use", "shared")]);
        let number = rand::random();
        let (connect, link) = (connect()?, Arc::clone(self));
        // In a task of its own: a caller who gives up must not undo it for the others.
        let task =
            tokio::spawn(async move { connect.await.inspect_err(|_error| link.forget(number)) });
        let connecting = async move { task.await.unwrap_or_else(|_gone| Err(timed_out())) }
            .boxed()
            .shared();
        let made = Made { number, connecting };
        *now = Some(made.clone());
        Ok(made)
    }

    /// The next call makes another one than this.
    fn forget(&self, number: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_some_and(|made| made.number == number) {
            *now = None;
        }
    }
}

type Connect = BoxFuture<'static, RedisResult<MultiplexedConnection>>;

impl Links {
    /// Takes the settings, without connecting.
    ///
    /// # Errors
    /// One clear line: no URL, or one that is none, or several that are no Redis Cluster.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let mut seeds = Vec::new();
        for (number, url) in config.urls.iter().enumerate() {
            // Not the URL itself: it may hold a password.
            let seed = match (unencoded(url), url.as_str().into_connection_info()) {
                (Some(hint), _) => return Err(format!("Redis URL {}: {hint}", number + 1)),
                (None, seed) => {
                    seed.map_err(|error| format!("Redis URL {}: {error}", number + 1))?
                }
            };
            let seed = seed.set_tcp_settings(tcp_settings(config));
            seeds.push((Address::from(seed.addr().to_string()), seed));
        }

        if seeds.is_empty() {
            return Err("no Redis URL".to_owned());
        }
        if seeds.len() > 1 && !config.cluster {
            return Err(format!(
                "{} Redis URLs, but no Redis Cluster: give one",
                seeds.len()
            ));
        }

        Ok(Self {
            longest: config.timeout / 2,
            seeds,
            made: Mutex::default(),
            denials: Arc::default(),
        })
    }

    /// What the servers refuse is told there.
    pub(super) fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Where to connect first.
    pub(super) fn seeds(&self) -> impl Iterator<Item = &Address> {
        self.seeds.iter().map(|(address, _)| address)
    }

    /// Host of the first seed, if it is reached over TCP.
    pub(super) fn host(&self) -> Option<&str> {
        match self.seeds.first()?.1.addr() {
            ConnectionAddr::Tcp(host, _) => Some(host),
            _ => None,
        }
    }

    /// One command, without repetition; an error of the server is an answer like any other.
    /// `asking`: its keys are there before their slot is.
    pub(super) async fn ask(
        &self,
        address: &Address,
        asking: bool,
        command: &Cmd,
    ) -> RedisResult<Value> {
        let link = self.link(address);
        let connect = || Ok(self.connect(address, self.longest)?.boxed());
        let Made { number, connecting } = link.made(connect)?;
        let mut connection = connecting.await?;
        let mut pipeline = Pipeline::new();
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(command.clone());

        let mut call = Call {
            link: &link,
            number,
            answered: false,
        };
        let mut answers = connection
            .send_packed_commands(&pipeline, 0, pipeline.len())
            .await?;
        call.answered = answers.len() == pipeline.len();
        self.denials.note(address, &answers);
        let answer = answers.pop().filter(|_| call.answered);
        answer.ok_or_else(|| {
            (
                redis::ErrorKind::UnexpectedReturnType,
                "another number of answers than of commands",
            )
                .into()
        })
    }

    /// The answer of whichever server gives one first that is not an error and not empty. They are
    /// asked in this order, the next when the one before has failed or is silent; one that hangs
    /// costs [`NEXT_AFTER`].
    pub(super) async fn ask_any(
        self: &Arc<Self>,
        servers: Vec<Address>,
        command: &Cmd,
    ) -> RedisResult<Value> {
        let mut servers = servers.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut failed = timed_out();
        let mut next = true;

        loop {
            if std::mem::take(&mut next)
                && let Some(server) = servers.next()
            {
                let (links, command) = (Arc::clone(self), command.clone());
                // In a task of its own, which ends by itself: one that is overtaken is no failure
                // of its connection.
                under_way.push(tokio::spawn(async move {
                    links.ask(&server, false, &command).await
                }));
            }
            tokio::select! {
                Some(answer) = under_way.next() => match answer.unwrap_or_else(|_gone| Err(timed_out())) {
                    Ok(Value::Array(items)) if !items.is_empty() => return Ok(Value::Array(items)),
                    other => {
                        failed = other.and_then(Value::extract_error).err().unwrap_or(failed);
                        next = true;
                    }
                },
                () = tokio::time::sleep(NEXT_AFTER), if servers.len() > 0 => next = true,
                else => return Err(failed),
            }
        }
    }

    /// A connection that its maker alone uses.
    pub(super) fn own(
        &self,
        address: &str,
        word: &'static str,
        response: Duration,
    ) -> RedisResult<impl Future<Output = RedisResult<MultiplexedConnection>> + Send + use<>> {
        LOG_REDIS_CONNECTIONS.add(1, &[("use", word)]);
        self.connect(address, response)
    }

    fn connect(
        &self,
        address: &str,
        response: Duration,
    ) -> RedisResult<impl Future<Output = RedisResult<MultiplexedConnection>> + Send + use<>> {
        let (to, longest, denials) = (self.info(address)?, self.longest, Arc::clone(&self.denials));
        let address = address.to_owned();
        Ok(async move { connect(to, longest, response, (&address, &denials)).await })
    }

    /// Ends the connections to those servers that are none of these, nor seeds.
    pub(super) fn keep(&self, servers: &[Address]) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|address, _| {
            servers.contains(address) || self.seeds().any(|seed| seed == address)
        });
    }

    fn link(&self, address: &Address) -> Arc<Link> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(Arc::clone(address)).or_default())
    }

    /// How to connect to a server that Redis named, with the user and password of the seeds.
    fn info(&self, address: &str) -> RedisResult<ConnectionInfo> {
        if let Some((_, seed)) = self.seeds.iter().find(|(seed, _)| **seed == *address) {
            return Ok(seed.clone());
        }
        let at = || {
            let (host, port) = address.rsplit_once(':')?;
            let (_, seed) = self.seeds.first()?;
            Some(
                seed.clone()
                    .set_addr(ConnectionAddr::Tcp(host.to_owned(), port.parse().ok()?)),
            )
        };
        at().ok_or_else(|| RedisError::from((redis::ErrorKind::Client, "no such address")))
    }
}

/// What is to be encoded in the user or password of a URL, if something is that would be read as
/// another part of it: a URL may well be one then, of another server. Quotes nothing, for that may
/// be a part of the password.
fn unencoded(url: &str) -> Option<&'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // A path may have any of these.
    let login = rest
        .rsplit_once('@')
        .filter(|_| !scheme.contains("unix"))?
        .0;
    let is_cut = scheme.is_empty() || login.contains(['#', '/', '?']);
    is_cut.then_some(
        "in a user or password, these must be percent-encoded: # as %23, / as %2F, ? as %3F, @ as %40, : as %3A, \
         % as %25, a comma as %2C",
    )
}

/// Small writes go out at once; what the other side does not acknowledge ends the connection.
fn tcp_settings(config: &Config) -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(config.timeout * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::redis::testing::config;

    fn refused(url: &str) -> String {
        Links::new(&config(&[url.to_owned()]))
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn a_password_that_has_to_be_encoded_is_told_to_be_so_and_never_shown() {
        // The second part of a list that a comma in a password divided is the last one.
        let urls = [
            "redis://me:se#cret@h",
            "redis://me:12#cret@h",
            "redis://:se/cret@h:1",
            "redis://me:7?cret@h",
            "cret@h",
        ];

        for url in urls {
            let line = refused(url);
            assert!(
                line.contains("%23") && line.contains("%2C") && line.lines().count() == 1,
                "{line}"
            );
            assert!(!line.contains("cret"), "{line}");
        }

        for good in [
            "redis://me:se%23cret@h:1/2",
            "redis://h",
            "redis://p@ss@h",
            "unix:///tmp/a@b/c.sock",
        ] {
            assert_eq!(refused(good), "", "{good}");
        }
    }
}
