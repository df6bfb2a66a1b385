//! What is measured: a server of our own in one process, or a cluster that `scripts/cluster` runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::metric;
use crate::server::{SECRET, Server, cpu_seconds_of};

/// A running deployment.
#[derive(Debug)]
pub(crate) struct Target {
    /// `host:port` for clients, each of a router.
    clients: Vec<String>,
    /// `host:port` of the operations ports that tell of shards.
    operations: Vec<String>,
    /// What tokens are signed with.
    pub(crate) secret: String,
    routers: Vec<u32>,
    nodes: Vec<u32>,
    redis: Vec<Redis>,
    _server: Option<Server>,
}

#[derive(Debug)]
struct Redis {
    pid: u32,
    address: String,
}

/// Processor time in seconds and commands of Redis, so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) routers: f64,
    pub(crate) nodes: f64,
    pub(crate) redis: f64,
    pub(crate) redis_commands: u64,
}

impl Usage {
    /// What was used since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            routers: self.routers - before.routers,
            nodes: self.nodes - before.nodes,
            redis: self.redis - before.redis,
            redis_commands: self.redis_commands.saturating_sub(before.redis_commands),
        }
    }
}

impl Target {
    /// Starts `rookery dev` on a folder of its own.
    pub(crate) async fn start(binary: &Path, arguments: &[String]) -> Result<Self, String> {
        let server = Server::start(binary, arguments).await?;
        Ok(Self {
            clients: vec![server.client.clone()],
            operations: vec![server.operations.clone()],
            secret: SECRET.to_owned(),
            routers: Vec::new(),
            nodes: vec![server.pid()],
            redis: Vec::new(),
            _server: Some(server),
        })
    }

    /// The cluster of `scripts/cluster` in this folder; it must run.
    pub(crate) fn of_cluster(folder: &Path) -> Result<Self, String> {
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path);
            text.map_err(|error| format!("{}: {error}; is the cluster up?", path.display()))
        };
        let ports = read(folder.join("ports"))?;
        let ports: BTreeMap<&str, &str> = ports.lines().filter_map(|line| line.split_once(' ')).collect();
        let mut target = Self {
            clients: Vec::new(),
            operations: Vec::new(),
            secret: read(folder.join("jwt-secret"))?.trim().to_owned(),
            routers: Vec::new(),
            nodes: Vec::new(),
            redis: Vec::new(),
            _server: None,
        };
        for (key, port) in ports {
            let name = key.split('.').next().unwrap_or(key);
            // The folder names every port that could be used; who has no pid was not started.
            let Ok(pid) = read(folder.join(name).join("pid")) else { continue };
            let pid = pid.split_whitespace().next().and_then(|pid| pid.parse().ok());
            let pid: u32 = pid.ok_or_else(|| format!("{name} has a malformed pid"))?;
            let address = format!("127.0.0.1:{port}");
            match key.split_once('.') {
                Some((_, "client")) => {
                    target.clients.push(address);
                    target.routers.push(pid);
                }
                Some((node, "operations")) if node.starts_with("node") => {
                    target.operations.push(address);
                    target.nodes.push(pid);
                }
                None => target.redis.push(Redis { pid, address }),
                Some(_) => {}
            }
        }
        if target.clients.is_empty() || target.operations.is_empty() {
            return Err(format!(
                "no router or no node runs in {}; start them with scripts/cluster up",
                folder.display()
            ));
        }
        Ok(target)
    }

    /// Where a client connects; in turn.
    pub(crate) fn client(&self, number: usize) -> &str {
        self.clients.get(number % self.clients.len().max(1)).map_or("", String::as_str)
    }

    /// Sum of a metric over all nodes.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, String> {
        let mut sum = 0.0;
        for operations in &self.operations {
            sum += metric(operations, name).await?;
        }
        Ok(sum)
    }

    /// What was used so far.
    pub(crate) async fn usage(&self) -> Result<Usage, String> {
        let seconds = |pids: &[u32]| pids.iter().map(|pid| cpu_seconds_of(*pid)).sum::<Result<f64, String>>();
        let servers: Vec<u32> = self.redis.iter().map(|redis| redis.pid).collect();
        let redis_commands = self.of_masters("total_commands_processed:").await?;
        Ok(Usage {
            routers: seconds(&self.routers)?,
            nodes: seconds(&self.nodes)?,
            redis: seconds(&servers)?,
            redis_commands,
        })
    }

    /// Memory in use by all masters, in bytes.
    pub(crate) async fn redis_memory(&self) -> Result<u64, String> {
        self.of_masters("used_memory:").await
    }

    /// Sum of a field of INFO over all masters. What a replica does is its master's work once more and does not count.
    async fn of_masters(&self, field: &str) -> Result<u64, String> {
        let mut sum = 0;
        for redis in &self.redis {
            sum += redis.of_master(field).await?.unwrap_or(0);
        }
        Ok(sum)
    }
}

impl Redis {
    async fn of_master(&self, field: &str) -> Result<Option<u64>, String> {
        let told = |error: std::io::Error| format!("redis {}: {error}", self.address);
        let mut stream = TcpStream::connect(&self.address).await.map_err(told)?;
        stream.write_all(b"INFO\r\nQUIT\r\n").await.map_err(told)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(told)?;
        if text.contains("role:slave") {
            return Ok(None);
        }
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok());
        value.map(Some).ok_or_else(|| format!("redis {} does not tell {field}", self.address))
    }
}
