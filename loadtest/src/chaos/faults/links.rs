//! Faults of the links between processes.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chaos::faults::{Broken, Field, Mend};
use crate::chaos::random::Random;
use crate::chaos::site::wires::{Pair, Rule, Wires};

/// How long a log goes on without a second copy, in milliseconds, before its master is killed.
const ALONE_MS: (u64, u64) = (800, 2_500);
/// A paused owner is taken for dead after this.
const TAKEN_AFTER: Duration = Duration::from_millis(4_500);

impl Field {
    fn wires(&self) -> Result<&Wires, String> {
        self.site
            .wires
            .as_ref()
            .ok_or_else(|| "there are no proxies".to_owned())
    }

    /// A node and all servers of Redis.
    fn without_redis(node: &str) -> Vec<Pair> {
        (1..=6)
            .map(|number| (node.to_owned(), format!("redis-{number}")))
            .collect()
    }

    /// Two sides that are parted: a router and a node, two nodes, a node and all of Redis, a node
    /// and all others.
    fn sides(&self, nodes: &[String], random: &mut Random) -> (String, Vec<Pair>) {
        let one = nodes.first().cloned().unwrap_or_default();
        let other = nodes.last().cloned().unwrap_or_default();
        let both =
            |a: &str, b: &str| vec![(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())];
        match random.below(4) {
            0 => {
                let router = format!("router-{}", random.between(1, 2));
                (format!("{router} and {one}"), both(&router, &one))
            }
            1 => (format!("{one} and {other}"), both(&one, &other)),
            2 => (format!("{one} and Redis"), Self::without_redis(&one)),
            _ => {
                let pairs = Self::without_redis(&one);
                let others = self.site.nodes().into_iter().filter(|node| *node != one);
                let peers = others
                    .flat_map(|node| both(&one, &node))
                    .collect::<Vec<_>>();
                let routers = (1..=2).map(|number| (format!("router-{number}"), one.clone()));
                (
                    format!("{one} and all others"),
                    pairs.into_iter().chain(peers).chain(routers).collect(),
                )
            }
        }
    }

    /// Breaks the links between two sides.
    pub(super) async fn part(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        let nodes = self.nodes(random, 2).await?;
        let had = self.had(&nodes).await;
        let (said, pairs) = match nodes.first() {
            Some(one) if name == "node-without-redis" => {
                (format!("{one} and Redis"), Self::without_redis(one))
            }
            _ => self.sides(&nodes, random),
        };

        let wires = self.wires()?;
        let rule = match name {
            "partition" | "node-without-redis" => Rule::Hold,
            "trickle" => Rule::Trickle,
            "cut" => Rule::Cut,
            _ if random.percent(50) => Rule::HoldRequests,
            _ => Rule::HoldReplies,
        };
        wires.set(&pairs, Some(rule));

        // What was held either comes late, or its connection had ended meanwhile.
        let mend = if random.percent(50) {
            Mend::Pass(pairs)
        } else {
            Mend::Reset(pairs)
        };

        Ok(Broken {
            said: format!("{said}: {rule:?}; {had}"),
            mends: vec![mend],
        })
    }

    /// Holds the replication of a master, lets the load go on, and kills the master: what was
    /// written since is lost with it, and with a paused node also that another took its shards.
    pub(super) async fn lose_suffix(
        &self,
        random: &mut Random,
        epoch: bool,
    ) -> Result<Broken, String> {
        let master = self.server(random, true).await?;
        let replica = self
            .site
            .replica_of(&master)
            .await
            .ok_or_else(|| format!("{master} has no replica"))?;
        let had = self.had(&[master.clone(), replica.clone()]).await;
        let pairs = vec![(replica.clone(), master.clone())];
        self.wires()?.set(&pairs, Some(Rule::HoldReplies));

        let mut mends = vec![Mend::Start(master.clone())];
        let mut said = had;
        if epoch {
            let nodes = self.nodes(random, 1).await?;
            self.site.signal(&nodes, Signal::SIGSTOP);
            tokio::time::sleep(TAKEN_AFTER).await;
            said = format!("{said}, {nodes:?} paused");
            mends.extend(nodes.into_iter().map(Mend::Resume));
        }

        tokio::time::sleep(Duration::from_millis(
            random.between(ALONE_MS.0, ALONE_MS.1),
        ))
        .await;

        self.site.kill(std::slice::from_ref(&master)).await;
        // What is still in the proxy is lost as well.
        self.wires()?.reset(&pairs).await;
        Ok(Broken { said, mends })
    }
}
