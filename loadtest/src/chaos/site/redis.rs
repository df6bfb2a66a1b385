//! The servers of Redis, asked and told past Rookery.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::chaos::site::Site;

/// For one command.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6);
/// For a replica to be promoted.
pub(crate) const PROMOTED_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two keys of a slot that moves, so that there are appends with keys on either side.
const BETWEEN_KEYS: Duration = Duration::from_millis(200);

impl Site {
    /// One command to one server.
    pub(crate) async fn redis(&self, name: &str, words: &[&str]) -> Result<String, String> {
        let port = self.port(name)?.to_string();
        let mut command = Command::new("redis-cli");
        command
            .args(["-p", &port])
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(ANSWERED_WITHIN, command.output()).await;

        let output = output
            .map_err(|late| format!("{name} does not answer {words:?}: {late}"))?
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let failed = !output.status.success()
            || ["ERR", "MOVED", "ASK", "READONLY", "LOADING"]
                .iter()
                .any(|word| said.starts_with(word));
        if failed {
            Err(format!(
                "{name} {words:?}: {said} {}",
                String::from_utf8_lossy(&output.stderr)
            ))
        } else {
            Ok(said)
        }
    }

    /// Servers that are masters now, or replicas.
    pub(crate) async fn servers(&self, masters: bool) -> Vec<String> {
        let role = if masters { "role:master" } else { "role:slave" };
        let mut found = Vec::new();
        for name in (1..=6).map(|number| format!("redis-{number}")) {
            if self.pid(&name).is_some()
                && self
                    .redis(&name, &["INFO", "replication"])
                    .await
                    .is_ok_and(|said| said.contains(role))
            {
                found.push(name);
            }
        }
        found
    }

    /// How many keys a server has; none when it does not answer.
    pub(crate) async fn keys(&self, name: &str) -> u64 {
        self.redis(name, &["DBSIZE"])
            .await
            .ok()
            .and_then(|said| said.parse().ok())
            .unwrap_or(0)
    }

    /// Makes a replica take over from its master, as an operator does; returns when it is the
    /// master.
    pub(crate) async fn fail_over(&self, replica: &str) -> Result<(), String> {
        let end = Instant::now() + PROMOTED_WITHIN;
        self.redis(replica, &["CLUSTER", "FAILOVER"]).await?;
        self.promoted(replica, end).await
    }

    /// Waits until a server is a master.
    pub(crate) async fn promoted(&self, replica: &str, end: Instant) -> Result<(), String> {
        while Instant::now() < end {
            let said = self
                .redis(replica, &["INFO", "replication"])
                .await
                .unwrap_or_default();
            if said.contains("role:master") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("{replica} was not promoted"))
    }

    /// Ends all connections of clients to a server, of replicas none; how many there were.
    pub(crate) async fn end_clients(&self, name: &str) -> Result<u64, String> {
        let said = self
            .redis(name, &["CLIENT", "KILL", "TYPE", "normal"])
            .await?;
        said.trim_start_matches("(integer) ")
            .parse()
            .map_err(|error| format!("{name}: {said}: {error}"))
    }

    /// The replica of a master.
    pub(crate) async fn replica_of(&self, master: &str) -> Option<String> {
        let id = self.redis(master, &["CLUSTER", "MYID"]).await.ok()?;
        for replica in self.servers(false).await {
            let nodes = self
                .redis(&replica, &["CLUSTER", "NODES"])
                .await
                .unwrap_or_default();
            let own = nodes.lines().find(|line| line.contains("myself"));
            if own.is_some_and(|line| line.contains(&id)) {
                return Some(replica);
            }
        }
        None
    }

    /// The master that has a shard, and the slot of the shard's keys.
    pub(crate) async fn master_of(&self, shard: u64) -> Result<(String, String), String> {
        let key = format!("{{rk:s{shard}}}:ctl");
        let masters = self.servers(true).await;
        let any = masters.first().ok_or("there is no master")?;
        let slot = self.redis(any, &["CLUSTER", "KEYSLOT", &key]).await?;
        for master in masters {
            let count = self
                .redis(&master, &["CLUSTER", "COUNTKEYSINSLOT", &slot])
                .await;
            if count.is_ok_and(|count| count != "0") {
                return Ok((master, slot));
            }
        }
        Err(format!("no master has keys of shard {shard}"))
    }

    /// Moves the slot of a shard to another master, key by key, while it is written to.
    pub(crate) async fn migrate(&self, shard: u64) -> Result<String, String> {
        let (from, slot) = self.master_of(shard).await?;
        let masters = self.servers(true).await;
        let to = masters
            .iter()
            .find(|name| **name != from)
            .ok_or("there is no other master")?;
        let (from_id, to_id) = (
            self.redis(&from, &["CLUSTER", "MYID"]).await?,
            self.redis(to, &["CLUSTER", "MYID"]).await?,
        );

        self.redis(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])
            .await?;
        self.redis(&from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
            .await?;
        let port = self.port(to)?.to_string();

        let keys = self
            .redis(&from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"])
            .await?;
        for key in keys.lines().filter(|key| !key.is_empty()) {
            self.redis(&from, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
                .await?;
            tokio::time::sleep(BETWEEN_KEYS).await;
        }

        // Replicas refuse; they hear of it from the masters.
        for name in [to, &from].into_iter().chain(masters.iter()) {
            self.redis(name, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])
                .await
                .ok();
        }

        Ok(format!("slot {slot} of shard {shard} from {from} to {to}"))
    }
}
