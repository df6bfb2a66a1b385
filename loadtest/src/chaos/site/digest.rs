//! Replicas compared: at equal offsets they have equal digests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::chaos::clients::World;
use crate::chaos::clients::http::{Call, Client};
use crate::chaos::site::Site;

/// For all replicas of a shard to be at equal offsets, when nothing is written any more.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What one look at the replicas of a shard shows.
enum Look {
    /// So many, and all alike.
    Equal(usize),
    /// Not yet comparable.
    Behind(String),
    /// Different at equal offsets.
    Different(String),
    /// No node tells.
    Untold,
}

/// Compares all shards; one line for the table.
pub(crate) async fn compare(site: &Site, world: &World) -> String {
    let end = Instant::now() + EQUAL_WITHIN;
    let (mut replicas, mut alone) = (0, 0);

    for shard in 0..u64::from(site.plan.shards) {
        loop {
            match look(site, shard).await {
                Look::Equal(count) => {
                    replicas += count;
                    alone += usize::from(count < 2);
                    break;
                }
                Look::Untold => return "replicas' digests: skipped, no node tells any".to_owned(),
                Look::Different(said) => {
                    world
                        .log
                        .wrong("replicas are equal at equal offsets", None, said);
                    break;
                }
                Look::Behind(said) if Instant::now() > end => {
                    world
                        .log
                        .wrong("replicas get to the same offsets", None, said);
                    break;
                }
                Look::Behind(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    format!(
        "replicas' digests: {replicas} replicas of {} shards compared, {alone} shards with one \
         only",
        site.plan.shards
    )
}

async fn look(site: &Site, shard: u64) -> Look {
    let mut told: BTreeMap<String, Value> = BTreeMap::new();

    // One that does not run has nothing to tell.
    for node in site
        .nodes()
        .into_iter()
        .filter(|node| site.pid(node).is_some())
    {
        let Ok(address) = site.address(&format!("{node}.operations")) else {
            continue;
        };
        let path = format!("/shards/{shard}/digest");
        match Client::new(&address, "").call(Call::get(&path)).await {
            Ok(answer) if answer.status == 200 => drop(told.insert(node, answer.body)),
            Ok(_) => {}
            Err(error) => {
                return Look::Behind(format!(
                    "{node} tells no digest of shard {shard}: {error:?}"
                ));
            }
        }
    }

    verdict(shard, &told)
}

fn verdict(shard: u64, told: &BTreeMap<String, Value>) -> Look {
    let mut all = told.iter();
    let Some((first, one)) = all.next() else {
        return Look::Untold;
    };

    for (node, other) in all {
        // Offsets, and the digest of rows; the chain is over the log and belongs to it.
        if offsets(one) != offsets(other) {
            return Look::Behind(format!(
                "shard {shard}: {first} is at {:?}, {node} at {:?}",
                offsets(one),
                offsets(other)
            ));
        }
        if (one.get("digest"), one.get("applied")) != (other.get("digest"), other.get("applied")) {
            return Look::Different(format!(
                "shard {shard}: {first} has {one}, {node} has {other}"
            ));
        }
    }

    Look::Equal(told.len())
}

fn offsets(told: &Value) -> Vec<Option<u64>> {
    let applied = told.get("applied").and_then(Value::as_array);
    applied
        .into_iter()
        .flatten()
        .map(|stream| stream.get("offset").and_then(Value::as_u64))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn digests_are_compared_only_at_equal_offsets() {
        let told = |offset: u64, digest: &str| json!({"shard": 1, "applied": [{"offset": offset, "chain": "a"}, {"offset": 3, "chain": "b"}], "digest": digest});
        let of = |one: Value, other: Value| {
            verdict(
                1,
                &BTreeMap::from([("a".to_owned(), one), ("b".to_owned(), other)]),
            )
        };
        assert!(matches!(of(told(1, "x"), told(1, "x")), Look::Equal(2)));
        assert!(matches!(of(told(1, "x"), told(2, "y")), Look::Behind(_)));
        assert!(matches!(of(told(1, "x"), told(1, "y")), Look::Different(_)));
        assert!(matches!(verdict(1, &BTreeMap::new()), Look::Untold));
    }
}
