//! Which node has what, as the operations ports tell it; and names of users and conversations at a
//! node of one's choice.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use rookery::cluster::map::ShardMap;
use rookery::ids::Slot;
use serde_json::Value;

use crate::support::client::{Answer, Client};
use crate::support::cluster::Cluster;
use crate::support::server::Server;
use crate::support::{Fields as _, eventually, unique};

/// The nodes of a deployment.
const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// The answer of the operations port of a process, if there is one.
pub(super) async fn operations(cluster: &Cluster, name: &str, path: &str) -> Option<Answer> {
    let operator =
        Client::new(cluster.port(&format!("{name}.operations")), "operator").with_token(None);
    operator
        .try_call(Method::GET, path, &[], Bytes::new())
        .await
        .ok()
}

/// The rows of the table, owners first, as whoever answers tells them.
pub(super) async fn rows(server: &Server) -> Vec<Vec<String>> {
    for operator in server.operators() {
        let Ok(answer) = operator
            .try_call(Method::GET, "/cluster", &[], Bytes::new())
            .await
        else {
            continue;
        };
        return rows_of(&answer.json());
    }
    panic!("nobody tells the table")
}

/// The rows of the table in `/cluster`.
pub(super) fn rows_of(cluster: &Value) -> Vec<Vec<String>> {
    let name = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |shard: &Value| {
        std::iter::once(&shard["owner"])
            .chain(shard.list("standby"))
            .map(name)
            .collect()
    };
    cluster.list("shards").iter().map(row).collect()
}

/// The shard of a name, where there are so many.
pub(super) fn shard_of(name: &str, shards: usize) -> usize {
    let map = ShardMap::new(u32::try_from(shards).unwrap()).unwrap();
    usize::from(map.shard_of(Slot::of(name.as_bytes())).0)
}

/// So many new names whose shards this node owns.
pub(super) fn names_at(
    rows: &[Vec<String>],
    prefix: &str,
    node: &str,
    count: usize,
) -> Vec<String> {
    let owned = |name: &String| rows[shard_of(name, rows.len())][0] == node;
    assert!(
        rows.iter().any(|row| row[0] == node),
        "{node} owns nothing: {rows:?}"
    );
    std::iter::repeat_with(|| unique(prefix))
        .filter(owned)
        .take(count)
        .collect()
}

/// The node that owns the most shards: one that owns nothing is not missed.
pub(super) fn largest(rows: &[Vec<String>]) -> String {
    let mut owned: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter()
        .for_each(|row| *owned.entry(&row[0]).or_default() += 1);
    owned
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .unwrap()
        .0
        .to_owned()
}

/// Waits until every shard is owned and has a standby in sync, as their owners tell.
pub(super) async fn whole(cluster: &Cluster) {
    let paired = |shard: &&Value| {
        let standbys = shard["standbys"].as_array().into_iter().flatten();
        shard["epoch"].is_u64()
            && standbys
                .filter(|standby| standby["in_sync"] == true)
                .count()
                > 0
    };
    eventually("every shard has a standby in sync", || async {
        let (mut whole, mut shards) = (0, 0);
        for node in NODES {
            let told = operations(cluster, node, "/cluster").await?.json();
            shards = told.list("shards").len();
            whole += told.list("shards").iter().filter(paired).count();
        }
        (whole == shards).then_some(())
    })
    .await;
}
