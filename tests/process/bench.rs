//! A folder with a Redis, and what runs over it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::spawned::Spawned;
use super::{CLUSTER_KEY, SECRET, until};

/// A folder with a Redis and everything that runs over it. Dropping it kills all, and shows the
/// logs of a failed test.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) redis: Option<Spawned>,
    redis_port: u16,
}

impl Bench {
    /// Redis is not there yet.
    pub(crate) fn without_redis() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let begin = u16::try_from(std::process::id() % 4_000).unwrap();
        let redis_port = until("a free port", || {
            let port = 12_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed) * 13) % 8_000;
            TcpListener::bind(("127.0.0.1", port))
                .is_ok()
                .then_some(port)
        });
        Self {
            folder: tempfile::tempdir().unwrap(),
            redis: None,
            redis_port,
        }
    }

    pub(crate) fn new() -> Self {
        let mut bench = Self::without_redis();
        bench.start_redis();
        bench
    }

    pub(crate) fn start_redis(&mut self) {
        let data = self.folder.path().join("redis");
        std::fs::create_dir_all(&data).unwrap();

        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.redis_port.to_string(),
                "--dir",
            ])
            .arg(&data);
        command.args(["--save", "", "--appendonly", "yes"]);

        self.redis = Some(Spawned::start(command, self.folder.path(), "redis"));
        until("redis answers", || {
            (self.redis(&["PING"]).trim() == "PONG").then_some(())
        });
    }

    pub(crate) fn redis(&self, command: &[&str]) -> String {
        let asked = Command::new("redis-cli")
            .args(["-p", &self.redis_port.to_string()])
            .args(command)
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    }

    pub(crate) fn command(&self, kind: &str, name: &str) -> Command {
        let ready = self.folder.path().join(format!("{name}.ready"));
        drop(std::fs::remove_file(&ready));

        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command
            .env_clear()
            .env("ROOKERY_JWT_SECRET", SECRET)
            .env("ROOKERY_CLUSTER_KEY", CLUSTER_KEY)
            .env(
                "ROOKERY_REDIS",
                format!("redis://127.0.0.1:{}", self.redis_port),
            )
            .current_dir(self.folder.path())
            .args([kind, "--operations-listen", "127.0.0.1:0", "--ready-file"])
            .arg(ready);
        if kind != "node" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
    }

    pub(crate) fn node_command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command("node", name);
        command.args([
            "--peer-listen",
            "127.0.0.1:0",
            "--shards",
            "4",
            "--expect-nodes",
            "1",
            "--node-id",
            name,
        ]);
        // The later of two equal flags wins.
        command.arg("--data").arg(self.data(name)).args(arguments);
        command
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    pub(crate) fn node(&self, name: &str, arguments: &[&str]) -> Spawned {
        Spawned::start(self.node_command(name, arguments), self.folder.path(), name)
    }

    /// Whether some file of this node's shards has this text.
    pub(crate) fn has_in_files(&self, name: &str, text: &str) -> bool {
        let files = std::fs::read_dir(self.data(name).join("shards"))
            .into_iter()
            .flatten()
            .flatten();
        let contents = files.filter_map(|file| std::fs::read(file.path()).ok());
        contents.into_iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    pub(crate) fn router(&self) -> Spawned {
        Spawned::start(
            self.command("router", "router"),
            self.folder.path(),
            "router",
        )
    }

    /// A start that must be refused, in a log of its own.
    pub(crate) fn refused(&self, name: &str, arguments: &[&str]) -> String {
        let command = self.node_command(name, arguments);
        let log = self.folder.path().join("refused.log");
        drop(std::fs::remove_file(log));
        Spawned::start(command, self.folder.path(), "refused").refusal()
    }
}
