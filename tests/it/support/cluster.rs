//! Nodes and routers as processes of their own, over Redis: what `scripts/cluster` starts, on free
//! ports, many of them side by side.
#![allow(
    dead_code,
    reason = "compiled for every test target; the embedded one uses little of it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::BACKEND;
use crate::support::backup::Backup;
use crate::support::server::{Backend, Ended, show_end};
use crate::support::{SECRET, UNTHROTTLED, unique};

/// Shards of a deployment; as many as `rookery dev` has.
const SHARDS: &str = "16";

/// Flags of `rookery dev` that only a router knows, and those that both know; all others belong to
/// nodes.
const OF_ROUTERS: [&str; 5] = [
    "--cors-origins",
    "--connections-max",
    "--hold-bytes",
    "--request-budget",
    "--sockets-max",
];
const OF_BOTH: [&str; 9] = [
    "--threads",
    "--jwks",
    "--jwt-issuer",
    "--jwt-audience",
    "--token-cache",
    "--drain-window",
    "--log-level",
    "--log-format",
    "--redis-timeout",
];

/// What `scripts/cluster` is asked for at most this long; its own deadlines are shorter.
const SCRIPT_WITHIN: Duration = Duration::from_secs(240);

/// A folder of `scripts/cluster`. Dropping it, or the end of the test process however it comes,
/// ends everything in it.
struct Folder {
    path: TempDir,
    watchdog: Child,
}

impl Folder {
    fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("rookery-it-")
            .tempdir()
            .unwrap();
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                r#"cat >/dev/null; exec "$1" --folder "$2" wipe"#,
                "watchdog",
            ])
            .arg(script());
        command
            .arg(path.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A group of its own: what ends the test process from the terminal must not end its
        // watchdog.
        let watchdog = command.process_group(0).spawn().unwrap();
        Self { path, watchdog }
    }

    fn path(&self) -> &Path {
        self.path.path()
    }

    /// A call of the script, away from the environment of whoever runs the tests.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(script());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ROOKERY_JWT_SECRET", SECRET);
        command
            .arg("--folder")
            .arg(self.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Calls the script, which must succeed.
    fn call(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        if !output.status.success() {
            self.show_logs();
            panic!(
                "scripts/cluster {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output
    }

    /// The same without holding up the other tasks of a test.
    async fn call_async(&self, arguments: &[&str]) {
        let mut command = tokio::process::Command::from(self.command(arguments));
        let output = tokio::time::timeout(SCRIPT_WITHIN, command.kill_on_drop(true).output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("scripts/cluster {arguments:?} hangs"))
            .unwrap();
        if !output.status.success() {
            self.show_logs();
            panic!(
                "scripts/cluster {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// What listens where, by `node-1.peer` and so on.
    fn ports(&self) -> BTreeMap<String, SocketAddr> {
        let text = fs::read_to_string(self.path().join("ports")).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(name, port)| {
                (
                    name.to_owned(),
                    (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into(),
                )
            })
            .collect()
    }

    /// A file of a process.
    fn file(&self, name: &str, file: &str) -> PathBuf {
        self.path().join(name).join(file)
    }

    fn show_logs(&self) {
        let Ok(entries) = fs::read_dir(self.path()) else {
            return;
        };
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            if let Ok(code) = fs::read_to_string(self.file(&name, "exit")) {
                eprintln!("{name} had ended with {}", code.trim());
            }
            if let Ok(log) = fs::read(self.file(&name, "log")) {
                show_end(&name, &String::from_utf8_lossy(&log), 30);
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        drop(self.command(&["wipe"]).output());
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster")
}

/// The Redis that all deployments of this test process share, each with a key prefix of its own.
/// Tests that break Redis have one for themselves.
fn shared_redis() -> &'static str {
    static SHARED: OnceLock<(Folder, String)> = OnceLock::new();
    let (_, urls) = SHARED.get_or_init(|| {
        let folder = Folder::new();
        folder.call(&[
            "--ports",
            "free",
            "--redis",
            kind(BACKEND),
            "start",
            "redis",
        ]);
        let ports = folder.ports();
        let count = if BACKEND == Backend::Redis { 1 } else { 6 };
        let urls: Vec<String> = (1..=count)
            .map(|i| format!("redis://{}", ports[&format!("redis-{i}")]))
            .collect();
        (folder, urls.join(","))
    });
    urls
}

fn kind(backend: Backend) -> &'static str {
    match backend {
        Backend::Redis => "single",
        Backend::Embedded | Backend::RedisCluster => "cluster",
    }
}

/// A deployment of several processes.
pub(crate) struct Cluster {
    folder: Folder,
    nodes: usize,
    routers: Vec<SocketAddr>,
    ports: BTreeMap<String, SocketAddr>,
    turn: AtomicUsize,
    ending: Option<Child>,
    /// The first part of its keys.
    pub(crate) prefix: String,
}

impl Cluster {
    /// Starts on a fresh folder, over the Redis that all share.
    pub(crate) fn start(backend: Backend, flags: &[&str]) -> Self {
        Self::start_over(backend, Some(shared_redis()), flags, true)
    }

    /// Starts with a Redis of its own.
    pub(crate) fn start_alone(backend: Backend, flags: &[&str]) -> Self {
        Self::start_over(backend, None, flags, true)
    }

    /// Everything is prepared and nothing runs.
    pub(crate) fn prepared(backend: Backend, flags: &[&str]) -> Self {
        Self::start_over(backend, None, flags, false)
    }

    /// Starts with a Redis of its own, and folders that are restored of a backup.
    pub(crate) fn restored(backend: Backend, backup: &Backup, flags: &[&str]) -> Self {
        let cluster = Self::start_over(backend, None, flags, false);
        let names: Vec<String> = (1..=cluster.nodes).map(|i| format!("node-{i}")).collect();
        let (all, id) = (names.join(","), uuid::Uuid::new_v4().to_string());
        for name in &names {
            let data = cluster.folder.file(name, "data");
            let of_node = [
                "--node-id",
                name,
                "--node-ids",
                &all,
                "--cluster-id",
                &id,
                "--shards",
                shards_of(flags),
            ];
            backup.restored(&data, &of_node);
            cluster.write(name, "flags", "--adopt-local");
        }
        cluster.folder.call(&["start", "redis", "nodes", "routers"]);
        cluster
    }

    /// Its folder, as `rookery cluster --cluster` and `rookery backup --cluster` take it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn start_over(backend: Backend, redis: Option<&str>, flags: &[&str], run: bool) -> Self {
        let folder = Folder::new();
        let Sorted {
            nodes,
            routers,
            of_nodes: node_flags,
            of_routers: router_flags,
        } = sorted(flags);
        // Where a test counts on where shards are, nothing is to move them; the last of two flags
        // counts.
        let node_flags = [&["--balance", "off"], &UNTHROTTLED[..], &node_flags[..]].concat();
        let (node_flags, router_flags) = (node_flags.join(" "), router_flags.join(" "));
        let (count, routers_count) = (nodes.to_string(), routers.to_string());
        let prefix = unique("it");
        let mut options = vec![
            "--ports",
            "free",
            "--binary",
            env!("CARGO_BIN_EXE_rookery"),
            "--shards",
            shards_of(flags),
        ];
        options.extend([
            "--redis",
            kind(backend),
            "--prefix",
            &prefix,
            "--nodes",
            &count,
            "--routers",
            &routers_count,
        ]);
        options.extend(["--node-flags", &node_flags, "--router-flags", &router_flags]);
        if let Some(urls) = redis {
            options.extend(["--redis-urls", urls]);
        }
        options.extend(if run {
            &["start", "redis", "nodes", "routers"][..]
        } else {
            &["prepare"]
        });
        folder.call(&options);
        let ports = folder.ports();
        let routers = (1..=routers)
            .map(|i| ports[&format!("router-{i}.client")])
            .collect();
        Self {
            folder,
            nodes,
            routers,
            ports,
            turn: AtomicUsize::new(0),
            ending: None,
            prefix,
        }
    }

    /// The routers' addresses in turn.
    pub(crate) fn next_address(&self) -> SocketAddr {
        self.routers[self.turn.fetch_add(1, Ordering::Relaxed) % self.routers.len()]
    }

    /// The client address of each router.
    pub(crate) fn routers(&self) -> &[SocketAddr] {
        &self.routers
    }

    /// The key of its links.
    pub(crate) fn cluster_key(&self) -> Vec<u8> {
        fs::read_to_string(self.folder.path().join("cluster-key"))
            .unwrap()
            .trim()
            .as_bytes()
            .to_vec()
    }

    /// The address of one port, such as `redis-1` or `node-2.operations`.
    pub(crate) fn port(&self, name: &str) -> SocketAddr {
        self.ports[name]
    }

    /// The operations port of each process, nodes first.
    pub(crate) fn operations(&self) -> Vec<SocketAddr> {
        self.names()
            .iter()
            .map(|name| self.ports[&format!("{name}.operations")])
            .collect()
    }

    /// Nodes and routers.
    pub(crate) fn names(&self) -> Vec<String> {
        let nodes = (1..=self.nodes).map(|i| format!("node-{i}"));
        nodes
            .chain((1..=self.routers.len()).map(|i| format!("router-{i}")))
            .collect()
    }

    /// The processes of Rookery.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = |name: &String| {
            let text = fs::read_to_string(self.folder.file(name, "pid")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        self.names().iter().map(pid).collect()
    }

    /// Writes a file of a process that is not started yet, such as its own `flags`; its path.
    pub(crate) fn write(&self, name: &str, file: &str, text: &str) -> PathBuf {
        let path = self.folder.file(name, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// See [`crate::support::server::Server::kill9`].
    pub(crate) fn kill9(&mut self) {
        self.folder.call(&["kill", "nodes", "routers"]);
    }

    /// See [`crate::support::server::Server::ask_to_end`].
    pub(crate) fn ask_to_end(&mut self) {
        let mut command = self.folder.command(&["stop", "nodes", "routers"]);
        self.ending = Some(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }

    /// See [`crate::support::server::Server::exited`].
    pub(crate) async fn exited(&mut self) -> Ended {
        let mut ending = self.ending.take().expect("an end that was asked for");
        // The script kills what does not end by itself.
        while ending.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ended::with(self.names().iter().map(|name| self.exit_of(name)).collect())
    }

    /// The exit code of a process that has ended; `None` when a signal ended it.
    pub(crate) fn exit_of(&self, name: &str) -> Option<i32> {
        let code: i32 = fs::read_to_string(self.folder.file(name, "exit"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // As a shell counts: 128 and the signal.
        (code < 128).then_some(code)
    }

    /// See [`crate::support::server::Server::restart`].
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.folder.call(&["start", "nodes", "routers"]);
    }

    /// One command of `scripts/cluster`: `start`, `stop`, `kill`, `pause`, `resume` of some names.
    pub(crate) async fn command(&self, arguments: &[&str]) {
        self.folder.call_async(arguments).await;
    }

    /// `rookery cluster` with these arguments, for this deployment.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command
            .env_clear()
            .arg("cluster")
            .arg("--cluster")
            .arg(self.folder.path())
            .args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same of what may take long, while the test goes on.
    pub(crate) async fn ask_while(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rookery"));
        command
            .env_clear()
            .arg("cluster")
            .arg("--cluster")
            .arg(self.folder.path())
            .args(arguments);
        let output = tokio::time::timeout(
            SCRIPT_WITHIN,
            command.stdin(Stdio::null()).kill_on_drop(true).output(),
        )
        .await;
        output
            .unwrap_or_else(|_| panic!("rookery cluster {arguments:?} does not end"))
            .unwrap()
    }

    /// Where everything of a process is.
    pub(crate) fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Removes the files of a process that does not run.
    pub(crate) fn remove_data(&self, name: &str) {
        fs::remove_dir_all(self.folder.file(name, "data")).unwrap();
    }

    /// What one process has logged so far.
    pub(crate) fn log_of(&self, name: &str) -> String {
        fs::read(self.folder.file(name, "log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Everything that nodes and routers have logged so far.
    pub(crate) fn log(&self) -> String {
        self.names().iter().map(|name| self.log_of(name)).collect()
    }

    /// Command lines that name this folder: what still runs of it, but for its watchdog.
    pub(crate) fn left_running(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines
            .filter(|line| line.contains(folder) && !line.contains("watchdog"))
            .collect()
    }

    /// Prints the ends of all logs.
    pub(crate) fn show_log(&self) {
        self.folder.show_logs();
    }
}

/// The number of shards, which is the deployment's.
fn shards_of<'a>(flags: &[&'a str]) -> &'a str {
    flags
        .chunks(2)
        .find(|pair| pair[0] == "--shards")
        .map_or(SHARDS, |pair| pair[1])
}

/// Flags by whom they are for.
struct Sorted<'a> {
    nodes: usize,
    routers: usize,
    of_nodes: Vec<&'a str>,
    of_routers: Vec<&'a str>,
}

fn sorted<'a>(flags: &[&'a str]) -> Sorted<'a> {
    let mut sorted = Sorted {
        nodes: 3,
        routers: 2,
        of_nodes: Vec::new(),
        of_routers: Vec::new(),
    };
    for pair in flags.chunks(2) {
        let &[flag, value] = pair else {
            panic!("a flag without a value: {pair:?}")
        };
        match flag {
            "--nodes" => sorted.nodes = value.parse().unwrap(),
            "--routers" => sorted.routers = value.parse().unwrap(),
            "--shards" => {}
            _ => {
                if OF_ROUTERS.contains(&flag) || OF_BOTH.contains(&flag) {
                    sorted.of_routers.extend([flag, value]);
                }
                if !OF_ROUTERS.contains(&flag) {
                    sorted.of_nodes.extend([flag, value]);
                }
            }
        }
    }
    sorted
}
