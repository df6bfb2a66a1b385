//! Renewals, as a node makes them with its defaults, go on after whatever happens to servers and
//! connections.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::cluster::{slot, take_over};
use super::proxy::{Mode, Proxy};
use crate::ids::ShardId;
use crate::log::conformance::claimed;
use crate::log::redis::testing::cluster::Cluster;
use crate::log::redis::testing::{Server, config, log, server, until};
use crate::log::redis::{Config, RedisLog};
use crate::log::{ShardLog, Token};

/// As many as a cluster has unless it is told otherwise.
const SHARDS: u16 = 256;
/// How often a node renews unless it is told otherwise, and how long it waits for an answer.
const EVERY: Duration = Duration::from_millis(750);
/// The time-out of a node's calls unless it is told otherwise: longer than it waits for a renewal.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Renewals in the background, over a log that nothing else uses.
struct Renewals {
    /// When the last renewal of each shard that succeeded was sent.
    proven: Arc<Mutex<Vec<Instant>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Renewals {
    async fn start(config: &Config) -> Self {
        let by = log(config);
        let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
        let mut holds = Vec::new();
        for &shard in &shards {
            holds.push((shard, claimed(&*by, shard).await));
        }

        let proven = Arc::new(Mutex::new(vec![Instant::now(); holds.len()]));
        let told = Arc::clone(&proven);
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                join_all(
                    holds
                        .iter()
                        .enumerate()
                        .map(|(at, hold)| renew(&by, at, *hold, &told)),
                )
                .await;
            }
        });
        Self { proven, task }
    }

    /// Waits until every shard was renewed by what was sent from now on.
    async fn go_on(&self, after: &str) {
        let from = Instant::now();
        until(
            &format!("every shard is renewed after {after}"),
            async || self.proven.lock().unwrap().iter().all(|sent| *sent > from),
        )
        .await;
    }
}

async fn renew(by: &RedisLog, at: usize, hold: (ShardId, Token), told: &Mutex<Vec<Instant>>) {
    let sent = Instant::now();
    let renewed = tokio::time::timeout(EVERY, by.renew(&[hold])).await;
    if renewed.is_ok_and(|answers| answers == [Ok(true)]) {
        told.lock().unwrap()[at] = sent;
    }
}

/// A master is killed, the next is failed over as planned, and all connections of all servers are
/// cut; so many times.
async fn renewed_after_each(faults: usize) {
    let mut cluster = Cluster::start().await;
    let config = Config {
        timeout: TIMEOUT,
        ..cluster.config()
    };
    let renewals = Renewals::start(&config).await;
    renewals.go_on("the start").await;

    for number in 0..faults {
        let at = slot(&config, u16::try_from(number).unwrap() % SHARDS);
        let master = cluster.master_of(at).await.port;
        let place = cluster
            .servers
            .iter()
            .position(|server| server.port == master)
            .unwrap();
        match number % 3 {
            0 => {
                cluster.servers[place].kill9();
                renewals.go_on("a master was killed").await;
                cluster.servers[place].restart();
            }
            1 => {
                take_over(&cluster.servers[(place + 3) % 6]).await;
                renewals.go_on("a planned failover").await;
            }
            _ => {
                let kills = cluster
                    .servers
                    .iter()
                    .map(|server| server.ask::<u64>("CLIENT KILL TYPE normal"));
                join_all(kills).await;
                renewals.go_on("all connections were cut").await;
            }
        }
        cluster.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_is_renewed_again_after_each_of_several_failovers() {
    renewed_after_each(6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes: a hundred failovers, or as many as ROOKERY_FAILOVERS says"]
#[expect(
    clippy::disallowed_methods,
    reason = "only this test: how long it is to go on"
)]
async fn every_shard_is_renewed_again_after_each_of_a_hundred_failovers() {
    let faults = std::env::var("ROOKERY_FAILOVERS").map_or(100, |faults| faults.parse().unwrap());
    renewed_after_each(faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_its_own_shards_alone_and_hides_no_slot_from_who_comes_new() {
    let cluster = Cluster::start().await;
    // The one that hangs is the first that is asked where things are.
    let hung: &Server = cluster.master_of(slot(&cluster.config(), 0)).await;
    let other = cluster
        .servers
        .iter()
        .find(|server| server.port != hung.port)
        .unwrap();
    let config = Config {
        timeout: TIMEOUT,
        urls: vec![hung.url(), other.url()],
        ..cluster.config()
    };

    let known = log(&config);
    let mut holds = Vec::new();
    for shard in (0..24).map(ShardId) {
        holds.push((shard, claimed(&*known, shard).await));
    }

    let mut of_hung = Vec::new();
    for (shard, _) in &holds {
        of_hung.push(cluster.master_of(slot(&config, shard.0)).await.port == hung.port);
    }

    assert!(
        of_hung.contains(&true) && of_hung.contains(&false),
        "shards on both"
    );

    // Nobody takes its place.
    for server in &cluster.servers {
        server
            .ask::<()>("CONFIG SET cluster-replica-no-failover yes")
            .await;
    }

    hung.signal(Signal::SIGSTOP);
    for log in [known, log(&config)] {
        for _ in 0..2 {
            for (answer, is_hung) in log.renew(&holds).await.iter().zip(&of_hung) {
                assert_eq!(answer.is_err(), *is_hung, "{answer:?}");
            }
        }
    }

    hung.go_on();
    until("all are renewed", async || {
        log(&config)
            .renew(&holds)
            .await
            .iter()
            .all(|one| *one == Ok(true))
    })
    .await;
}

#[tokio::test]
async fn a_connection_on_which_a_call_was_given_up_is_not_used_again() {
    let server = server().await;
    let proxy = Proxy::before(server.port).await;

    // A time-out of its own would come after the deadline of the test.
    let config = Config {
        timeout: Duration::from_secs(600),
        ..config(&[proxy.url()])
    };
    let shard = ShardId(1);
    let token = claimed(
        &*log(&Config {
            urls: vec![server.url()],
            ..config.clone()
        }),
        shard,
    )
    .await;
    let log = log(&config);
    proxy.set(Mode::Hold);

    let given_up =
        tokio::time::timeout(Duration::from_millis(200), log.renew(&[(shard, token)])).await;
    assert!(given_up.is_err(), "it is held back");
    proxy.set(Mode::Pass);
    until("the next call is answered", async || {
        let renewed = tokio::time::timeout(EVERY, log.renew(&[(shard, token)])).await;
        renewed.is_ok_and(|answers| answers == [Ok(true)])
    })
    .await;
    proxy.release();
}
