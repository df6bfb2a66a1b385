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
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use serde_json::json;
use tokio::sync::oneshot;

use rookery::cluster::table::embedded::EmbeddedTable;
use rookery::ids::NodeId;
use rookery::node::Node;

use crate::limits::{ALLOCATED, ALLOCATIONS, Figure, THREAD_SINGLY};
use crate::support::client::Client;
use crate::support::socket::Socket;
use crate::support::within::{Within, bound};
use crate::support::{Fields, SECRET, eventually};

/// No deployment of several processes is started here.
const BACKEND: support::server::Backend = support::server::Backend::Embedded;

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
const FLAGS: [&str; 14] = [
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
    _within: Within,
}

impl Deployment {
    async fn start() -> Self {
        let within = Within::new(&FLAGS, SECRET).await;
        let (id, listeners) = (NodeId::from("node-1"), bound().await);
        let addresses = BTreeMap::from([(id.clone(), listeners.addresses().unwrap())]);
        within.begin(&addresses).await;

        let table = Arc::<EmbeddedTable>::clone(&within.table);
        let node = Node::start(within.node(id, table), listeners)
            .await
            .unwrap();
        Self {
            address: within.route(Duration::from_millis(250)).await,
            _node: node,
            _within: within,
        }
    }
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
