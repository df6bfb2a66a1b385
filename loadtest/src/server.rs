//! The server under test, in a process of its own, and what the kernel says of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The secret that tokens are made with here.
pub(crate) const SECRET: &str = "a secret for load tests only, never for anything else";

/// A running `rookery dev` on a folder of its own.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `host:port` for clients.
    pub(crate) client: String,
    /// `host:port` for operations.
    pub(crate) operations: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts the binary and waits until it serves.
    pub(crate) async fn start(binary: &Path, arguments: &[String]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let ready = folder.path().join("ready.json");
        let child = Command::new(binary)
            .args(["dev", "--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .env("ROOKERY_JWT_SECRET", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        let mut server = Self { child, client: String::new(), operations: String::new(), _folder: folder };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = read_ready(&ready) {
                (server.client, server.operations) = found;
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the server did not get ready".to_owned())
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| format!("{path} has no VmRSS"))
    }
}

/// CPU seconds of a process (fields 14 and 15 of `/proc/PID/stat`).
pub(crate) fn cpu_seconds_of(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u32 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|rate| u32::try_from(rate).ok());
    Ok(f64::from(ticks) / f64::from(per_second.unwrap_or(100)))
}

fn read_ready(path: &PathBuf) -> Option<(String, String)> {
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some((ready.get("client")?.as_str()?.to_owned(), ready.get("operations")?.as_str()?.to_owned()))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
