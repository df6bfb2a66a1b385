//! The server under test, in processes of its own, and what the kernel says of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::client::metric;

/// How long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The secret that tokens are made with here.
pub(crate) const SECRET: &str = "a secret for load tests only, never for anything else";

/// What is measured: a `rookery dev` that was started for it, or what `scripts/cluster` has running.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    _folder: Option<tempfile::TempDir>,
    /// `host:port` for clients, of each router.
    pub(crate) clients: Vec<String>,
    /// `host:port` for operations, of each process.
    pub(crate) operations: Vec<String>,
    /// `host:port` of each server of Redis.
    pub(crate) redis: Vec<String>,
    /// What tokens are signed with.
    pub(crate) secret: String,
    processes: Vec<(Part, u32)>,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Router and nodes in one.
    Dev,
    /// A router.
    Router,
    /// A node.
    Node,
    /// A server of Redis.
    Redis,
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
        let mut server = Self {
            processes: vec![(Part::Dev, child.id())],
            child: Some(child),
            _folder: Some(folder),
            clients: Vec::new(),
            operations: Vec::new(),
            redis: Vec::new(),
            secret: SECRET.to_owned(),
        };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some((client, operations)) = read_ready(&ready) {
                server.clients.push(client);
                server.operations.push(operations);
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the server did not get ready".to_owned())
    }

    /// What runs in a folder of `scripts/cluster`; it is neither started nor stopped here.
    pub(crate) fn running(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut server = Self {
            child: None,
            _folder: None,
            clients: Vec::new(),
            operations: Vec::new(),
            redis: Vec::new(),
            secret: read("jwt-secret")?.trim().to_owned(),
            processes: Vec::new(),
        };
        for line in read("ports")?.lines() {
            let Some((name, port)) = line.split_once(' ') else { continue };
            let (process, what) = name.split_once('.').unwrap_or((name, ""));
            // Ports are chosen for more processes than there are.
            let Ok(pid) = read(&format!("{process}/pid")) else { continue };
            let pid = pid.split(' ').next().and_then(|pid| pid.parse().ok()).ok_or("a pid file without a number")?;
            let address = format!("127.0.0.1:{port}");
            let part = match (process.split('-').next(), what) {
                (Some("router"), "client") => {
                    server.clients.push(address);
                    Part::Router
                }
                (Some("node"), "http") => Part::Node,
                (Some("redis"), _) => {
                    server.redis.push(address);
                    Part::Redis
                }
                (_, "operations") => {
                    server.operations.push(address);
                    continue;
                }
                _ => continue,
            };
            server.processes.push((part, pid));
        }
        if server.clients.is_empty() { Err(format!("no router runs in {}", folder.display())) } else { Ok(server) }
    }

    /// Where this client connects: they take the routers in turn.
    pub(crate) fn client(&self, number: usize) -> Result<&str, String> {
        self.clients.get(number % self.clients.len().max(1)).map(String::as_str).ok_or_else(|| "no router".to_owned())
    }

    /// CPU seconds used so far by these processes, user and system, all threads.
    pub(crate) fn cpu_seconds(&self, part: Part) -> Result<f64, String> {
        self.processes.iter().filter(|(of, _)| *of == part).map(|(_, pid)| cpu_seconds_of(*pid)).sum()
    }

    /// Sum of a metric over all processes and labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, String> {
        let mut sum = 0.0;
        for operations in &self.operations {
            sum += metric(operations, name).await?;
        }
        Ok(sum)
    }

    /// Resident memory in bytes, of all of Rookery.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        let rookery = self.processes.iter().filter(|(part, _)| *part != Part::Redis);
        rookery.map(|(_, pid)| resident_bytes_of(*pid)).sum()
    }
}

fn resident_bytes_of(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| format!("{path} has no VmRSS"))
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
        let Some(child) = &mut self.child else { return };
        if let Ok(pid) = i32::try_from(child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().ok();
        child.wait().ok();
    }
}
