//! A `rookery dev` of this run's own, in a process and a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::dial::Endpoint;
use crate::client::tokens::Source;
use crate::target::{Found, Operations};

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(15);
/// The secret that tokens are made with here.
const SECRET: &str = "a secret for load tests only, never for anything else";

/// The process; it is ended with this value.
#[derive(Debug)]
pub(crate) struct Dev {
    child: Child,
    folder: tempfile::TempDir,
}

impl Dev {
    /// Starts the program and waits until it serves.
    pub(crate) async fn start(binary: Option<PathBuf>, arguments: &[String]) -> Result<(Self, Found), String> {
        let binary = binary.map_or_else(built_beside_this_program, Ok)?;
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let ready = folder.path().join("ready.json");
        let log = std::fs::File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let child = Command::new(&binary)
            .args(["dev", "--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .env("ROOKERY_JWT_SECRET", SECRET)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        let mut dev = Self { child, folder };
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            if let Some((client, port)) = read_ready(&ready) {
                let endpoint = Endpoint::plain(&port)?;
                let operations = Operations { name: "dev".to_owned(), endpoint, pid: Some(dev.child.id()) };
                let found = Found {
                    clients: vec![Endpoint::plain(&client)?],
                    operations: vec![operations],
                    redis: Vec::new(),
                    tokens: Source::Secret(SECRET.to_owned()),
                };
                return Ok((dev, found));
            }
            if let Ok(Some(status)) = dev.child.try_wait() {
                return Err(format!("{} ended at once, {status}: {}", binary.display(), dev.last_words()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{} was not ready in {START_MAX:?}: {}", binary.display(), dev.last_words()))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.trim().lines().last().unwrap_or("it said nothing").to_owned()
    }
}

/// Returns where the `rookery` of the same build is, if it was built.
pub(crate) fn beside_this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("rookery")
}

fn built_beside_this_program() -> Result<PathBuf, String> {
    let binary = beside_this_program();
    if binary.exists() {
        return Ok(binary);
    }
    Err(format!("there is no {}: build it (`cargo build --release`), or give --binary", binary.display()))
}

fn read_ready(path: &Path) -> Option<(String, String)> {
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some((ready.get("client")?.as_str()?.to_owned(), ready.get("operations")?.as_str()?.to_owned()))
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
