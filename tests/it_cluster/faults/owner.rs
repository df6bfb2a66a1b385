//! An owner is paused for so long that another takes its shard, and goes on as if nothing had been.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use redis::Commands as _;
use serde_json::json;

use crate::BACKEND;
use crate::faults::places::shard_of;
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::direct;
use crate::support::server::Server;
use crate::support::{Group, eventually};

/// The watch time T, and what is added to it so that no clock is close to the edge.
const WATCH: &str = "2s";
const TAKEN_AFTER: Duration = Duration::from_secs(3);

/// Who takes over: a hand in Redis, no node.
const TAKER: &str = "another-node";

/// Shards of the deployment.
const SHARDS: usize = 16;

/// What a shard's streams hold.
#[derive(Debug, PartialEq, Eq)]
struct Streams {
    lengths: [u64; 2],
    tails: [String; 2],
}

/// Shows that the taker lives, until it is dropped.
struct Beating(Arc<AtomicBool>);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Hand {
    redis: redis::cluster::ClusterConnection,
    prefix: String,
}

impl Hand {
    fn new(cluster: &Cluster) -> Self {
        let seeds: Vec<String> = (1..=6)
            .map(|i| format!("redis://{}", cluster.port(&format!("redis-{i}"))))
            .collect();
        let redis = redis::cluster::ClusterClient::new(seeds)
            .unwrap()
            .get_connection()
            .unwrap();
        Self {
            redis,
            prefix: cluster.prefix.clone(),
        }
    }

    fn key(&self, shard: usize, last: &str) -> String {
        format!("{{{}:s{shard}}}:{last}", self.prefix)
    }

    fn control(&mut self, shard: usize) -> BTreeMap<String, String> {
        self.redis.hgetall(self.key(shard, "ctl")).unwrap()
    }

    fn streams(&mut self, shard: usize) -> Streams {
        let control = self.control(shard);
        let keys = ["messages", "receipts"].map(|stream| self.key(shard, stream));
        let lengths = keys.each_ref().map(|key| self.redis.xlen(key).unwrap());
        Streams {
            lengths,
            tails: ["messages", "receipts"].map(|stream| control[stream].clone()),
        }
    }

    /// Renews these shards from now on, as their owner would.
    fn keep(mut self, shards: Vec<usize>) -> Beating {
        let stop = Arc::new(AtomicBool::new(false));
        let beating = Beating(Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                for &shard in &shards {
                    let _: u64 = self.redis.hincr(self.key(shard, "ctl"), "beat", 1).unwrap();
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        beating
    }

    /// Takes a shard as a node would: a higher epoch, another nonce, another owner.
    fn take(&mut self, shard: usize) {
        let control = self.control(shard);
        let epoch: u64 = control["token"].split(':').next().unwrap().parse().unwrap();
        let token = format!("{}:{:016x}", epoch + 1, 0xfeed_u64);
        let fields = [("token", token.as_str()), ("owner", TAKER)];
        let _: () = self
            .redis
            .hset_multiple(self.key(shard, "ctl"), &fields)
            .unwrap();
    }
}

/// True when the answer is a read that says nothing of its age.
async fn is_unmarked(client: &Client, path: &str) -> bool {
    let Ok(answer) = client.try_call(Method::GET, path, &[], Bytes::new()).await else {
        return false;
    };
    answer.status == 200 && answer.header("rookery-stale").is_empty()
}

/// Sends once; the status, if there was an answer.
async fn post(client: &Client, conversation: &str, text: &str) -> Option<u16> {
    let path = format!("/v1/conversations/{conversation}/messages");
    let body = Bytes::from(json!({"text": text}).to_string());
    let json_type = [("content-type", "application/json")];
    client
        .try_call(Method::POST, &path, &json_type, body)
        .await
        .ok()
        .map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_does_not_know_yet_that_its_shard_was_taken_appends_nothing() {
    // No renewal tells it: its own append does.
    let flags = [
        "--takeover-watch",
        "10m",
        "--renew-every",
        "2m",
        "--request-budget",
        "2s",
    ];
    let server = Server::Many(Cluster::start_alone(BACKEND, &flags));
    let cluster = server.cluster();
    let mut hand = Hand::new(cluster);
    // All of them before the first is taken: what is taken stays so, and creates nothing any more.
    let mut groups = BTreeMap::new();

    while groups.len() < 4 {
        let group = Group::create(&server, 1).await;
        group.admin.say(&group.name, "before").await;
        groups.insert(shard_of(&group.name, SHARDS), group);
    }

    crate::behaviour::load::drained(&server).await;
    for (shard, group) in groups {
        hand.take(shard);
        let before = hand.streams(shard);
        for text in ["first", "second"] {
            let sent = post(&group.admin, &group.name, text).await;
            assert_eq!(sent, Some(503), "{text}");
        }
        assert_eq!(hand.streams(shard), before, "it appended to shard {shard}");
        assert_eq!(
            hand.control(shard)["owner"],
            TAKER,
            "it took shard {shard} back"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_paused_owner_whose_shards_were_taken_appends_nothing_and_serves_no_unmarked_read() {
    let flags = [
        "--takeover-watch",
        WATCH,
        "--renew-every",
        "500ms",
        "--replicas",
        "1",
    ];
    let server = Server::Many(Cluster::start_alone(BACKEND, &flags));
    let cluster = server.cluster();
    let mut hand = Hand::new(cluster);
    // So many that node-1 owns some of them.
    let mut groups = Vec::new();

    for _ in 0..24 {
        let group = Group::create(&server, 1).await;
        group.admin.say(&group.name, "before").await;
        groups.push(group);
    }

    let owned: Vec<usize> = (0..SHARDS)
        .filter(|&shard| hand.control(shard)["owner"] == "node-1")
        .collect();
    assert!(!owned.is_empty(), "node-1 owns nothing");
    let of_node = |group: &Group| owned.contains(&shard_of(&group.name, SHARDS));

    // Requests that are on their way when it is paused: they lie in its sockets until it goes on.
    let seeds = || {
        (1..=6)
            .map(|i| format!("redis://{}", cluster.port(&format!("redis-{i}"))))
            .collect()
    };
    let patient = direct::direct(cluster, seeds(), "node-1", Duration::from_secs(30)).await;
    let direct: Vec<_> = groups
        .iter()
        .filter(|group| of_node(group))
        .map(|group| (Client::new(patient, group.admin.user()), group.name.clone()))
        .collect();
    assert!(!direct.is_empty(), "node-1 has none of the conversations");

    for (client, name) in &direct {
        assert!(
            is_unmarked(client, &format!("/v1/conversations/{name}/messages")).await,
            "while it owns them it reads"
        );
    }

    // And appends that it is in the middle of. What is acknowledged of them was written before it
    // lost its shards.
    let busy = keep_busy(&direct);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.command(&["pause", "node-1"]).await;

    let waiting: Vec<_> = direct
        .iter()
        .cloned()
        .map(|(client, name)| {
            tokio::spawn(async move {
                let path = format!("/v1/conversations/{name}/messages");
                let body = Bytes::from(json!({"text": "late"}).to_string());
                let json_type = [("content-type", "application/json")];
                let (read, sent) = tokio::join!(
                    is_unmarked(&client, &path),
                    client.try_call(Method::POST, &path, &json_type, body),
                );
                (read, sent.map(|answer| answer.status).ok())
            })
        })
        .collect();
    tokio::time::sleep(TAKEN_AFTER).await;

    for &shard in &owned {
        hand.take(shard);
    }

    let _beating = Hand::new(cluster).keep(owned.clone());
    let before: Vec<Streams> = owned.iter().map(|&shard| hand.streams(shard)).collect();
    cluster.command(&["resume", "node-1"]).await;

    for waiting in waiting {
        let (unmarked, sent) = waiting.await.unwrap();
        eprintln!("unmarked: {unmarked}, sent: {sent:?}");
        assert!(!unmarked, "it read without a mark what it no longer owned");
        assert_ne!(sent, Some(201), "it acknowledged what it no longer could");
    }

    // It has had the time for many renewals, and sees that it lost them.
    let quick = direct::direct(cluster, seeds(), "node-1", Duration::from_millis(300)).await;
    reads_nothing_unmarked(quick, groups.iter().filter(|group| of_node(group))).await;

    for (&shard, before) in owned.iter().zip(&before) {
        assert_eq!(&hand.streams(shard), before, "it appended to shard {shard}");
        assert_eq!(
            hand.control(shard)["owner"],
            TAKER,
            "it took shard {shard} back"
        );
    }

    busy.iter().for_each(tokio::task::JoinHandle::abort);
    goes_on(&groups).await;
}

/// Whoever is asked there has had the time for many renewals, and reads no conversation without a
/// mark.
async fn reads_nothing_unmarked(at: SocketAddr, groups: impl Iterator<Item = &Group> + Clone) {
    let end = Instant::now() + TAKEN_AFTER;
    while Instant::now() < end {
        for group in groups.clone() {
            let client = Client::new(at, group.admin.user());
            assert!(
                !is_unmarked(
                    &client,
                    &format!("/v1/conversations/{}/messages", group.name)
                )
                .await
            );
        }
    }
}

/// Sends to all of them, again and again, until it is aborted.
fn keep_busy(direct: &[(Client, String)]) -> Vec<tokio::task::JoinHandle<()>> {
    let each_four_times = direct
        .iter()
        .flat_map(|pair| std::iter::repeat_n(pair.clone(), 4));
    let send = |(client, name): (Client, String)| {
        tokio::spawn(async move {
            loop {
                post(&client, &name, "busy").await;
            }
        })
    };
    each_four_times.map(send).collect()
}

/// Those that other nodes own are served as before.
async fn goes_on(groups: &[Group]) {
    eventually("conversations of others go on", || async {
        for group in groups {
            if post(&group.admin, &group.name, "still").await == Some(201) {
                return Some(());
            }
        }
        None
    })
    .await;
}
