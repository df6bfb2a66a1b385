//! The way of one node to Redis, which can be held as a firewall would that drops packets:
//! connections stay open, nothing passes, and nobody is told. Or the answers alone are held: Redis
//! does what it is asked, and the node hears nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::cluster::Cluster;

/// Servers of Redis Cluster.
const SERVERS: usize = 6;

/// Where this node finds all servers, at their own ports: a proxy stands before each.
const DETOUR: &str = "127.0.0.2";

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Answers,
    Everything,
}

/// The proxies before the servers, for one node.
pub(super) struct Wires {
    held: watch::Sender<Held>,
}

impl Wires {
    /// Puts a proxy before each server of a deployment that is prepared, for this node alone.
    /// Clients of Redis Cluster go where its servers say; these say a port only, and so each client
    /// stays with the host that it was given.
    pub(super) async fn of(cluster: &Cluster, node: &str) -> Self {
        let held = watch::Sender::new(Held::Nothing);
        for name in (1..=SERVERS).map(|number| format!("redis-{number}")) {
            proxy(cluster.port(&name).port(), &held).await;
            cluster.write(
                &name,
                "flags",
                "--cluster-preferred-endpoint-type unknown-endpoint",
            );
        }
        let detour = format!(r#"exec "${{@//redis:\/\/127.0.0.1:/redis:\/\/{DETOUR}:}}""#);
        let script = cluster.write(node, "detour", &detour);
        cluster.write(node, "wrap", &format!("bash {}", script.display()));
        Self { held }
    }

    /// Holds everything.
    pub(super) fn hold(&self) {
        self.held.send_replace(Held::Everything);
    }

    /// Holds what Redis answers, while it hears whatever it is sent.
    pub(super) fn deafen(&self) {
        self.held.send_replace(Held::Answers);
    }

    /// Lets everything pass, also what was held.
    pub(super) fn pass(&self) {
        self.held.send_replace(Held::Nothing);
    }
}

async fn proxy(port: u16, held: &watch::Sender<Held>) {
    let listener = TcpListener::bind((DETOUR, port)).await.unwrap();
    let held = held.subscribe();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(link(client, port, held.clone()));
        }
    });
}

async fn link(client: TcpStream, port: u16, held: watch::Receiver<Held>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let requests = pump(from_client, to_server, held.clone(), |held| {
        held != Held::Everything
    });
    let answers = pump(from_server, to_client, held, |held| held == Held::Nothing);
    tokio::join!(requests, answers);
}

/// Hands on what comes, and its end, while it may pass.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held: watch::Receiver<Held>,
    passes: impl Fn(Held) -> bool,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if held.wait_for(|held| passes(*held)).await.is_err() {
            return;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            // Dropped with the end that was read: the other side learns of it.
            return;
        }
    }
}
