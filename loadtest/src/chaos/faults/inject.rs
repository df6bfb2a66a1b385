//! How each fault begins.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chaos::faults::{Broken, Field, Mend};
use crate::chaos::random::Random;
use crate::chaos::site::disk;

/// A setting that makes a master refuse all writes, as it may do that lost its replicas: nobody has
/// so many.
const REPLICAS_WANTED: &str = "9";
/// A node that stops gives its shards away within about this time.
const GIVES_WITHIN_MS: u64 = 600;
/// For a node to take something over.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

impl Field {
    /// Begins the fault of that name.
    pub(super) async fn break_it(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        match name {
            "kill-node" | "kill-node-restart" | "kill-node-long" => {
                self.kill(self.nodes(random, 1).await?).await
            }
            "stop-node" | "stop-node-kill-taker" | "stop-node-kill-master" => {
                self.stop(name, random).await
            }
            "kill-two-nodes-restart" => self.kill(self.nodes(random, 2).await?).await,
            "kill-router" => {
                self.kill(vec![format!("router-{}", random.between(1, 2))])
                    .await
            }
            "kill-node-and-master" => {
                let mut names = self.nodes(random, 1).await?;
                names.push(self.server(random, true).await?);
                self.kill(names).await
            }
            "lost-machine" => self.lose_machine(random).await,
            "pause-node" | "pause-node-briefly" | "pause-node-long" => {
                self.pause(self.nodes(random, 1).await?).await
            }
            "drop-sockets" => {
                self.world.mood.send_modify(|mood| mood.drops += 1);
                Ok(Broken {
                    said: "all devices".to_owned(),
                    mends: Vec::new(),
                })
            }
            "drop-flood" => {
                let flood = self
                    .flood
                    .as_ref()
                    .ok_or("there are not very many sockets")?;
                flood.drop_all().await;
                Ok(Broken {
                    said: "all sockets that only listen".to_owned(),
                    mends: Vec::new(),
                })
            }
            "slow-readers" => {
                self.world.mood.send_modify(|mood| mood.slow = true);
                Ok(Broken {
                    said: "every third user".to_owned(),
                    mends: vec![Mend::Read],
                })
            }
            "lost-suffix" | "lost-epoch" => self.lose_suffix(random, name == "lost-epoch").await,
            "partition" | "partition-one-way" | "trickle" | "cut" | "node-without-redis" => {
                self.part(name, random).await
            }
            _ if name.starts_with("clock-") => self.shift_clock(name, random).await,
            _ => self.break_redis(name, random).await,
        }
    }

    async fn break_redis(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        match name {
            "kill-master" | "kill-master-restart" | "kill-master-long" => {
                self.kill(vec![self.server(random, true).await?]).await
            }
            "kill-replica" => self.kill(vec![self.server(random, false).await?]).await,
            "pause-master" | "pause-master-briefly" => {
                self.pause(vec![self.server(random, true).await?]).await
            }
            "pause-replica" | "pause-replica-long" => {
                self.pause(vec![self.server(random, false).await?]).await
            }
            "redis-failover" => {
                let replica = self.server(random, false).await?;
                let said = self.had(std::slice::from_ref(&replica)).await;
                self.site.fail_over(&replica).await?;
                Ok(Broken {
                    said: format!("{said} takes over from its master"),
                    mends: Vec::new(),
                })
            }
            "client-kill" => self.end_clients().await,
            "refuse-writes" => {
                let master = self.server(random, true).await?;
                let said = self.had(std::slice::from_ref(&master)).await;
                self.site
                    .redis(
                        &master,
                        &["CONFIG", "SET", "min-replicas-to-write", REPLICAS_WANTED],
                    )
                    .await?;
                Ok(Broken {
                    said,
                    mends: vec![Mend::TakeWrites(master)],
                })
            }
            "script-flush" => self.flush_scripts(random).await,
            "migrate-slot" => {
                let shard = random.below(self.site.shards());
                Ok(Broken {
                    said: self.site.migrate(shard).await?,
                    mends: Vec::new(),
                })
            }
            _ => self.break_disk(name, random).await,
        }
    }

    async fn break_disk(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        let nodes = match name {
            "disk-full" => vec![
                self.site
                    .own_disk()
                    .ok_or("no node has a disk of its own")?,
            ],
            "standby-fsync-fails" => vec![self.standby().await?],
            _ => self.nodes(random, 1).await?,
        };
        let node = nodes.first().cloned().unwrap_or_default();
        let had = self.had(&nodes).await;

        match name {
            "disk-full" => {
                self.site.fill(&node, true)?;
                Ok(Broken {
                    said: had,
                    mends: vec![Mend::MakeRoom(node.clone()), Mend::Start(node)],
                })
            }
            "fsync-slow" | "fsync-fails" | "standby-fsync-fails" => {
                let how = if name == "fsync-slow" {
                    "delay_enter=500000"
                } else {
                    "error=EIO"
                };
                let tracer = self.site.trace(&node, how)?;
                // One that gave up is started again.
                Ok(Broken {
                    said: had,
                    mends: vec![Mend::Untrace(tracer), Mend::Start(node)],
                })
            }
            "old-file" => {
                let said = self.site.lose_power(&nodes).await?;
                Ok(Broken {
                    said: format!("{had}: {said}"),
                    mends: vec![Mend::Start(node)],
                })
            }
            "damaged-file" => {
                self.site.kill(&nodes).await;
                let said = self.site.damage(&node, random)?;
                Ok(Broken {
                    said: format!("{had}: {said}"),
                    mends: vec![Mend::Start(node)],
                })
            }
            _ => Err(format!("there is no fault {name}")),
        }
    }

    async fn kill(&self, names: Vec<String>) -> Result<Broken, String> {
        let said = self.had(&names).await;
        self.site.kill(&names).await;
        Ok(Broken {
            said,
            mends: names.into_iter().map(Mend::Start).collect(),
        })
    }

    /// Asks a node to stop, which gives its shards away; and kills another process while it does,
    /// or none.
    async fn stop(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        let mut names = self.nodes(random, 2).await?;
        match name {
            "stop-node-kill-taker" => {}
            "stop-node-kill-master" => {
                names.truncate(1);
                names.push(self.server(random, true).await?);
            }
            _ => names.truncate(1),
        }

        let said = self.had(&names).await;
        let (node, killed) = names.split_first().ok_or("no node owns anything")?;
        self.site
            .signal(std::slice::from_ref(node), Signal::SIGTERM);
        if !killed.is_empty() {
            tokio::time::sleep(Duration::from_millis(random.between(0, GIVES_WITHIN_MS))).await;
            self.site.kill(killed).await;
        }

        self.site.gone(node).await?;
        Ok(Broken {
            said,
            mends: names.into_iter().map(Mend::Start).collect(),
        })
    }

    async fn pause(&self, names: Vec<String>) -> Result<Broken, String> {
        let said = self.had(&names).await;
        if let Some(gone) = names.iter().find(|name| self.site.pid(name).is_none()) {
            return Err(format!("{gone} does not run"));
        }
        self.site.signal(&names, Signal::SIGSTOP);
        Ok(Broken {
            said,
            mends: names.into_iter().map(Mend::Resume).collect(),
        })
    }

    /// A machine with a node and a master is lost, its disk too. What it had must be served without
    /// it.
    async fn lose_machine(&self, random: &mut Random) -> Result<Broken, String> {
        let node = self
            .nodes(random, 1)
            .await?
            .pop()
            .ok_or("no node owns anything")?;
        let master = self.server(random, true).await?;
        let names = [node.clone(), master.clone()];
        let said = self.had(&names).await;
        self.site.kill(&names).await;
        self.site.empty(&node)?;
        Ok(Broken {
            said,
            mends: vec![Mend::Served, Mend::Start(node), Mend::Start(master)],
        })
    }

    /// Starts a node with its wall clock minutes or days ahead or behind, and makes it take
    /// something over: a clock that nobody goes by shows nothing.
    async fn shift_clock(&self, name: &str, random: &mut Random) -> Result<Broken, String> {
        let days = name.starts_with("clock-days");
        let seconds = if days {
            random.between(86_400, 3 * 86_400)
        } else {
            random.between(60, 600)
        };

        let seconds = i64::try_from(seconds).unwrap_or(0);
        let shift = if name.ends_with("behind") {
            -seconds
        } else {
            seconds
        };
        let (other, node) = &self.owner_and_standby(random).await?;
        let wrap = disk::clock_shifted(shift)?;
        self.site.kill(std::slice::from_ref(node)).await;
        self.site.write(node, "wrap", &wrap)?;
        self.site.start_again(std::slice::from_ref(node)).await?;

        // It has to stand by before it can take over.
        self.site
            .in_sync(&self.site.running_nodes(), TAKEN_WITHIN * 3)
            .await?;
        self.site.kill(std::slice::from_ref(other)).await;

        let end = tokio::time::Instant::now() + TAKEN_WITHIN;
        while self
            .site
            .holding(node)
            .await
            .is_ok_and(|holding| holding.owned.is_empty())
        {
            if tokio::time::Instant::now() > end {
                return Err(format!(
                    "{node} takes nothing over with its clock {shift} s off"
                ));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }

        let had = self.had(std::slice::from_ref(node)).await;
        self.site.start_again(std::slice::from_ref(other)).await?;
        Ok(Broken {
            said: format!("{had}, its clock {shift:+} s off"),
            mends: vec![Mend::Unwrap(node.clone())],
        })
    }

    async fn end_clients(&self) -> Result<Broken, String> {
        let mut said = Vec::new();
        for master in self.site.servers(true).await {
            match self.site.end_clients(&master).await? {
                0 => {}
                count => said.push(format!("{count} connections to {master}")),
            }
        }
        if said.is_empty() {
            Err("nobody was connected".to_owned())
        } else {
            Ok(Broken {
                said: said.join(", "),
                mends: Vec::new(),
            })
        }
    }

    async fn flush_scripts(&self, random: &mut Random) -> Result<Broken, String> {
        let masters = self.site.servers(true).await;
        for _ in 0..random.between(1, 4) {
            for master in &masters {
                self.site.redis(master, &["SCRIPT", "FLUSH"]).await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Broken {
            said: masters.join(", "),
            mends: Vec::new(),
        })
    }
}
