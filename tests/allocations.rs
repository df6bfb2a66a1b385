//! What a message costs in allocations, from the request to the sockets: the router, the link, a
//! node and the embedded log on one thread, whose allocations are counted. The clients are on
//! another one, and so is SQLite.
//!
//! The table of limits is that of `tests/counts`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect, and says so"
)]
#![allow(
    clippy::shadow_unrelated,
    reason = "a test reads the same thing again, later: the newest is what counts"
)]

#[path = "counts/limits.rs"]
mod limits;
#[allow(
    dead_code,
    reason = "it is shared with other targets, and this one does little"
)]
#[path = "it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use clap::{Args as _, FromArgMatches as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use rookery::auth::{self, Verifier};
use rookery::clock::Clock;
use rookery::cluster::assignment::first_table;
use rookery::cluster::claimed::Claimed;
use rookery::cluster::table::TableStore;
use rookery::cluster::table::embedded::EmbeddedTable;
use rookery::config::settings::Settings;
use rookery::ids::{ClusterId, NodeId};
use rookery::link;
use rookery::link::proof::ClusterKey;
use rookery::log::Identity;
use rookery::log::embedded::EmbeddedLog;
use rookery::node::{self, Listeners, Node, Setup};
use rookery::router::Router;
use rookery::router::directory::Directory;
use rookery::router::links::{Links, Ways};
use rookery::watchdog::Watchdog;

use crate::limits::{ALLOCATED, ALLOCATIONS, Figure, THREAD_SINGLY};
use crate::support::client::Client;
use crate::support::socket::Socket;
use crate::support::{Fields, SECRET, eventually};

/// No deployment of several processes is started here.
const BACKEND: support::server::Backend = support::server::Backend::Embedded;

const SHARDS: u32 = 16;
const KEY: [u8; 32] = [7; 32];
const CONVERSATION: &str = "counted";
const MEMBERS: usize = 10;
const WARM_UP: usize = 50;
const MESSAGES: usize = 100;

/// 120 bytes, as in `tests/counts`.
const TEXT: &str = "A hundred and twenty bytes of text, which is what people write who do not write much, and often, and to \
                    each other, yes?";

/// How long the server is watched doing nothing.
const IDLE: Duration = Duration::from_secs(1);

/// Whatever is gathered for a while is not due while something is counted.
const FLAGS: [&str; 15] = [
    "allocations",
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
    "--trim-floor",
    "1h",
    "--file-rest",
    "1h",
];

/// A server on a thread of its own, which always counts.
struct Counted {
    address: SocketAddr,
    windows: Sender<oneshot::Receiver<()>>,
    counts: Receiver<AllocationInfo>,
    /// Ends the window of now.
    end: oneshot::Sender<()>,
}

impl Counted {
    fn start() -> Self {
        let (windows, asked) = channel::<oneshot::Receiver<()>>();
        let (told, counts) = channel();
        let (ready, address) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let deployment = runtime.block_on(Deployment::start());
            ready.send(deployment.address).unwrap();
            while let Ok(end) = asked.recv() {
                let count = measure(|| {
                    let _ended = runtime.block_on(end);
                });
                // Nobody is left at the end of the test.
                told.send(count).ok();
            }
        });
        let (end, ended) = oneshot::channel();
        windows.send(ended).unwrap();
        Self {
            address: address.recv_timeout(support::DEADLINE).unwrap(),
            windows,
            counts,
            end,
        }
    }

    /// What was allocated since this was asked last. The server stands still for no longer than
    /// that takes.
    fn since_last(&mut self) -> AllocationInfo {
        let (end, ended) = oneshot::channel();
        self.windows.send(ended).unwrap();
        std::mem::replace(&mut self.end, end).send(()).unwrap();
        self.counts.recv_timeout(support::DEADLINE).unwrap()
    }
}

/// A router, a node and the embedded log.
struct Deployment {
    address: SocketAddr,
    _node: Node,
    _folder: tempfile::TempDir,
}

impl Deployment {
    #[expect(clippy::too_many_lines, reason = "one literal of settings")]
    async fn start() -> Self {
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let command = Settings::augment_args(clap::Command::new("allocations"));
        let settings = Settings::from_arg_matches(&command.get_matches_from(FLAGS)).unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.sqlite"))
            .await
            .unwrap();
        let table = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
        let identity = table
            .create(Identity {
                cluster: ClusterId::random(),
                shards: SHARDS,
            })
            .await
            .unwrap();
        let (id, listeners) = (
            NodeId::from("node-1"),
            Listeners::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))
                .await
                .unwrap(),
        );
        let addresses = BTreeMap::from([(id.clone(), listeners.addresses().unwrap())]);
        assert!(
            table
                .swap(0, first_table(identity, &addresses, 1))
                .await
                .unwrap()
        );
        let auth = auth::Config {
            hs256_secret: Some(SECRET.to_owned()),
            jwks: None,
            issuer: None,
            audience: None,
            user_claim: auth::UserClaim::default(),
            cache_max: 100,
        };
        let verifier = Verifier::new(auth, Clock::system()).unwrap();
        let setup = Setup {
            folder: folder.path().join(&*id.0),
            id,
            identity,
            log,
            renewing: None,
            table: Arc::<EmbeddedTable>::clone(&table),
            claimed: Claimed::default(),
            verifier: verifier.clone(),
            cluster_key: ClusterKey::new(&KEY).unwrap(),
            clock: Clock::system(),
            watchdog: Watchdog::spawn(stop.clone()),
            first_attempts_max: Some(3),
            beside: node::Beside::default(),
            config: node::Config {
                balance: false,
                session: settings.session(),
                shard: settings.shard(),
                requests_per_second: 1_000_000,
                request_burst: 1_000_000,
                replicas: None,
                seeding: node::standby::Config::default(),
            },
        };
        let node = Node::start(setup, listeners).await.unwrap();
        let address = serve(&settings, table, verifier, stop).await;
        Self {
            address,
            _node: node,
            _folder: folder,
        }
    }
}

/// Starts the router; where it takes clients.
async fn serve(
    settings: &Settings,
    table: Arc<EmbeddedTable>,
    verifier: Verifier,
    stop: CancellationToken,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let directory = Directory::follow(table, Duration::from_millis(250), stop.clone());
    // As between processes: what goes over a link is encoded and decoded.
    let ways = Ways::Sockets(ClusterKey::new(&KEY).unwrap());
    let links = Links::new(ways, directory.clone(), link::Config::front(), stop.clone());
    let router = Router::new(settings.router().unwrap(), directory, links, Some(verifier));
    while router.readiness().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::spawn(async move { router.serve(listener, stop).await });
    address
}

/// A conversation with ten sockets.
struct Bench {
    server: Counted,
    admin: Client,
    sockets: Vec<Socket>,
}

impl Bench {
    async fn start() -> Self {
        let server = Counted::start();
        let admin = Client::new(server.address, "admin");
        let members: Vec<String> = (0..MEMBERS)
            .map(|number| format!("member-{number}"))
            .collect();
        admin
            .post(
                "/v1/conversations",
                &json!({"name": CONVERSATION, "participants": members}),
            )
            .await
            .expect(201);
        let mut bench = Self {
            server,
            admin,
            sockets: Vec::new(),
        };
        bench.flush().await;
        for member in &members {
            let client = Client::new(bench.server.address, member);
            eventually("the conversation is in the list of its member", || async {
                let list = client.get("/v1/conversations").await.expect(200);
                (!list.list("items").is_empty()).then_some(())
            })
            .await;
            let mut socket = Socket::attempt(bench.server.address, member, "/v1/ws")
                .await
                .unwrap();
            socket.until_t("ready").await;
            bench.sockets.push(socket);
        }
        bench.send(WARM_UP).await;
        bench
    }

    /// Sends so many messages, one after the other; all have each before the next.
    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let seq = self.admin.say(CONVERSATION, TEXT).await.number("seq");
            for socket in &mut self.sockets {
                socket.until_seq(CONVERSATION, seq).await;
            }
        }
        self.flush().await;
    }

    /// Has everything applied.
    async fn flush(&self) {
        self.admin
            .get(&format!(
                "/v1/conversations/{CONVERSATION}/watermarks?limit=1"
            ))
            .await
            .expect(200);
    }

    /// What a message costs, of which `copies` are sent.
    async fn figures(&mut self, copies: usize) -> Vec<Figure> {
        self.server.since_last();
        tokio::time::sleep(IDLE).await;
        let idle = self.server.since_last();
        let begun = Instant::now();
        self.send(MESSAGES * copies).await;
        let (seconds, count) = (begun.elapsed().as_secs_f64(), self.server.since_last());

        let of = |count: u64, idle: u64| {
            (count as f64 - idle as f64 / IDLE.as_secs_f64() * seconds) / MESSAGES as f64
        };
        vec![
            Figure {
                name: ALLOCATIONS,
                count: of(count.count_total, idle.count_total),
            },
            Figure {
                name: ALLOCATED,
                count: of(count.bytes_total, idle.bytes_total),
            },
        ]
    }
}

#[tokio::test]
async fn a_message_is_worth_no_more_allocations_than_it_was() {
    let figures = Bench::start().await.figures(1).await;
    eprintln!("{}", limits::shown(THREAD_SINGLY, &figures));
    let complaints = limits::complaints(THREAD_SINGLY, &figures);
    assert!(
        complaints.is_empty(),
        "{}\n{}",
        complaints.join("\n"),
        limits::shown(THREAD_SINGLY, &figures)
    );
}

#[tokio::test]
async fn the_guard_notices_that_twice_as_much_is_allocated() {
    let figures = Bench::start().await.figures(2).await;
    assert_eq!(
        limits::complaints(THREAD_SINGLY, &figures).len(),
        figures.len(),
        "{figures:?}"
    );
}
