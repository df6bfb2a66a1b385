//! The way of one node to Redis, which can be held as a firewall would that drops packets: connections stay open, nothing
//! passes, and nobody is told.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::cluster::Cluster;

/// Servers of Redis Cluster.
const SERVERS: usize = 6;

/// Where this node finds all servers, at their own ports: a proxy stands before each.
const DETOUR: &str = "127.0.0.2";

/// The proxies before the servers, for one node.
pub(super) struct Wires {
    held: watch::Sender<bool>,
}

impl Wires {
    /// Puts a proxy before each server of a deployment that is prepared, for this node alone. Clients of Redis Cluster go
    /// where its servers say; these say a port only, and so each client stays with the host that it was given.
    pub(super) async fn of(cluster: &Cluster, node: &str) -> Self {
        let held = watch::Sender::new(false);
        for name in (1..=SERVERS).map(|number| format!("redis-{number}")) {
            proxy(cluster.port(&name).port(), &held).await;
            cluster.write(&name, "flags", "--cluster-preferred-endpoint-type unknown-endpoint");
        }
        let detour = format!(r#"exec "${{@//redis:\/\/127.0.0.1:/redis:\/\/{DETOUR}:}}""#);
        let script = cluster.write(node, "detour", &detour);
        cluster.write(node, "wrap", &format!("bash {}", script.display()));
        Self { held }
    }

    /// Holds everything.
    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets everything pass, also what was held.
    pub(super) fn pass(&self) {
        self.held.send_replace(false);
    }
}

async fn proxy(port: u16, held: &watch::Sender<bool>) {
    let listener = TcpListener::bind((DETOUR, port)).await.unwrap();
    let held = held.subscribe();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(link(client, port, held.clone()));
        }
    });
}

async fn link(mut client: TcpStream, port: u16, mut held: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let passing = copy_bidirectional(&mut client, &mut server);
    tokio::pin!(passing);
    loop {
        let is_held = *held.borrow_and_update();
        tokio::select! {
            // Whether it ended well or broke, both ends are closed now.
            _ = &mut passing, if !is_held => return,
            changed = held.changed() => if changed.is_err() { return },
        }
    }
}
