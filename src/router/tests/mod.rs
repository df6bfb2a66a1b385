//! The router over real sockets, against nodes that are scripted byte by byte: what a node sees, what a client gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Verifier;
use crate::ids::{ClusterId, NodeId, Slot};
use crate::node::table::follow::FALLEN_AFTER;
use crate::node::table::{NodeAddresses, Table, TableError, TableStore};
use crate::router::cors::Origins;
use crate::router::directory::Directory;
use crate::router::{Config, Router};
use crate::shard::log::Identity;

mod connections;
mod heads;
mod requests;
mod sockets;

/// Longest wait for anything in these tests; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A table in memory that the test changes.
#[derive(Debug, Default)]
struct Shelf {
    table: Mutex<Option<Table>>,
    loads: AtomicUsize,
}

impl Shelf {
    fn put(&self, table: Option<Table>) {
        *self.table.lock().unwrap() = table;
    }
}

#[async_trait]
impl TableStore for Shelf {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn create(&self, _: Identity) -> Result<Identity, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(self.table.lock().unwrap().clone())
    }

    async fn swap(&self, _: u64, _: Table) -> Result<bool, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn register(&self, _: &NodeId, _: &NodeAddresses) -> Result<(), TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn lead(&self, _: &NodeId, _: Duration) -> Result<bool, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        Err(TableError::Refused("not asked by a router".to_owned()))
    }
}

/// A table of one shard whose row is these addresses in order.
fn table(version: u64, row: &[SocketAddr]) -> Option<Table> {
    let ids: Vec<NodeId> = (0..row.len()).map(|at| NodeId::from(format!("n{at}").as_str())).collect();
    let nodes = ids
        .iter()
        .cloned()
        .zip(row.iter().map(|address| NodeAddresses { http: address.to_string(), peer: "127.0.0.1:1".to_owned() }));
    let identity = Identity { cluster: ClusterId(Uuid::from_u128(1)), shards: 1 };
    Some(Table { version, identity, nodes: nodes.collect(), rows: vec![ids], claimed: BTreeSet::new() })
}

/// A request as a node saw it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }
}

/// What a node does with a request.
enum Reply {
    /// Sends these bytes and keeps the connection.
    Send(String),
    /// Sends these bytes and closes.
    SendAndClose(String),
    /// Says nothing more, ever.
    Hang,
    /// Sends these bytes, then gives every byte back until the end, then says goodbye.
    Echo(String),
}

fn answer(status: &str, headers: &[&str], body: &str) -> Reply {
    let mut all = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for line in headers {
        all.push_str(line);
        all.push_str("\r\n");
    }
    Reply::Send(format!("{all}\r\n{body}"))
}

fn declined() -> Reply {
    answer("503 Service Unavailable", &["content-type: application/problem+json"], r#"{"code":"unavailable"}"#)
}

/// A node that follows a script: the number of the request (from 0) and the request, to what it does.
struct Node {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Node {
    async fn scripted(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (script, all) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(follow(stream, Arc::clone(&script), Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    async fn ok() -> Self {
        Self::scripted(|_, _| answer("200 OK", &[], "{}")).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow<F: Fn(usize, &Seen) -> Reply>(mut stream: TcpStream, script: Arc<F>, all: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_message(&mut stream, &mut buffer).await {
        let number = {
            let mut all = all.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        match script(number, &seen) {
            Reply::Send(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap_or_default(),
            Reply::SendAndClose(bytes) => return stream.write_all(bytes.as_bytes()).await.unwrap_or_default(),
            Reply::Hang => std::future::pending().await,
            Reply::Echo(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap_or_default();
                return to.write_all(b"goodbye").await.unwrap_or_default();
            }
        }
    }
}

/// Reads one message: its first line, headers and body by `content-length`. `None` at the end of the stream.
async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
            let pairs = rest.split("\r\n").filter_map(|header| header.split_once(": "));
            let pairs = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
            let mut seen = Seen { line: line.to_owned(), headers: pairs.collect(), body: Vec::new() };
            let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
            buffer.drain(..end + 4);
            while buffer.len() < length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            seen.body = buffer.drain(..length).collect();
            return Some(seen);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A router with its table, drained when the test ends.
struct Stand {
    address: SocketAddr,
    router: Router,
    shelf: Arc<Shelf>,
    drain: CancellationToken,
    served: JoinHandle<()>,
}

fn config() -> Config {
    Config { origins: Origins::Localhost, drain_window: Duration::from_millis(50), ..Config::default() }
}

impl Stand {
    async fn new(row: &[SocketAddr]) -> Self {
        Self::with(config(), table(1, row)).await
    }

    /// The poll is so slow that only the first one, hints and failures load the table.
    async fn with(config: Config, table: Option<Table>) -> Self {
        Self::verifying(config, table, None).await
    }

    async fn verifying(config: Config, table: Option<Table>, verifier: Option<Verifier>) -> Self {
        let shelf = Arc::new(Shelf::default());
        let expected = table.is_some();
        shelf.put(table);
        let drain = CancellationToken::new();
        let store = Arc::clone(&shelf);
        let directory = Directory::follow(store, Duration::from_secs(3600), drain.clone());
        let router = Router::new(config, directory.clone(), verifier);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, stop) = (router.clone(), drain.clone());
        let served = tokio::spawn(async move { serving.serve(listener, stop).await });
        while expected && directory.table().is_none() {
            timeout(Duration::from_millis(5), directory.changed()).await.unwrap_or_default();
        }
        Self { address, router, shelf, drain, served }
    }

    async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// One request on a connection of its own. `head` is the first line without version, then headers, a line each.
    async fn ask(&self, head: &str, body: &str) -> Seen {
        self.client().await.ask(head, body).await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// A client's connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn ask(&mut self, head: &str, body: &str) -> Seen {
        self.send(head, body).await;
        self.answer().await.expect("an answer, not a dropped connection")
    }

    async fn send(&mut self, head: &str, body: &str) {
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut all = format!("{line} HTTP/1.1\r\nhost: rookery\r\n");
        for header in headers.lines().map(str::trim).filter(|header| !header.is_empty()) {
            all.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            all.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        self.stream.write_all(format!("{all}\r\n{body}").as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> Option<Seen> {
        timeout(PATIENCE, read_message(&mut self.stream, &mut self.buffer)).await.expect("in time")
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("an end").unwrap_or_default();
        rest
    }
}

impl Seen {
    fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "the ids are one");
        assert_eq!(self.header("retry-after").is_some(), matches!(self.status(), 429 | 503), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// An unsigned token: good enough to choose a node.
fn token(subject: &str) -> String {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.c2ln", part(r#"{"alg":"HS256"}"#), part(&format!(r#"{{"sub":"{subject}","exp":4102444800}}"#)))
}

/// An address that nothing listens on.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lower_version_is_followed_when_it_stands_and_another_clusters_table_never() {
    let shelf = Arc::new(Shelf::default());
    let (one, two) = (nowhere().await, nowhere().await);
    shelf.put(table(5, &[one]));
    let stop = CancellationToken::new();
    let directory = Directory::follow(Arc::<Shelf>::clone(&shelf), Duration::from_millis(1), stop.clone());
    let next_load = async || {
        let before = shelf.loads.load(Ordering::SeqCst);
        // Two more: the first may have read what was there before.
        timeout(PATIENCE, async {
            while shelf.loads.load(Ordering::SeqCst) < before + 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("polls go on");
        directory.candidates(Slot(0))
    };
    assert_eq!(next_load().await, [one.to_string()]);
    shelf.put(table(4, &[two]));
    assert_eq!(next_load().await, [one.to_string()]);
    let mut foreign = table(9, &[two]).unwrap();
    foreign.identity.cluster = ClusterId(Uuid::from_u128(2));
    shelf.put(Some(foreign));
    assert_eq!(next_load().await, [one.to_string()]);
    shelf.put(None);
    assert_eq!(next_load().await, [one.to_string()]);
    shelf.put(table(6, &[two, one]));
    assert_eq!(next_load().await, [two.to_string(), one.to_string()]);
    directory.hint(40);
    shelf.put(table(4, &[one]));
    assert_eq!(next_load().await, [two.to_string(), one.to_string()]);
    tokio::time::sleep(FALLEN_AFTER).await;
    assert_eq!(next_load().await, [one.to_string()], "it fell back, and stands");
    stop.cancel();
}
