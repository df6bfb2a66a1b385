//! The fixed work, and what it costs: one conversation, ten members with a socket each, messages of
//! one length.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::BACKEND;
use crate::limits::{self, Figure};
use crate::measured::{Counters, counters, grown};
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::embedded::Process;
use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{Fields, eventually};
use crate::tracer::Tracer;

/// Names decide which shards, and so which nodes, a message meets: always the same.
const ADMIN: &str = "admin";
const CONVERSATION: &str = "counted";
const MEMBERS: usize = 10;

/// 120 bytes, as the load test sends by default.
const TEXT: &str = "A hundred and twenty bytes of text, which is what people write who do not write much, and often, and to \
                    each other, yes?";

/// Messages before anything is counted: connections, caches and prepared statements are there then.
const WARM_UP: Work = Work {
    batches: 16,
    size: 1,
    copies: 1,
};

/// How long the server is watched doing nothing.
const IDLE: Duration = Duration::from_secs(2);

/// Whatever is gathered for a while is never due by itself while something is counted: a batch ends
/// when its work does. Only the tick of the workers is shorter than it might be: a node whose files
/// do not get on for 10 s gives its shards up.
const FLAGS: [&str; 22] = [
    "--threads",
    "1",
    "--delivered-every",
    "1h",
    "--heartbeat",
    "1h",
    "--apply-tick",
    "8s",
    "--apply-gather",
    "1h",
    "--checkpoint-every",
    "1h",
    "--checkpoint-pages",
    "1000000",
    "--trim-floor",
    "1h",
    "--file-rest",
    "1h",
    "--frames-per-second-max",
    "1000000",
    "--log-level",
    "warn",
];

/// In a cluster nothing is renewed either meanwhile: no other node could take anything over.
const CLUSTER_FLAGS: [&str; 10] = [
    "--nodes",
    "1",
    "--routers",
    "1",
    "--replicas",
    "1",
    "--takeover-watch",
    "1h",
    "--renew-every",
    "10m",
];

/// So many batches of so many messages each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) batches: usize,
    /// 1: a request for each. More: frames in one write of a socket, whose answers are then
    /// awaited.
    pub(crate) size: usize,
    /// Each message is sent so often, and counts once.
    pub(crate) copies: usize,
}

/// A deployment with a conversation.
pub(crate) struct Bench {
    server: Server,
    admin: Client,
    sockets: Vec<Socket>,
    seq: u64,
}

impl Bench {
    /// In one process with everything in it.
    pub(crate) async fn in_one_process(more: &[&str]) -> Self {
        Self::over(Server::One(Process::start(&[&FLAGS[..], more].concat()))).await
    }

    /// One router, one node and one Redis.
    pub(crate) async fn in_a_cluster(more: &[&str]) -> Self {
        let flags = [&CLUSTER_FLAGS[..], &FLAGS[..], more].concat();
        Self::over(Server::Many(Cluster::start_alone(BACKEND, &flags))).await
    }

    async fn over(server: Server) -> Self {
        let admin = server.client(ADMIN);
        let members: Vec<String> = (0..MEMBERS)
            .map(|number| format!("member-{number}"))
            .collect();
        let body = json!({"name": CONVERSATION, "participants": members});
        let created = admin.post("/v1/conversations", &body).await.expect(201);
        let mut bench = Self {
            seq: created.number("last_seq"),
            server,
            admin,
            sockets: Vec::new(),
        };

        bench.flush().await;
        for member in &members {
            let client = bench.server.client(member);
            eventually("the conversation is in the list of its member", || async {
                let list = client.get("/v1/conversations").await.expect(200);
                (!list.list("items").is_empty()).then_some(())
            })
            .await;
            bench
                .sockets
                .push(Socket::ready(&bench.server, member).await);
        }

        bench.carry_out(WARM_UP).await;
        bench.until_applied().await;
        bench
    }

    /// Waits until the workers have nothing to do in any shard, and the tick of none is running.
    async fn until_applied(&self) {
        eventually("everything is applied", || async {
            (self.server.metric("rookery_shard_lag_records").await <= 0.0).then_some(())
        })
        .await;
    }

    /// What a message of this work costs.
    pub(crate) async fn figures(&mut self, work: Work) -> Vec<Figure> {
        self.flush().await;
        let by_itself = self.idle_commands().await;
        let (before, begun) = (counters(&self.server).await, Instant::now());
        self.carry_out(work).await;
        self.flush().await;
        let (seconds, after) = (begun.elapsed().as_secs_f64(), counters(&self.server).await);

        let mut counted = grown(&before, &after);
        counted
            .entry(limits::COMMANDS)
            .and_modify(|count| *count -= by_itself * seconds);
        counted.extend(self.calls(work).await);
        let messages = (work.batches * work.size) as f64;
        counted
            .into_iter()
            .map(|(name, count)| Figure {
                name,
                count: count / messages,
            })
            .collect()
    }

    /// Commands of Redis a second while nothing is sent.
    async fn idle_commands(&self) -> f64 {
        let (before, begun) = (counters(&self.server).await, Instant::now());
        tokio::time::sleep(IDLE).await;
        let (seconds, after) = (begun.elapsed().as_secs_f64(), counters(&self.server).await);
        grown(&before, &after)
            .get(limits::COMMANDS)
            .map_or(0.0, |count| count / seconds)
    }

    /// System calls of each process during some work, without those that it makes by itself.
    async fn calls(&mut self, work: Work) -> Counters {
        let (names, pids): (Vec<_>, Vec<_>) = self.processes().into_iter().unzip();
        let attach = || {
            pids.iter()
                .map(|pid| Tracer::attach(*pid))
                .collect::<Vec<_>>()
        };
        let calls = |tracers: Vec<Tracer>| {
            tracers
                .into_iter()
                .map(|tracer| tracer.calls() as f64)
                .collect::<Vec<_>>()
        };

        let (tracers, begun) = (attach(), Instant::now());
        tokio::time::sleep(IDLE).await;
        let idle_seconds = begun.elapsed().as_secs_f64();
        let by_itself = calls(tracers);

        let (tracers, begun) = (attach(), Instant::now());
        self.carry_out(work).await;
        self.flush().await;
        let seconds = begun.elapsed().as_secs_f64();
        let busy = calls(tracers);

        let net = busy
            .into_iter()
            .zip(by_itself)
            .map(|(busy, idle)| busy - idle / idle_seconds * seconds);
        names.into_iter().zip(net).collect()
    }

    /// The processes whose calls are counted.
    fn processes(&self) -> Vec<(&'static str, u32)> {
        let names = match &self.server {
            Server::One(_) => &[limits::CALLS][..],
            Server::Many(_) => &[limits::CALLS_OF_NODE, limits::CALLS_OF_ROUTER],
        };
        let pids = self.server.pids();
        assert_eq!(pids.len(), names.len());
        names.iter().copied().zip(pids).collect()
    }

    async fn carry_out(&mut self, work: Work) {
        for _ in 0..work.batches {
            for _ in 0..work.copies {
                match work.size {
                    1 => self.send_one().await,
                    size => self.send_burst(size).await,
                }
            }
        }
    }

    /// Sends a message, and waits until all have it.
    async fn send_one(&mut self) {
        self.seq = self.admin.say(CONVERSATION, TEXT).await.number("seq");
        self.until_seen().await;
    }

    /// The same with several that are written at once.
    async fn send_burst(&mut self, size: usize) {
        let frame = json!({"t": "send", "conversation": CONVERSATION, "text": TEXT});
        let sender = &mut self.sockets[0];
        let last = sender.post_all(vec![frame; size]).await;
        let answer = sender
            .find("the last answer", |answer| answer["ref"] == last.as_str())
            .await;
        assert_eq!(answer["t"], "ok", "{answer}");
        self.seq += size as u64;
        self.until_seen().await;
    }

    async fn until_seen(&mut self) {
        for socket in &mut self.sockets {
            socket.until_seq(CONVERSATION, self.seq).await;
        }
    }

    /// Has everything applied: watermarks are read from the file, and whoever reads them waits
    /// until it is up to date.
    async fn flush(&self) {
        let path = format!("/v1/conversations/{CONVERSATION}/watermarks?limit=1");
        self.admin.get(&path).await.expect(200);
    }
}
