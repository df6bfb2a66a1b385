//! A real Redis Cluster for tests: three masters, a replica each. Formed by hand, for the client's
//! own way can hang.

use nix::sys::signal::Signal;
use redis::Value;
use tokio::sync::OnceCell;

use crate::log::redis::testing::{Server, config, until};
use crate::log::redis::{CommitLevel, Config};

/// Hash slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// Masters are the first three servers at the start, the replica of each stands three places later.
#[derive(Debug)]
pub struct Cluster {
    /// All of them.
    pub servers: Vec<Server>,
}

/// The cluster that tests share which change nothing about it.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(Cluster::start).await
}

impl Cluster {
    /// Starts one, and waits until every replica follows.
    #[expect(clippy::too_many_lines, reason = "one start of six processes")]
    pub async fn start() -> Self {
        let arguments = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1500",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-replica-migration",
            "no",
        ];
        let servers: Vec<Server> = (0..6).map(|_| Server::start(&arguments)).collect();
        let cluster = Self { servers };

        for (number, server) in (0..).zip(cluster.masters()) {
            let (first, last) = (
                SLOTS / 3 * number,
                if number == 2 {
                    SLOTS - 1
                } else {
                    SLOTS / 3 * (number + 1) - 1
                },
            );
            server
                .ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"))
                .await;
            server
                .ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1))
                .await;
        }

        for server in &cluster.servers[1..] {
            server
                .ask::<()>(&format!(
                    "CLUSTER MEET 127.0.0.1 {}",
                    cluster.servers[0].port
                ))
                .await;
        }

        until("everybody knows everybody", async || {
            for server in &cluster.servers {
                let known: String = server.ask("CLUSTER NODES").await;
                if known
                    .lines()
                    .filter(|line| !line.contains("handshake"))
                    .count()
                    < 6
                {
                    return false;
                }
            }
            true
        })
        .await;

        for number in 0..3 {
            let master = cluster.servers[number].id().await;
            cluster.servers[number + 3]
                .ask::<()>(&format!("CLUSTER REPLICATE {master}"))
                .await;
        }

        cluster.settled().await;
        cluster
    }

    fn masters(&self) -> &[Server] {
        &self.servers[..3]
    }

    /// Waits until all that run agree that the cluster is well, and each master has its replica.
    pub async fn settled(&self) {
        until("the cluster is well", async || {
            let mut masters = 0;
            for server in &self.servers {
                let state: String = server.ask("CLUSTER INFO").await;
                if !state.contains("cluster_state:ok") || !state.contains("cluster_slots_ok:16384")
                {
                    return false;
                }
                let role = server.field("replication", "role").await;
                let well = if role == "master" {
                    masters += 1;
                    server
                        .field("replication", "slave0")
                        .await
                        .contains("state=online")
                } else {
                    server.field("replication", "master_link_status").await == "up"
                };
                if !well {
                    return false;
                }
            }
            masters == 3
        })
        .await;
    }

    /// Settings for a log on it, at commit level `replicated`.
    pub fn config(&self) -> Config {
        let urls: Vec<String> = self.servers.iter().take(2).map(Server::url).collect();
        Config {
            cluster: true,
            commit: CommitLevel::Replicated,
            ..config(&urls)
        }
    }

    /// The server that has a slot now, by what the servers that answer say.
    pub async fn master_of(&self, slot: u16) -> &Server {
        let asked = self
            .servers
            .iter()
            .find(|server| server.runs())
            .expect("a running server");
        let ranges: Vec<Vec<Value>> = asked.ask("CLUSTER SLOTS").await;

        for range in ranges {
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(master),
                ..,
            ] = range.as_slice()
            else {
                panic!()
            };
            if (*first..=*last).contains(&i64::from(slot)) {
                let Value::Int(port) = master[1] else {
                    panic!("{master:?}")
                };
                return self
                    .servers
                    .iter()
                    .find(|server| i64::from(server.port) == port)
                    .expect("one of ours");
            }
        }

        panic!("nobody has slot {slot}");
    }
}

impl Server {
    /// Its id in the cluster.
    pub async fn id(&self) -> String {
        self.ask("CLUSTER MYID").await
    }

    /// Lets it go on after [`Signal::SIGSTOP`].
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }
}
