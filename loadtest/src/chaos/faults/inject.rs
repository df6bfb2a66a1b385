//! How each fault begins.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chaos::faults::{Broken, Field, Mend};
use crate::chaos::random::Random;
use crate::chaos::site::disk;

impl Field {
    /// Begins the fault of that name.
    pub(super) async fn break_it(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        match name {
            "kill-node" | "kill-node-restart" | "kill-node-long" => self.kill(self.nodes(random, 1)).await,
            "kill-two-nodes-restart" => self.kill(self.nodes(random, 2)).await,
            "kill-router" => self.kill(vec![format!("router-{}", random.between(1, 2))]).await,
            "kill-master" | "kill-master-restart" | "kill-master-long" => {
                self.kill(vec![self.server(random, true).await?]).await
            }
            "kill-replica" => self.kill(vec![self.server(random, false).await?]).await,
            "kill-node-and-master" => {
                let mut names = self.nodes(random, 1);
                names.push(self.server(random, true).await?);
                self.kill(names).await
            }
            "pause-node" | "pause-node-briefly" | "pause-node-long" => Ok(self.pause(self.nodes(random, 1))),
            "pause-master" | "pause-master-briefly" => Ok(self.pause(vec![self.server(random, true).await?])),
            "script-flush" => self.flush_scripts(random).await,
            "migrate-slot" => {
                let shard = random.below(self.shards());
                Ok(Broken { said: self.site.migrate(shard).await?, mends: Vec::new() })
            }
            "drop-sockets" => {
                self.world.mood.send_modify(|mood| mood.drops += 1);
                Ok(Broken { said: "all devices".to_owned(), mends: Vec::new() })
            }
            "drop-flood" => {
                let flood = self.flood.as_ref().ok_or("there are not very many sockets")?;
                flood.drop_all().await;
                Ok(Broken { said: "all sockets that only listen".to_owned(), mends: Vec::new() })
            }
            "slow-readers" => {
                self.world.mood.send_modify(|mood| mood.slow = true);
                Ok(Broken { said: "every third user".to_owned(), mends: vec![Mend::Read] })
            }
            "lost-suffix" | "lost-epoch" => self.lose_suffix(random, name == "lost-epoch").await,
            "partition" | "partition-one-way" | "trickle" | "cut" => self.part(name, random),
            _ => self.break_disk(name, random).await,
        }
    }

    async fn break_disk(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        let nodes = self.nodes(random, 1);
        let node = nodes.first().cloned().unwrap_or_default();
        match name {
            "disk-full" => {
                let named = self.site.own_disk().ok_or("no node has a disk of its own")?;
                self.site.fill(&named, true)?;
                Ok(Broken { said: named.clone(), mends: vec![Mend::MakeRoom(named.clone()), Mend::Start(named)] })
            }
            "fsync-slow" | "fsync-fails" => {
                let how = if name == "fsync-slow" { "delay_enter=500000" } else { "error=EIO" };
                let tracer = self.site.trace(&node, how)?;
                // One that gave up is started again.
                Ok(Broken { said: node.clone(), mends: vec![Mend::Untrace(tracer), Mend::Start(node)] })
            }
            "old-file" => {
                let said = self.site.lose_power(&nodes).await?;
                Ok(Broken { said, mends: vec![Mend::Start(node)] })
            }
            "damaged-file" => {
                self.site.kill(&nodes).await;
                let said = self.site.damage(&node, random)?;
                Ok(Broken { said, mends: vec![Mend::Start(node)] })
            }
            "clock-jump" => {
                self.site.kill(&nodes).await;
                self.site.write(&node, "wrap", &disk::clock_ahead()?)?;
                self.site.start_again(&nodes).await?;
                Ok(Broken { said: node.clone(), mends: vec![Mend::Unwrap(node)] })
            }
            _ => Err(format!("there is no fault {name}")),
        }
    }

    async fn kill(&self, names: Vec<String>) -> Result<Broken, String> {
        self.site.kill(&names).await;
        let mends = names.iter().cloned().map(Mend::Start).collect();
        Ok(Broken { said: names.join(", "), mends })
    }

    fn pause(&self, names: Vec<String>) -> Broken {
        self.site.signal(&names, Signal::SIGSTOP);
        let mends = names.iter().cloned().map(Mend::Resume).collect();
        Broken { said: names.join(", "), mends }
    }

    async fn flush_scripts(&self, random: &mut Random) -> Result<Broken, String> {
        let masters = self.site.servers(true).await;
        for _ in 0..random.between(1, 4) {
            for master in &masters {
                self.site.redis(master, &["SCRIPT", "FLUSH"]).await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Broken { said: masters.join(", "), mends: Vec::new() })
    }

    /// So many different nodes.
    pub(super) fn nodes(&self, random: &mut Random, count: usize) -> Vec<String> {
        let mut nodes = self.site.nodes();
        while nodes.len() > count {
            let out = random.pick(&nodes).cloned();
            nodes.retain(|node| Some(node) != out.as_ref());
        }
        nodes
    }

    /// A master or a replica.
    pub(super) async fn server(&self, random: &mut Random, master: bool) -> Result<String, String> {
        let servers = self.site.servers(master).await;
        random.pick(&servers).cloned().ok_or_else(|| "no server of Redis answers".to_owned())
    }

    fn shards(&self) -> u64 {
        self.site.shards()
    }
}
