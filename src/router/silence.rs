//! Sockets of nodes that fell silent. A node that is paused, cut off, or whose machine is gone without a word keeps its side
//! of every connection open: its clients would hear nothing until a heartbeat of theirs fails. So whenever a shard is taken
//! from a node, the node is asked for an answer, and when it gives none, its sockets are cut. The clients come back and resume.
//!
//! **Invariants.** A node that answers, whatever it answers, loses no socket. No more is remembered than there are nodes with sockets.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::node::hop;
use crate::node::table::Table;
use crate::router::directory::Directory;
use crate::telemetry::ROUTER_SOCKETS_CUT;

/// A node is asked so many times before its sockets are cut: one lost answer proves nothing.
const PROBES: u32 = 2;

/// What cuts the sockets of each node, by the address of its HTTP port.
#[derive(Debug, Default)]
pub(super) struct Cuts(Mutex<HashMap<String, Cut>>);

/// Held by each socket of a node; fires when the node fell silent.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<CancellationToken>);

impl Cut {
    /// Waits until the node has fallen silent. Cancel safe.
    pub(super) async fn cut(&self) {
        self.0.cancelled().await;
    }
}

impl Cuts {
    /// For a new socket of the node at this address.
    pub(super) fn of(&self, address: &str) -> Cut {
        self.lock().entry(address.to_owned()).or_default().clone()
    }

    /// Follows the table, and cuts the sockets of each node that lost a shard and gave no answer within `patience`, twice.
    /// For ever, or until the table is followed no more.
    pub(super) async fn watch(&self, directory: &Directory, patience: Duration) {
        let mut table = directory.watch();
        let mut before = table.borrow_and_update().clone();
        let mut probes: JoinSet<(String, bool)> = JoinSet::new();
        loop {
            tokio::select! {
                changed = table.changed() => if changed.is_err() { return },
                Some(Ok((address, answers))) = probes.join_next(), if !probes.is_empty() => {
                    if !answers {
                        self.cut(&address);
                    }
                    continue;
                }
            }
            let now = table.borrow_and_update().clone();
            if let (Some(before), Some(now)) = (&before, &now) {
                let lost = self.with_sockets(losers(before, now));
                lost.into_iter().for_each(|address| drop(probes.spawn(probe(address, patience))));
            }
            before = now;
        }
    }

    /// Those of the addresses that have sockets. Forgets nodes that have none.
    fn with_sockets(&self, mut addresses: BTreeSet<String>) -> BTreeSet<String> {
        let mut cuts = self.lock();
        cuts.retain(|_, cut| Arc::strong_count(&cut.0) > 1);
        addresses.retain(|address| cuts.contains_key(address));
        addresses
    }

    fn cut(&self, address: &str) {
        let Some(cut) = self.lock().remove(address) else { return };
        let sockets = Arc::strong_count(&cut.0).saturating_sub(1);
        tracing::warn!(node = address, sockets, "a node lost shards and gives no answer, its sockets are cut");
        ROUTER_SOCKETS_CUT.add(u64::try_from(sockets).unwrap_or(u64::MAX), &[]);
        cut.0.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Cut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses of the nodes that owned a shard and own it no more.
fn losers(before: &Table, now: &Table) -> BTreeSet<String> {
    let firsts = before.rows.iter().zip(&now.rows).map(|(former, row)| (former.first(), row.first()));
    let lost = firsts.filter(|(former, owner)| former != owner).filter_map(|(former, _)| former);
    lost.filter_map(|node| before.addresses(node)).map(|addresses| addresses.http.clone()).collect()
}

/// Whether the node gives an answer.
async fn probe(address: String, patience: Duration) -> (String, bool) {
    for _ in 0..PROBES {
        if timeout(patience, ask(&address)).await.unwrap_or(false) {
            return (address, true);
        }
    }
    (address, false)
}

/// Over a connection of its own: one that is open may be of a process that is gone. A node that refuses is silent too: its
/// sockets are those of a process before.
async fn ask(address: &str) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let Ok((mut sender, connection)) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await else {
        return false;
    };
    let request = Request::head(hop::PROBE).header(http::header::HOST, address).body(Empty::new());
    let Ok(request) = request else { return false };
    tokio::select! {
        answer = sender.send_request(request) => answer.is_ok(),
        _ended = connection => false,
    }
}
