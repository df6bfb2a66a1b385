//! What nodes tell of themselves on their operations ports: which shards they own, whether they
//! renew them, and whether each has all its replicas.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chaos::clients::http::{Answer, Call, Client};
use crate::chaos::site::Site;

/// For one answer of an operations port.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A node renews when all its shards were renewed within this time and nothing failed: two rounds
/// at the default of 750 ms.
const ROUNDS: Duration = Duration::from_millis(1_600);
/// Replicas of each shard beside its owner, by default.
const STANDBYS: usize = 1;
/// Shards that are named when they lack something.
const NAMED_MAX: usize = 8;

/// What a node tells of what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The shards that it owns, and their standbys: which, and whether they are in sync.
    pub(crate) owned: BTreeMap<u64, BTreeMap<String, bool>>,
    /// Its live sessions.
    pub(crate) sessions: u64,
}

/// Where the renewals of a node stand.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Leases {
    at: Instant,
    /// Renewals so far, and those that failed.
    renewed: f64,
    failed: f64,
    /// Shards that it owns, and those of them whose lease has ended.
    owned: u64,
    ended: u64,
}

impl Site {
    /// Asks the operations port of a node.
    pub(super) async fn operations(&self, node: &str, path: &str) -> Result<Answer, String> {
        let address = self.address(&format!("{node}.operations"))?;
        let call = Call {
            within: TOLD_WITHIN,
            ..Call::get(path)
        };
        let answer = Client::new(&address, "").call(call).await;
        let answer = answer.map_err(|error| format!("{node} does not answer {path}: {error:?}"))?;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{node} answers {path} with {}", answer.status))
        }
    }

    /// What a node has.
    pub(crate) async fn holding(&self, node: &str) -> Result<Holding, String> {
        let answer = self.operations(node, "/cluster").await?;
        Ok(holding(node, &answer.body))
    }

    async fn leases(&self, node: &str) -> Result<Leases, String> {
        let answer = self.operations(node, "/metrics").await?;
        Ok(leases(&String::from_utf8_lossy(&answer.raw)))
    }

    /// Waits until each of these nodes renews all it owns; how long each took, or which do not and
    /// what they tell.
    pub(crate) async fn renewing(
        &self,
        nodes: &[String],
        within: Duration,
    ) -> Result<BTreeMap<String, Duration>, String> {
        let begun = Instant::now();
        let mut looks: BTreeMap<&String, Vec<Leases>> = BTreeMap::new();
        let (mut done, mut last) = (BTreeMap::new(), BTreeMap::new());

        loop {
            for node in nodes {
                if done.contains_key(node) {
                    continue;
                }
                match self.leases(node).await {
                    Ok(now) => {
                        let before = looks.entry(node).or_default();
                        before.push(now);
                        if before
                            .iter()
                            .any(|earlier| now.at >= earlier.at + ROUNDS && renews(earlier, &now))
                        {
                            done.insert(node.clone(), begun.elapsed());
                        }
                        last.insert(node, format!("{now:?}"));
                    }
                    Err(error) => drop(last.insert(node, error)),
                }
            }
            if done.len() == nodes.len() {
                return Ok(done);
            }
            if begun.elapsed() > within {
                let late = last
                    .into_iter()
                    .filter(|(node, _)| !done.contains_key(*node));
                let late: Vec<String> =
                    late.map(|(node, said)| format!("{node}: {said}")).collect();
                return Err(format!(
                    "within {within:?} not renewed by {}",
                    late.join("; ")
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until each shard has one owner, and all its replicas in sync; how long it took, or
    /// what is missing.
    pub(crate) async fn in_sync(
        &self,
        nodes: &[String],
        within: Duration,
    ) -> Result<Duration, String> {
        let begun = Instant::now();
        loop {
            let mut told = BTreeMap::new();
            let mut silent = Vec::new();
            for node in nodes {
                match self.holding(node).await {
                    Ok(holding) => drop(told.insert(node.clone(), holding)),
                    Err(error) => silent.push(error),
                }
            }
            silent.extend(lacking(self.shards(), &told));
            if silent.is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > within {
                let count = silent.len();
                silent.truncate(NAMED_MAX);
                return Err(format!(
                    "{count} lack something after {within:?}: {}",
                    silent.join("; ")
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Reads `/cluster` of a node. What owners tell is null where they are not.
fn holding(node: &str, cluster: &Value) -> Holding {
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64);
    let sessions = cluster
        .get("nodes")
        .and_then(|nodes| nodes.get(node))
        .and_then(|own| number(own, "sessions"));
    let shards = cluster.get("shards").and_then(Value::as_array);
    let standby = |one: &Value| {
        Some((
            one.get("node")?.as_str()?.to_owned(),
            one.get("in_sync")?.as_bool()?,
        ))
    };

    let owned = |shard: &Value| {
        number(shard, "epoch")?;
        let standbys = shard.get("standbys").and_then(Value::as_array);
        Some((
            number(shard, "shard")?,
            standbys.into_iter().flatten().filter_map(standby).collect(),
        ))
    };

    Holding {
        owned: shards.into_iter().flatten().filter_map(owned).collect(),
        sessions: sessions.unwrap_or(0),
    }
}

/// Which shards lack something.
fn lacking(shards: u64, told: &BTreeMap<String, Holding>) -> Vec<String> {
    let lack = |shard: u64| {
        let owners: Vec<(&String, &BTreeMap<String, bool>)> = told
            .iter()
            .filter_map(|(node, holding)| Some((node, holding.owned.get(&shard)?)))
            .collect();
        match owners.as_slice() {
            [] => Some(format!("nobody owns shard {shard}")),
            [(_, standbys)]
                if standbys.values().filter(|in_sync| **in_sync).count() >= STANDBYS =>
            {
                None
            }
            [(owner, standbys)] => Some(format!("shard {shard} of {owner} has {standbys:?}")),
            several => Some(format!(
                "shard {shard} has the owners {:?}",
                several.iter().map(|(node, _)| node).collect::<Vec<_>>()
            )),
        }
    };
    (0..shards).filter_map(lack).collect()
}

/// Whether all that a node owns was renewed between two looks, and nothing failed.
fn renews(earlier: &Leases, now: &Leases) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "few shards")]
    let owned = now.owned as f64;
    now.ended == 0 && now.failed <= earlier.failed && now.renewed - earlier.renewed >= owned
}

/// Reads the metrics of a node.
fn leases(text: &str) -> Leases {
    let mut told = Leases {
        at: Instant::now(),
        renewed: 0.0,
        failed: 0.0,
        owned: 0,
        ended: 0,
    };
    let mut epochs: BTreeMap<&str, f64> = BTreeMap::new();
    let mut left: BTreeMap<&str, f64> = BTreeMap::new();

    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let Some((metric, labels)) = name.split_once('{') else {
            continue;
        };
        match metric {
            "rookery_node_lease_renewals_total" if labels.contains("result=\"renewed\"") => {
                told.renewed += value
            }
            "rookery_node_lease_renewals_total" if labels.contains("result=\"failed\"") => {
                told.failed += value
            }
            "rookery_shard_epoch" => drop(epochs.insert(labels, value)),
            "rookery_shard_lease_seconds" => drop(left.insert(labels, value)),
            _ => {}
        }
    }

    for (shard, _) in epochs.into_iter().filter(|(_, epoch)| *epoch > 0.0) {
        told.owned += 1;
        told.ended += u64::from(left.get(shard).is_some_and(|left| *left <= 0.0));
    }

    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(shards: &[Value]) -> Value {
        json!({"nodes": {"node-1": {"sessions": 7}, "node-2": {"sessions": null}}, "shards": shards})
    }

    #[test]
    fn a_shard_lacks_something_unless_one_node_owns_it_with_a_standby_in_sync() {
        let shard = |number: u64, in_sync: bool| json!({"shard": number, "epoch": 3, "standbys": [{"node": "node-2", "in_sync": in_sync}]});
        let first = holding(
            "node-1",
            &cluster(&[
                shard(0, true),
                shard(1, false),
                json!({"shard": 2, "epoch": null}),
            ]),
        );

        assert_eq!(first.sessions, 7);
        assert_eq!(first.owned.len(), 2);

        let told = BTreeMap::from([("node-1".to_owned(), first.clone())]);
        assert_eq!(lacking(1, &told), Vec::<String>::new());

        let lack = lacking(3, &told);
        assert!(
            lack[0].starts_with("shard 1 of node-1") && lack[1] == "nobody owns shard 2",
            "{lack:?}"
        );

        let both = BTreeMap::from([
            ("node-1".to_owned(), first.clone()),
            ("node-2".to_owned(), first),
        ]);

        assert!(
            lacking(1, &both)[0].contains("owners"),
            "one that was taken is kept"
        );
    }

    #[test]
    fn a_node_renews_when_all_its_shards_were_renewed_and_none_failed() {
        let text = |renewed: u64, failed: u64, lease: &str| {
            format!(
                "# HELP x\nrookery_node_lease_renewals_total{{node=\"n\",result=\"renewed\"}} {renewed}\n\
                 rookery_node_lease_renewals_total{{node=\"n\",result=\"failed\"}} {failed}\n\
                 rookery_shard_epoch{{shard=\"3\"}} 2\nrookery_shard_epoch{{shard=\"4\"}} 0\n\
                 rookery_shard_lease_seconds{{shard=\"3\"}} {lease}\nrookery_shard_lease_seconds{{shard=\"4\"}} 0\n"
            )
        };
        let before = leases(&text(10, 1, "2.5"));
        assert_eq!((before.owned, before.ended), (1, 0));
        assert!(renews(&before, &leases(&text(11, 1, "2.5"))));
        assert!(
            !renews(&before, &leases(&text(10, 1, "2.5"))),
            "nothing was renewed"
        );
        assert!(
            !renews(&before, &leases(&text(11, 2, "2.5"))),
            "some failed"
        );
        assert!(
            !renews(&before, &leases(&text(11, 1, "0"))),
            "a lease has ended"
        );
    }
}
