//! A node beside the three: it joins while the cluster runs, and leaves for good.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::chaos::site::Site;
use crate::chaos::site::processes::GONE_WITHIN;

/// Its name.
pub(crate) const FURTHER: &str = "node-4";
/// How many nodes there are with it, and without.
const WITH: &str = "4";
const WITHOUT: &str = "3";

/// Whether it is there, and what is kept of it.
#[derive(Debug, Default)]
pub(crate) struct Further {
    is_there: AtomicBool,
    /// How often it has left.
    left: AtomicU32,
    /// The port of the proxy before it.
    proxy: OnceCell<u16>,
}

/// What the table says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Whether the table knows it at all.
    pub(crate) known: bool,
    /// Rows that name it.
    pub(crate) rows: usize,
}

impl Further {
    /// Its name, while it is there.
    pub(crate) fn name(&self) -> Option<String> {
        self.is_there
            .load(Ordering::Relaxed)
            .then(|| FURTHER.to_owned())
    }
}

impl Site {
    /// Starts the further node with an empty folder, and with these flags of its own.
    pub(crate) async fn join(&self, flags: &str) -> Result<(), String> {
        let mut flags = flags.to_owned();
        if let Some(wires) = &self.wires {
            let port = self.port(&format!("{FURTHER}.peer"))?;
            let proxy = &self.further.proxy;
            let proxy = proxy
                .get_or_try_init(|| wires.before(FURTHER, port))
                .await?;
            flags = format!("{flags} --advertise-peer 127.0.0.1:{proxy}");
        }
        self.write(FURTHER, "flags", flags.trim())?;

        self.script(&["--nodes", WITH, "start", FURTHER]).await?;
        self.further.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Stops the further node, which has nothing any more, and removes its folder.
    pub(crate) async fn part(&self) -> Result<(), String> {
        self.stop(FURTHER).await?;
        self.further.is_there.store(false, Ordering::Relaxed);

        let home = self.home(FURTHER);
        exit_written(&home).await;
        let number = self.further.left.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = |error: std::io::Error| format!("{}: {error}", home.display());
        std::fs::rename(
            home.join("log"),
            self.folder.join(format!("{FURTHER}.{number}.log")),
        )
        .map_err(failed)?;
        std::fs::remove_dir_all(&home).map_err(failed)?;
        self.script(&["--nodes", WITHOUT, "prepare"])
            .await
            .map(drop)
    }

    /// What the table says of a node, as the first of the others tells it that answers.
    pub(crate) async fn named(&self, node: &str) -> Result<Named, String> {
        let mut silent = Vec::new();
        for other in self.running_nodes().into_iter().filter(|of| of != node) {
            match self.operations(&other, "/cluster").await {
                Ok(answer) => return Ok(named(&answer.body, node)),
                Err(error) => silent.push(error),
            }
        }
        Err(format!("nobody tells the table: {}", silent.join("; ")))
    }
}

/// Waits until it is written down how a process ended; nothing is written to its folder after that.
async fn exit_written(home: &Path) {
    let end = Instant::now() + GONE_WITHIN;
    while !home.join("exit").exists() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads what `/cluster` says of a node.
fn named(cluster: &Value, node: &str) -> Named {
    let shards = cluster.get("shards").and_then(Value::as_array);
    let is_named = |shard: &&Value| {
        let standbys = shard.get("standby").and_then(Value::as_array);
        let mut row = standbys.into_iter().flatten().chain(shard.get("owner"));
        row.any(|of| of.as_str() == Some(node))
    };
    Named {
        known: cluster
            .get("nodes")
            .is_some_and(|nodes| nodes.get(node).is_some()),
        rows: shards.into_iter().flatten().filter(is_named).count(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_names_a_node_as_its_owner_or_as_a_standby() {
        let cluster = json!({"nodes": {"node-1": {}, "node-4": {}}, "shards": [
            {"owner": "node-4", "standby": ["node-1"]},
            {"owner": "node-1", "standby": ["node-2", "node-4"]},
            {"owner": null, "standby": []},
        ]});
        let of = |node: &str| {
            let Named { known, rows } = named(&cluster, node);
            (known, rows)
        };
        assert_eq!(of("node-4"), (true, 2));
        assert_eq!(of("node-2"), (false, 1));
        assert_eq!(of("node-3"), (false, 0));
    }
}
