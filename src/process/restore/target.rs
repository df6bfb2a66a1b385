//! What is to be restored: which cluster, and which of its shards into which folders. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::cluster::assignment::first_table;
use crate::cluster::map::ShardMap;
use crate::cluster::table::{NodeAddresses, Table};
use crate::config::backup::RestoreSettings;
use crate::ids::{ClusterId, NodeId, ShardId};
use crate::log::Identity;
use crate::node::folder::{file_of, shards_of};

/// Nodes that hold a shard of one process.
const REPLICAS_OF_ONE: usize = 1;

/// What is to be restored.
#[derive(Debug)]
pub(super) struct Target {
    /// The data folder.
    pub(super) folder: PathBuf,
    /// The node whose folder it is; none: it is that of one process with all nodes in it.
    pub(super) node: Option<NodeId>,
    /// The new cluster.
    pub(super) identity: Identity,
    /// Slots to its shards.
    pub(super) map: ShardMap,
    /// Who is to own what.
    pub(super) table: Table,
    /// The only shard that is restored, if it is one.
    only: Option<ShardId>,
}

impl Target {
    /// As the settings say, of a backup with so many shards.
    ///
    /// # Errors
    /// One clear line: they do not fit together.
    pub(super) fn of(
        settings: &RestoreSettings,
        copied: u32,
        cluster: ClusterId,
    ) -> Result<Self, String> {
        let shards = settings.shards.unwrap_or(copied);
        let map = ShardMap::new(shards)
            .ok_or("the number of shards is a power of two from 1 to 65536")?;
        let identity = Identity { cluster, shards };
        let only = settings.shard.map(ShardId);
        if let Some(shard) = only.filter(|shard| u32::from(shard.0) >= shards) {
            return Err(format!(
                "there is no shard {} of {shards}; they are numbered from 0",
                shard.0
            ));
        }

        if let Some(node) = settings
            .node_id
            .as_ref()
            .filter(|node| !settings.node_ids.contains(node))
        {
            return Err(format!("{node} is not among the nodes of --node-ids"));
        }

        let unreached = || NodeAddresses::default();
        let nodes: BTreeMap<_, _> = settings
            .node_ids
            .iter()
            .map(|node| (node.clone(), unreached()))
            .collect();
        let replicas = if settings.node_id.is_some() {
            settings.replicas.into()
        } else {
            REPLICAS_OF_ONE
        };
        let mut table = first_table(identity, &nodes, replicas);
        table.claimed = only.map_or_else(
            || map.all().collect::<BTreeSet<_>>(),
            |only| BTreeSet::from([only]),
        );

        Ok(Self {
            folder: settings.data.clone(),
            node: settings.node_id.clone(),
            identity,
            map,
            table,
            only,
        })
    }

    /// The shards that get a file here, each with its owner.
    pub(super) fn shards(&self) -> Vec<(ShardId, NodeId)> {
        let owned = self
            .map
            .all()
            .filter_map(|shard| Some((shard, self.table.owner(shard)?.clone())));
        let is_here = |(shard, owner): &(ShardId, NodeId)| {
            self.only.is_none_or(|only| only == *shard)
                && self.node.as_ref().is_none_or(|node| node == owner)
        };
        owned.filter(is_here).collect()
    }

    /// The folder in which a node of it keeps its shards.
    pub(super) fn shards_of(&self, node: &NodeId) -> PathBuf {
        match &self.node {
            Some(_) => shards_of(&self.folder),
            None => shards_of(&self.folder.join(&*node.0)),
        }
    }

    /// The file of a shard.
    pub(super) fn file_of(&self, shard: ShardId, owner: &NodeId) -> PathBuf {
        file_of(&self.shards_of(owner), shard)
    }

    /// The shards of a backup, of `copied` in all, that have slots of this one, each with whether
    /// this is the first of those that it becomes.
    pub(super) fn sources(&self, copied: u32, shard: ShardId) -> Vec<(ShardId, bool)> {
        let (of, shards, number) = (copied, self.identity.shards, u32::from(shard.0));
        let narrow = |wide: u32| ShardId(u16::try_from(wide).unwrap_or(u16::MAX));
        if of >= shards {
            let each = of / shards;
            (number * each..(number + 1) * each)
                .map(|source| (narrow(source), true))
                .collect()
        } else {
            let each = shards / of;
            vec![(narrow(number / each), number % each == 0)]
        }
    }

    /// Where what is gathered is kept meanwhile.
    pub(super) fn gathered(&self) -> PathBuf {
        self.folder.join("gathered.sqlite")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Args, FromArgMatches};

    use super::*;

    fn settings(args: &[&str]) -> RestoreSettings {
        let command = RestoreSettings::augment_args(clap::Command::new("restore"));
        let matches =
            command.get_matches_from(["restore", "--from", "backup"].iter().chain(args).copied());
        RestoreSettings::from_arg_matches(&matches).expect("settings")
    }

    fn target(args: &[&str], copied: u32) -> Target {
        Target::of(&settings(args), copied, ClusterId::random()).expect("they fit together")
    }

    #[test]
    fn each_shard_is_made_of_those_that_have_its_slots_and_each_of_these_goes_somewhere_once_as_the_first()
     {
        for copied in [1, 4, 16] {
            for shards in ["1", "4", "16", "256"] {
                let target = target(&["--shards", shards], copied);
                let before = ShardMap::new(copied).expect("a power of two");
                let mut firsts = Vec::new();
                for shard in target.map.all() {
                    let sources = target.sources(copied, shard);
                    for slot in (0..=u16::MAX)
                        .map(crate::ids::Slot)
                        .filter(|slot| target.map.shard_of(*slot) == shard)
                    {
                        let source = before.shard_of(slot);
                        assert!(
                            sources.iter().any(|(of, _)| *of == source),
                            "{slot:?} of {source} is not in {shard}"
                        );
                    }
                    firsts.extend(
                        sources
                            .into_iter()
                            .filter(|(_, first)| *first)
                            .map(|(source, _)| source),
                    );
                }
                assert!(before.all().eq(firsts), "{copied} to {shards}");
            }
        }
    }

    #[test]
    fn the_nodes_of_a_cluster_get_every_shard_once() {
        let names = ["a", "b", "c"];
        let mut all = Vec::new();

        for name in names {
            let target = target(
                &[
                    "--node-ids",
                    "a,b,c",
                    "--node-id",
                    name,
                    "--data",
                    "d",
                    "--shards",
                    "64",
                ],
                16,
            );
            assert!(
                target.table.rows.iter().all(|row| row.len() == 2)
                    && target.table.claimed.len() == 64
            );
            for (shard, owner) in target.shards() {
                assert_eq!(owner, NodeId::from(name));
                assert_eq!(
                    target.file_of(shard, &owner),
                    Path::new("d/shards").join(format!("{:04}.sqlite", shard.0))
                );
                all.push(shard);
            }
        }

        all.sort_unstable();
        assert!(ShardMap::new(64).expect("a power of two").all().eq(all));
    }

    #[test]
    fn one_shard_alone_is_the_only_one_that_has_a_history() {
        let target = target(&["--shard", "3", "--data", "d"], 16);
        let shards = target.shards();
        assert!(
            matches!(&shards[..], [(ShardId(3), _)])
                && target.table.claimed == BTreeSet::from([ShardId(3)])
        );
        let owner = &shards[0].1;
        assert_eq!(
            target.file_of(ShardId(3), owner),
            Path::new("d").join(&*owner.0).join("shards/0003.sqlite")
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused_in_one_line() {
        for (args, says) in [
            (&["--shard", "16"][..], "no shard 16 of 16"),
            (&["--node-id", "node-9"], "not among the nodes"),
        ] {
            let line = Target::of(&settings(args), 16, ClusterId::random()).expect_err("refused");
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
        }
    }
}
