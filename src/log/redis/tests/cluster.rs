//! On a real Redis Cluster, at commit level `replicated`: while masters change and slots move under
//! running appends, nothing acknowledged is lost, twice or out of order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::OnRedis;
use super::owned::Owned;
use crate::ids::ShardId;
use crate::log::conformance::{claimed, log_conformance};
use crate::log::redis::keys::Keys;
use crate::log::redis::testing::cluster::{Cluster, cluster};
use crate::log::redis::testing::{Server, log, until};
use crate::log::redis::{Config, RedisLog};
use crate::log::{ShardLog, Token};

async fn shared() -> OnRedis {
    OnRedis::new(cluster().await.config())
}

log_conformance!(shared);

/// Shards that appenders hold; they lie on all masters.
const SHARDS: u16 = 12;

/// Appenders at work in the background, one for each shard, all over one log.
struct Load {
    stop: Arc<AtomicBool>,
    log: Arc<RedisLog>,
    holds: Vec<(ShardId, Token)>,
    appenders: Vec<tokio::task::JoinHandle<Owned>>,
}

impl Load {
    async fn start(config: &Config) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut owned = Vec::new();
        for shard in 0..SHARDS {
            owned.push(Owned::new(config.clone(), shard).await);
        }

        let places: std::collections::BTreeSet<u64> = owned
            .iter()
            .map(|owned| owned.log.place(owned.shard))
            .collect();
        assert_eq!(places.len(), 3, "shards on all masters");

        let log = Arc::clone(&owned[0].log);
        let holds = owned
            .iter()
            .map(|owned| (owned.shard, owned.token))
            .collect();
        let appender = |mut one: Owned| {
            one.log = Arc::clone(&log);
            let stopped = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stopped.load(Ordering::Relaxed) {
                    one.append().await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                // One more after everything.
                one.append().await;
                one
            })
        };
        let appenders = owned.into_iter().map(appender).collect();

        Self {
            stop,
            log,
            holds,
            appenders,
        }
    }

    /// Ends it and looks at every stream.
    async fn assert_whole(self) {
        self.stop.store(true, Ordering::Relaxed);
        for owned in join_all(self.appenders).await {
            let owned = owned.unwrap();
            assert!(
                owned.acknowledged.len() > 10,
                "{} appends",
                owned.acknowledged.len()
            );
            owned.assert_whole().await;
        }
    }
}

/// The slot of a shard's keys.
pub(super) fn slot(config: &Config, shard: u16) -> u16 {
    Keys::of(&config.prefix, ShardId(shard)).slot()
}

async fn pause() {
    // Lets the load go on for a while between two faults; nothing is asserted about how long that
    // is.
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// A replica becomes master though its own lives. The command is answered before that begins (the
/// cluster is well then, too), and Redis abandons what is not done after 5 s: then it has to be
/// asked again.
pub(super) async fn take_over(replica: &Server) {
    let mut asked: Option<Instant> = None;
    until("the replica takes over", async || {
        if replica.field("replication", "role").await == "master" {
            return true;
        }
        if asked.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
            replica.ask::<()>("CLUSTER FAILOVER").await;
            asked = Some(Instant::now());
        }
        false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_fail_over_lose_and_double_nothing() {
    let mut cluster = Cluster::start().await;
    let config = Config {
        timeout: Duration::from_secs(1),
        ..cluster.config()
    };
    let load = Load::start(&config).await;
    pause().await;

    // Planned: the replica of the first master takes over.
    let planned = &cluster.servers[3];
    take_over(planned).await;
    cluster.settled().await;
    assert_eq!(planned.field("replication", "role").await, "master");

    pause().await;
    // Unplanned: the second master is killed, its replica is elected, it comes back as that one's
    // replica.
    cluster.servers[1].kill9();

    let replica = &cluster.servers[4];
    until("the replica is elected", async || {
        replica.field("replication", "role").await == "master"
    })
    .await;
    until("all are renewed again", async || {
        load.log.renew(&load.holds).await.iter().all(Result::is_ok)
    })
    .await;

    cluster.servers[1].restart();
    cluster.settled().await;
    pause().await;
    load.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_appends_loses_and_doubles_nothing() {
    let cluster = Cluster::start().await;
    let config = Config {
        timeout: Duration::from_secs(1),
        ..cluster.config()
    };
    let load = Load::start(&config).await;
    pause().await;
    for shard in [0, 1] {
        migrate(&cluster, slot(&config, shard)).await;
        pause().await;
    }
    // And back, with what was appended meanwhile.
    migrate(&cluster, slot(&config, 0)).await;
    load.assert_whole().await;
}

/// Moves a slot with its keys, one by one, to another master, slowly enough for appends to find
/// every state of it.
async fn migrate(cluster: &Cluster, slot: u16) {
    let from = cluster.master_of(slot).await;
    let to = cluster.servers[..3]
        .iter()
        .find(|server| server.port != from.port)
        .unwrap();
    let (source, target) = (from.id().await, to.id().await);

    to.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}"))
        .await;
    from.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}"))
        .await;
    pause().await;

    loop {
        let keys: Vec<String> = from.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).await;
        let Some(key) = keys.first() else { break };
        from.ask::<()>(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port))
            .await;
        pause().await;
    }

    to.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {target}"))
        .await;
    pause().await;

    from.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {target}"))
        .await;
    for server in &cluster.servers {
        if server.field("replication", "role").await == "master" {
            server
                .ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {target}"))
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_flushed_on_every_server_are_loaded_again() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster.config()).await;
    for _ in 0..5 {
        join_all(
            cluster
                .servers
                .iter()
                .map(|server| server.ask::<()>("SCRIPT FLUSH SYNC")),
        )
        .await;
        pause().await;
    }
    load.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_its_replica_commits_nothing_while_the_others_go_on() {
    let cluster = Cluster::start().await;
    let config = cluster.config();
    let log = log(&Config {
        replica_wait: Duration::from_millis(200),
        ..config.clone()
    });
    let mut owned = Vec::new();

    for shard in 0..SHARDS {
        let mut one = Owned::new(config.clone(), shard).await;
        one.log = Arc::clone(&log);
        owned.push(one);
    }

    let alone: &Server = cluster.master_of(slot(&config, 0)).await;
    let at = cluster
        .servers
        .iter()
        .position(|server| server.port == alone.port)
        .unwrap();
    cluster.servers[at + 3].signal(nix::sys::signal::Signal::SIGSTOP);
    let cycle: Vec<_> = owned.iter().map(Owned::next).collect();

    for (answer, one) in log.append(&cycle).await.iter().zip(&owned) {
        let lonely = cluster.master_of(slot(&config, one.shard.0)).await.port == alone.port;
        if lonely {
            super::owned::assert_not_replicated(answer)
        } else {
            assert!(answer.is_ok(), "{answer:?}")
        }
    }

    cluster.servers[at + 3].go_on();
    for (one, batch) in owned.iter_mut().zip(&cycle) {
        one.settle(batch).await;
        one.assert_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_master_is_not_observed_and_the_others_are_and_its_replica_is_another_lineage() {
    let cluster = Cluster::start().await;
    let config = Config {
        timeout: Duration::from_secs(1),
        ..cluster.config()
    };
    let log = log(&config);
    let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
    for &shard in &shards {
        claimed(&*log, shard).await;
    }

    let before: Vec<_> = log
        .observe(&shards)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let lineages: std::collections::BTreeSet<u64> =
        before.iter().map(|seen| seen.lineage).collect();
    assert_eq!(lineages.len(), 3, "one for each master");

    let silent = cluster.master_of(slot(&config, 0)).await;
    let of_silent: Vec<bool> = before
        .iter()
        .map(|seen| seen.lineage == before[0].lineage)
        .collect();
    silent.signal(nix::sys::signal::Signal::SIGSTOP);
    let meanwhile = log.observe(&shards).await;

    for ((seen, was), is_silent) in meanwhile.iter().zip(&before).zip(&of_silent) {
        match seen {
            Err(_) => assert!(*is_silent, "of another master"),
            Ok(seen) => assert!(!is_silent && seen == was),
        }
    }

    until("the replica is master and is observed", async || {
        log.observe(&shards).await.iter().all(Result::is_ok)
    })
    .await;

    silent.go_on();
    for ((seen, was), is_silent) in log
        .observe(&shards)
        .await
        .into_iter()
        .zip(&before)
        .zip(of_silent)
    {
        let seen = seen.unwrap();
        assert_eq!(seen.control, was.control);
        assert_eq!(seen.lineage != was.lineage, is_silent);
    }
}
