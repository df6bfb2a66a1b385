//! `rookery backup` and `rookery restore` of the real binary.
#![allow(
    dead_code,
    reason = "compiled for every test target; each uses its part of it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Fields;
use crate::support::server::Server;

/// The folder of a backup.
pub(crate) struct Backup {
    folder: TempDir,
}

/// What `rookery backup --json` told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// The state of each shard, in order.
    pub(crate) states: Vec<String>,
    /// What it said on standard error.
    pub(crate) error: String,
}

impl Told {
    /// How many shards are in this state.
    pub(crate) fn count(&self, state: &str) -> usize {
        self.states.iter().filter(|of| *of == state).count()
    }
}

/// The binary, away from the environment of whoever runs the tests.
pub(crate) fn rookery(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command
        .env_clear()
        .current_dir(std::env::temp_dir())
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// What a command said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Backup {
    /// No backup yet.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Its manifest.
    pub(crate) fn manifest(&self) -> Value {
        let text = std::fs::read(self.path().join("manifest.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["manifest"].clone()
    }

    /// The file of a shard.
    pub(crate) fn file(&self, shard: usize) -> PathBuf {
        self.path()
            .join(self.manifest()["files"][shard].text("file"))
    }

    /// The command that copies a server.
    pub(crate) fn command(&self, server: &Server, more: &[&str]) -> Command {
        let mut command = rookery(&["backup", "--json"]);
        command.arg("--to").arg(self.path()).args(more);
        match server {
            Server::One(process) => {
                command.args(["--operations", &format!("http://{}", process.operations())]);
                command.arg("--data").arg(process.data());
            }
            Server::Many(cluster) => {
                command.arg("--cluster").arg(cluster.folder());
            }
        }
        command
    }

    /// Copies a server.
    pub(crate) async fn take(&self, server: &Server, more: &[&str]) -> Told {
        let mut command = tokio::process::Command::from(self.command(server, more));
        told(&command.kill_on_drop(true).output().await.unwrap())
    }

    /// Copies a server, which succeeds. The state of each shard.
    pub(crate) async fn whole(&self, server: &Server) -> Told {
        let told = self.take(server, &[]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        told
    }

    /// Looks whether it is well.
    pub(crate) fn verify(&self) -> Output {
        rookery(&["backup", "verify"])
            .arg(self.path())
            .output()
            .unwrap()
    }

    /// Writes a data folder of it.
    pub(crate) fn restore(&self, data: &Path, more: &[&str]) -> Output {
        rookery(&["restore"])
            .arg("--from")
            .arg(self.path())
            .arg("--data")
            .arg(data)
            .args(more)
            .output()
            .unwrap()
    }

    /// The same, which succeeds. What it said.
    pub(crate) fn restored(&self, data: &Path, more: &[&str]) -> String {
        let output = self.restore(data, more);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a backup told in lines of JSON.
pub(crate) fn told(output: &Output) -> Told {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    // Of the last line there is one for all.
    let of_shards = lines.filter(|line| line["shard"].is_u64() && line["state"] != "copying");
    let states: BTreeMap<u64, String> = of_shards
        .map(|line| (line.number("shard"), line.text("state").to_owned()))
        .collect();
    let states = states.into_values().collect();
    Told {
        code: output.status.code(),
        states,
        error: said(output),
    }
}
