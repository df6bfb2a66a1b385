//! Real Redis servers for tests. They die with the test process, however it ends.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::log::redis::servers::Servers;
use crate::log::redis::{CommitLevel, Config, RedisLog};

pub mod cluster;
pub mod rights;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Above this the port of the cluster's bus, 10,000 higher, would be an ephemeral one.
const PORT_MAX: u16 = 22_767;
const PORT_MIN: u16 = 11_000;

/// One Redis (or Valkey) process in a folder of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Child,
}

impl Server {
    /// Starts the installed Redis with further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_program("redis-server", arguments)
    }

    /// Starts another program of the kind.
    pub fn start_program(program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self {
            port: 0,
            program: program.into(),
            arguments,
            folder,
            running: None,
        };

        // Another process may take the port between the look and the start.
        for _ in 0..20 {
            server.port = free_port();
            if server.run() {
                return server;
            }
        }

        panic!("no server starts: {}", server.log());
    }

    /// Starts it again on the same folder and port.
    pub fn restart(&mut self) {
        self.kill9();
        let end = Instant::now() + DEADLINE;
        while !self.run() {
            assert!(Instant::now() < end, "does not start again: {}", self.log());
        }
    }

    /// Whether it was not killed.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// As a crash would.
    pub fn kill9(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        running.watchdog.kill().unwrap();
        running.watchdog.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("a running server");
        kill(
            Pid::from_raw(i32::try_from(running.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of whoever meddles.
    pub async fn meddler(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(DEADLINE))
            .set_connection_timeout(Some(DEADLINE));
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap()
    }

    /// One command, words split at blanks, by way of a fresh connection.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        words(command)
            .query_async(&mut self.meddler().await)
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Value of a field of INFO.
    pub async fn field(&self, section: &str, field: &str) -> String {
        let text: String = self.ask(&format!("INFO {section}")).await;
        let line = text.lines().find_map(|line| {
            line.strip_prefix(field)
                .and_then(|rest| rest.strip_prefix(':'))
        });
        line.unwrap_or_default().trim().to_owned()
    }

    /// True when it runs and answers, within the deadline.
    fn run(&mut self) -> bool {
        let log = std::fs::File::create(self.folder.path().join("server.log")).unwrap();
        let mut child = Command::new(&self.program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--dir",
            ])
            .arg(self.folder.path())
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--shutdown-timeout",
                "0",
            ])
            .args([
                "--repl-diskless-sync-delay",
                "0",
                "--enable-debug-command",
                "yes",
            ])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let watchdog = watchdog(child.id(), &self.folder);
        let end = Instant::now() + DEADLINE;

        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            if self.log().contains("eady to accept connections") {
                self.running = Some(Running { child, watchdog });
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }

        self.running = Some(Running { child, watchdog });
        self.kill9();
        false
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(self.folder.path().join("server.log"));
        file.and_then(|mut file| file.read_to_string(&mut text))
            .unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Kills the server and removes its folder when this process is gone: its end of the pipe closes
/// then. (What is shared between tests is never dropped.)
fn watchdog(pid: u32, folder: &TempDir) -> Child {
    Command::new("sh")
        .args([
            "-c",
            r#"cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2""#,
            "watchdog",
            &pid.to_string(),
        ])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port that is free now, and whose bus port is too. Each call looks on from where the last one
/// found.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = PORT_MAX - PORT_MIN;
    // Test processes side by side begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(width)).unwrap();
    for _ in 0..width {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORT_MIN + (begin.wrapping_add(step.wrapping_mul(7))) % width;
        let free = |number| TcpListener::bind(("127.0.0.1", number)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
    panic!("no port is free");
}

/// A command from words that blanks divide; `~` stands for a blank within a word.
pub fn words(command: &str) -> Cmd {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        built.arg(word.replace('~', " "));
    });
    built
}

/// The server that tests share which neither stop it nor change its settings.
pub async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(async || Server::start(&[])).await
}

/// Settings under a prefix that no one else has.
pub fn config(urls: &[String]) -> Config {
    Config {
        urls: urls.to_vec(),
        cluster: false,
        prefix: format!("t{:x}", rand::random::<u64>()),
        commit: CommitLevel::Log,
        // Generous: the machine is shared.
        replica_wait: Duration::from_secs(3),
        timeout: Duration::from_secs(5),
    }
}

/// A log with these settings.
pub fn log(config: &Config) -> Arc<RedisLog> {
    RedisLog::new(Servers::new(config.clone()).unwrap())
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
