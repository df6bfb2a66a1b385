//! Nodes and routers as processes of their own, over Redis: what `scripts/cluster` starts, on free
//! ports, many of them side by side.
#![allow(
    dead_code,
    reason = "compiled for every test target; the embedded one uses little of it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::flags::{Sorted, kind, shards_of, sorted};
use self::folder::{Folder, SCRIPT_WITHIN};
use crate::BACKEND;
use crate::support::backup::Backup;
use crate::support::server::{Backend, Ended};
use crate::support::{UNTHROTTLED, unique};

mod flags;
mod folder;

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
