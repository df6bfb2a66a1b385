//! Whom a fault hits: somebody who matters, and what that one had. A fault that hits nobody shows
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::chaos::faults::Field;
use crate::chaos::random::Random;
use crate::chaos::site::standing::Holding;

impl Field {
    /// What each node that runs has.
    pub(super) async fn holdings(&self) -> BTreeMap<String, Holding> {
        let mut told = BTreeMap::new();
        for node in self.site.running_nodes() {
            // One that does not answer has nothing that could be shown.
            let holding = self.site.holding(&node).await.unwrap_or_default();
            told.insert(node, holding);
        }
        told
    }

    /// So many different nodes, the first of which owns a good part of the shards: nothing gives a
    /// node its shards back, so that one that was killed may own none.
    pub(super) async fn nodes(
        &self,
        random: &mut Random,
        count: usize,
    ) -> Result<Vec<String>, String> {
        chosen(&self.holdings().await, random, count)
    }

    /// An owner, and a node that stands by for some of its shards, in sync.
    pub(super) async fn owner_and_standby(
        &self,
        random: &mut Random,
    ) -> Result<(String, String), String> {
        let holdings = self.holdings().await;
        let pairs: BTreeSet<(String, String)> = holdings
            .into_iter()
            .flat_map(|(owner, holding)| {
                let standbys = holding
                    .owned
                    .into_values()
                    .flatten()
                    .filter(|(_, in_sync)| *in_sync);
                standbys
                    .map(move |(standby, _)| (owner.clone(), standby))
                    .collect::<Vec<_>>()
            })
            .collect();
        let pairs: Vec<_> = pairs.into_iter().collect();

        random
            .pick(&pairs)
            .cloned()
            .ok_or_else(|| "no node stands by for another".to_owned())
    }

    /// A master that has keys, or a replica that has.
    pub(super) async fn server(&self, random: &mut Random, master: bool) -> Result<String, String> {
        let mut with_keys = Vec::new();
        for server in self.site.servers(master).await {
            if self.site.keys(&server).await > 0 {
                with_keys.push(server);
            }
        }
        let kind = if master { "master" } else { "replica" };
        random
            .pick(&with_keys)
            .cloned()
            .ok_or_else(|| format!("no {kind} of Redis has anything"))
    }

    /// What these have, in words.
    pub(super) async fn had(&self, names: &[String]) -> String {
        let mut all = Vec::new();
        for name in names {
            let has = if name.starts_with("node") {
                let Holding { owned, sessions } = self.site.holding(name).await.unwrap_or_default();
                let standing = self.stood_by(name).await;
                format!(
                    "{} shards owned, {standing} stood by for, {sessions} sessions",
                    owned.len()
                )
            } else if name.starts_with("redis") {
                let master = self.site.servers(true).await.contains(name);
                let kind = if master { "master" } else { "replica" };
                format!("{kind} of {} keys", self.site.keys(name).await)
            } else {
                "half of the clients".to_owned()
            };
            all.push(format!("{name} ({has})"));
        }

        all.join(", ")
    }

    /// For how many shards a node stands by in sync, as their owners tell.
    async fn stood_by(&self, node: &str) -> usize {
        let holdings = self.holdings().await;
        let shards = holdings.values().flat_map(|holding| holding.owned.values());
        shards
            .filter(|standbys| standbys.get(node).is_some_and(|in_sync| *in_sync))
            .count()
    }

    /// The node that stands by for the most shards.
    pub(super) async fn standby(&self) -> Result<String, String> {
        let mut most = (0, None);
        for node in self.site.running_nodes() {
            let standing = self.stood_by(&node).await;
            if standing > most.0 {
                most = (standing, Some(node));
            }
        }
        most.1
            .ok_or_else(|| "no node stands by for anything".to_owned())
    }
}

fn chosen(
    holdings: &BTreeMap<String, Holding>,
    random: &mut Random,
    count: usize,
) -> Result<Vec<String>, String> {
    let owned = |holding: &Holding| holding.owned.len();
    let most = holdings.values().map(owned).max().unwrap_or(0);

    // A third of what the largest has is much.
    let worthy = holdings
        .iter()
        .filter(|(_, holding)| owned(holding) > 0 && owned(holding) * 3 >= most);
    let worthy: Vec<&String> = worthy.map(|(node, _)| node).collect();
    let first = random
        .pick(&worthy)
        .copied()
        .ok_or("no node owns anything")?;
    let mut nodes = vec![first.clone()];
    let mut others: Vec<&String> = holdings.keys().filter(|node| *node != first).collect();

    while nodes.len() < count {
        let Some(next) = random.pick(&others).copied() else {
            break;
        };
        others.retain(|node| *node != next);
        nodes.push(next.clone());
    }

    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_owns_nothing_is_never_the_one_that_a_fault_is_for() {
        let owns = |count: u64| Holding {
            owned: (0..count).map(|shard| (shard, BTreeMap::new())).collect(),
            sessions: 1,
        };
        let holdings = BTreeMap::from([
            ("node-1".to_owned(), owns(0)),
            ("node-2".to_owned(), owns(10)),
            ("node-3".to_owned(), owns(200)),
        ]);
        let mut random = Random::new(3);

        for _ in 0..50 {
            let nodes = chosen(&holdings, &mut random, 2).unwrap();
            assert_eq!((nodes[0].as_str(), nodes.len()), ("node-3", 2));
            assert_ne!(nodes[0], nodes[1]);
        }

        let nothing = BTreeMap::from([("node-1".to_owned(), owns(0))]);
        assert!(
            chosen(&nothing, &mut random, 1).is_err(),
            "a fault without effect"
        );
    }
}
