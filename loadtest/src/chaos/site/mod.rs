//! The cluster that is broken: real processes in a folder of its own, started by `scripts/cluster`,
//! ended by signals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::chaos::site::further::{FURTHER, Further};
use crate::chaos::site::wires::Wires;

pub(crate) mod backup;

pub(crate) mod digest;

pub(crate) mod disk;

pub(crate) mod further;

pub(crate) mod memory;

pub(crate) mod processes;

pub(crate) mod program;

pub(crate) mod redis;

pub(crate) mod standing;

pub(crate) mod wires;

/// One call of the script; its own deadlines are shorter.
const SCRIPT_WITHIN: Duration = Duration::from_secs(240);

/// How the cluster is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The program.
    pub(crate) binary: PathBuf,
    /// Shards.
    pub(crate) shards: u32,
    /// Further flags of nodes and routers.
    pub(crate) node_flags: String,
    /// Further flags of routers.
    pub(crate) router_flags: String,
    /// Everything is reached through proxies, so that links can be broken.
    pub(crate) wired: bool,
    /// The node whose files are on a disk of their own.
    pub(crate) own_disk: Option<String>,
    /// Set for nodes and routers.
    pub(crate) environment: Vec<(String, String)>,
}

/// The running cluster. Dropping it, or the end of this program however it comes, ends everything
/// in it.
#[derive(Debug)]
pub(crate) struct Site {
    folder: PathBuf,
    plan: Plan,
    ports: BTreeMap<String, u16>,
    /// The proxies, when there are any.
    pub(crate) wires: Option<Wires>,
    further: Further,
    watchdog: Mutex<Option<std::process::Child>>,
}

impl Site {
    /// Starts all of it in a folder that does not exist yet.
    pub(crate) async fn start(folder: &Path, plan: Plan) -> Result<Self, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let watchdog = Mutex::new(Some(watchdog(folder)?));

        let mut site = Self {
            folder: folder.to_owned(),
            plan,
            ports: BTreeMap::new(),
            wires: None,
            further: Further::default(),
            watchdog,
        };

        let binary = site.plan.binary.display().to_string();
        let shards = site.plan.shards.to_string();
        let (node_flags, router_flags) =
            (site.plan.node_flags.clone(), site.plan.router_flags.clone());
        let mut options = vec!["--ports", "free", "--binary", &binary, "--shards", &shards];
        options.extend(["--node-flags", &node_flags, "--router-flags", &router_flags]);
        site.script(&[&options[..], &["prepare"]].concat()).await?;
        site.ports = read_ports(folder)?;
        if site.plan.wired {
            site.wire().await?;
        }

        if let Some(node) = site.plan.own_disk.clone() {
            disk::mount(&site.home(&node).join("data"))?;
        }

        site.script(&["start", "redis", "nodes", "routers"]).await?;
        Ok(site)
    }

    /// Puts a proxy before every port that others connect to, and tells everybody to go there.
    async fn wire(&mut self) -> Result<(), String> {
        let everybody = [self.names(), vec![FURTHER.to_owned()]].concat();
        let wires = Wires::new(self.folder.clone(), everybody);
        let mut seeds = Vec::new();

        for name in self.names() {
            let port = |what: &str| self.port(&format!("{name}{what}"));
            let flags = if name.starts_with("redis") {
                let (port, bus) = (port("")?, port("")? + 10_000);
                let proxy = wires.before(&name, port).await?;
                seeds.push(format!("redis://127.0.0.1:{proxy}"));
                format!(
                    "--cluster-announce-ip 127.0.0.1 --cluster-announce-port {proxy} \
                     --cluster-announce-bus-port {bus}"
                )
            } else if name.starts_with("node") {
                let peer = wires.before(&name, port(".peer")?).await?;
                format!("--advertise-peer 127.0.0.1:{peer}")
            } else {
                continue;
            };
            self.write(&name, "flags", &flags)?;
        }

        self.wires = Some(wires);
        let seeds = seeds.join(",");
        self.script(&["--seeds", &seeds, "prepare"]).await.map(drop)
    }

    /// Writes a file of a process; an empty text removes it.
    pub(crate) fn write(&self, name: &str, file: &str, text: &str) -> Result<(), String> {
        let home = self.home(name);
        let failed = |error: std::io::Error| format!("{}: {error}", home.display());
        std::fs::create_dir_all(&home).map_err(failed)?;
        if text.is_empty() {
            std::fs::remove_file(home.join(file)).ok();
            return Ok(());
        }
        std::fs::write(home.join(file), text).map_err(failed)
    }

    /// Calls the script.
    pub(crate) async fn script(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(script());
        command
            .arg("--folder")
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.envs(
            self.plan
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );

        let output = tokio::time::timeout(SCRIPT_WITHIN, command.output()).await;
        let output = output
            .map_err(|late| format!("scripts/cluster {arguments:?} hangs: {late}"))?
            .map_err(cannot_run)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();

        Err(format!(
            "scripts/cluster {arguments:?}: {}",
            String::from_utf8_lossy(&said).trim()
        ))
    }

    /// The folder of a process.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All processes: servers of Redis, nodes, routers.
    pub(crate) fn names(&self) -> Vec<String> {
        let named = |kind: &'static str, count: usize| {
            (1..=count).map(move |number| format!("{kind}-{number}"))
        };
        named("redis", 6)
            .chain(self.nodes())
            .chain(named("router", 2))
            .collect()
    }

    /// The program.
    pub(crate) fn binary(&self) -> &Path {
        &self.plan.binary
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u64 {
        u64::from(self.plan.shards)
    }

    /// The node on a disk of its own.
    pub(crate) fn own_disk(&self) -> Option<String> {
        self.plan.own_disk.clone()
    }

    /// The nodes that run.
    pub(crate) fn running_nodes(&self) -> Vec<String> {
        self.nodes()
            .into_iter()
            .filter(|node| self.pid(node).is_some())
            .collect()
    }

    /// The nodes: three, and the further one while it is there.
    pub(crate) fn nodes(&self) -> Vec<String> {
        (1..=3)
            .map(|number| format!("node-{number}"))
            .chain(self.further.name())
            .collect()
    }

    /// Where the routers serve clients.
    pub(crate) fn routers(&self) -> Result<Vec<String>, String> {
        (1..=2)
            .map(|number| self.address(&format!("router-{number}.client")))
            .collect()
    }

    /// A port such as `redis-1` or `node-2.operations`.
    pub(crate) fn port(&self, name: &str) -> Result<u16, String> {
        self.ports
            .get(name)
            .copied()
            .ok_or_else(|| format!("there is no port {name}"))
    }

    /// A port with the address of this machine.
    pub(crate) fn address(&self, name: &str) -> Result<String, String> {
        Ok(format!("127.0.0.1:{}", self.port(name)?))
    }

    /// What tokens are signed with.
    pub(crate) fn secret(&self) -> Result<String, String> {
        let path = self.folder.join("jwt-secret");
        let secret = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(secret.trim().to_owned())
    }

    /// Starts what does not run of these, and waits until it serves.
    pub(crate) async fn start_again(&self, names: &[String]) -> Result<(), String> {
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        self.script(&[&["start"], &words[..]].concat())
            .await
            .map(drop)
    }

    /// Waits until all runs and is in step; else what is not.
    pub(crate) async fn whole(&self, within: Duration) -> Result<(), String> {
        let end = Instant::now() + within;
        loop {
            match self.script(&["status"]).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
    }

    /// Ends everything, while its folder is still there.
    pub(crate) fn end(&self) {
        let watchdog = self
            .watchdog
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut watchdog) = watchdog {
            // Its input ends, and it does the rest; it is done when all is gone.
            drop(watchdog.stdin.take());
            watchdog.wait().ok();
        }
    }

    /// Copies what all processes logged.
    pub(crate) fn keep_logs(&self, into: &Path) {
        for name in self.names() {
            std::fs::copy(
                self.home(&name).join("log"),
                into.join(format!("{name}.log")),
            )
            .ok();
        }

        // What is left of nodes that are there no more.
        let entries = std::fs::read_dir(&self.folder);
        for path in entries.into_iter().flatten().flatten().map(|of| of.path()) {
            if path.extension().is_some_and(|ending| ending == "log")
                && let Some(name) = path.file_name()
            {
                std::fs::copy(&path, into.join(name)).ok();
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends everything in the folder when its input ends.
fn watchdog(folder: &Path) -> Result<std::process::Child, String> {
    use std::os::unix::process::CommandExt as _;

    let end = r#"cat >/dev/null; umount -l "$2"/*/data 2>/dev/null; exec "$1" --folder "$2" wipe"#;
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", end, "watchdog"])
        .arg(script())
        .arg(folder);
    // A group of its own: what ends this program from the terminal must not end it.
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
        .spawn()
        .map_err(|error| format!("no watchdog: {error}"))
}

/// What to do when the script itself cannot be started.
fn cannot_run(error: std::io::Error) -> String {
    let script = script();
    format!(
        "cannot run {}: {error}; chaos needs the sources that loadtest was built of",
        script.display()
    )
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster")
}

fn read_ports(folder: &Path) -> Result<BTreeMap<String, u16>, String> {
    let ports = folder.join("ports");
    let text =
        std::fs::read_to_string(&ports).map_err(|error| format!("{}: {error}", ports.display()))?;
    let pair = |line: &str| {
        let (name, port) = line.split_once(' ')?;
        Some((name.to_owned(), port.trim().parse().ok()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}
