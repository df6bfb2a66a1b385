//! What clients talk to: one process with everything in it, or nodes and routers over Redis. Which
//! of them is the one thing in which the test targets differ; the tests themselves are the same.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::BACKEND;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::embedded::Process;

/// Under what the tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each test target is one of them")]
pub(crate) enum Backend {
    /// `rookery dev`: router and three nodes in one process, over the embedded log.
    Embedded,
    /// Three node and two router processes over one Redis.
    Redis,
    /// The same over Redis Cluster, three masters with a replica each.
    RedisCluster,
}

/// A running deployment. Dropping it ends its processes and removes its folder.
pub(crate) enum Server {
    /// All of it in one process.
    One(Process),
    /// Processes of their own.
    Many(Cluster),
}

/// How the processes ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended(Vec<Option<i32>>);

impl Ended {
    /// With these exit codes; `None` for a signal.
    pub(crate) fn with(codes: Vec<Option<i32>>) -> Self {
        Self(codes)
    }

    /// All by themselves, and well.
    pub(crate) fn success(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|&code| code == Some(0))
    }
}

/// The server that tests share which neither stop nor fill it. Shows the end of its log when the
/// test fails.
pub(crate) struct Shared(&'static Server);

/// The shared server, started by the first test that asks.
pub(crate) fn shared() -> Shared {
    static SERVER: OnceLock<Server> = OnceLock::new();
    Shared(SERVER.get_or_init(Server::start))
}

impl std::ops::Deref for Shared {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.show_log();
        }
    }
}

impl Server {
    /// Starts on a fresh folder.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts on a fresh folder with further flags, those of `rookery dev`. Over Redis each goes to
    /// the processes that know it.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        match BACKEND {
            Backend::Embedded => Self::One(Process::start(flags)),
            Backend::Redis | Backend::RedisCluster => Self::Many(Cluster::start(BACKEND, flags)),
        }
    }

    /// The deployment that this is. Fails where this is one process, which has no parts.
    #[allow(dead_code, reason = "of tests in which parts break only")]
    pub(crate) fn cluster(&self) -> &Cluster {
        match self {
            Self::Many(cluster) => cluster,
            Self::One(_) => panic!("one process has no parts"),
        }
    }

    /// The one process that this is. Fails where there are several.
    #[allow(dead_code, reason = "of the embedded target only")]
    pub(crate) fn process(&self) -> &Process {
        match self {
            Self::One(process) => process,
            Self::Many(_) => panic!("these are several processes"),
        }
    }

    /// A client of this user, with a good token. Of several routers each client gets the next one,
    /// so that users talk to each other through different ones.
    pub(crate) fn client(&self, user: &str) -> Client {
        Client::new(self.address(), user)
    }

    /// Where clients connect; of several addresses another one each time.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::One(process) => process.address(),
            Self::Many(cluster) => cluster.next_address(),
        }
    }

    /// Whoever looks at the operations ports, one of each process.
    pub(crate) fn operators(&self) -> Vec<Client> {
        let ports = match self {
            Self::One(process) => vec![process.operations()],
            Self::Many(cluster) => cluster.operations(),
        };
        ports
            .into_iter()
            .map(|port| Client::new(port, "operator").with_token(None))
            .collect()
    }

    /// The sum of a metric over all processes and labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for operator in self.operators() {
            let answer = operator.get("/metrics").await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
            sum += lines
                .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        sum
    }

    /// The processes of Rookery.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Self::One(process) => vec![process.pid()],
            Self::Many(cluster) => cluster.pids(),
        }
    }

    /// Ends all processes as a crash would: no warning, nothing flushed. Redis stays.
    pub(crate) fn kill9(&mut self) {
        match self {
            Self::One(process) => process.kill9(),
            Self::Many(cluster) => cluster.kill9(),
        }
    }

    /// Asks all processes to end (SIGTERM). Await the end with [`Server::exited`].
    pub(crate) fn ask_to_end(&mut self) {
        match self {
            Self::One(process) => process.ask_to_end(),
            Self::Many(cluster) => cluster.ask_to_end(),
        }
    }

    /// Waits for the processes to end by themselves.
    pub(crate) async fn exited(&mut self) -> Ended {
        match self {
            Self::One(process) => process.exited().await,
            Self::Many(cluster) => cluster.exited().await,
        }
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(&mut self) -> Ended {
        self.ask_to_end();
        self.exited().await
    }

    /// Starts again on the same folder (killing what still runs). Ports may differ afterwards.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::One(process) => process.restart(),
            Self::Many(cluster) => cluster.restart(),
        }
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::One(process) => process.log(),
            Self::Many(cluster) => cluster.log(),
        }
    }

    fn show_log(&self) {
        match self {
            Self::One(process) => process.show_log(),
            Self::Many(cluster) => cluster.show_log(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

/// The last lines of a log, for a test that failed.
pub(crate) fn show_end(name: &str, log: &str, count: usize) {
    let lines: Vec<&str> = log.lines().collect();
    eprintln!("--- end of the log of {name}");
    for line in lines.iter().skip(lines.len().saturating_sub(count)) {
        eprintln!("{line}");
    }
    eprintln!("---");
}
