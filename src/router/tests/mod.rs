//! The router over real sockets and links, against nodes that are scripted: what a node sees, what
//! a client gets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::scripted::{Node, Reply, answer, declined};
use self::seen::{Seen, key, token};
use self::shelf::{CLUSTER, Shelf, node_at, table};
use self::stand::{Stand, config};
use crate::auth::Verifier;
use crate::cluster::table::Table;
use crate::ids::{ClusterId, NodeId};
use crate::link;
use crate::link::front::{Call, Open};
use crate::router::directory::Directory;
use crate::router::{Config, Router};

mod attempts;
mod bounds;
mod connections;
mod heads;
mod passing;
mod scripted;
mod seen;
mod shelf;
mod sockets;
mod stand;
mod tables;
mod versions;

/// Longest wait for anything in these tests; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

const POST: &str = "POST /v1/conversations/general/messages\ncontent-type: application/json";
const GET: &str = "GET /v1/conversations/general/messages";

/// A router that gives a request this long.
fn short(budget_ms: u64) -> Config {
    Config {
        budget: Duration::from_millis(budget_ms),
        ..config()
    }
}

/// An address that nothing listens on.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}
