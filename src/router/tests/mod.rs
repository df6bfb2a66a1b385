//! The router over real sockets and links, against nodes that are scripted: what a node sees, what
//! a client gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Verifier;
use crate::cluster::table::changes::Changes;
use crate::cluster::table::follow::FALLEN_AFTER;
use crate::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use crate::ids::{ClusterId, NodeId, SessionId, Slot};
use crate::link::front::attach::Tells;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::server::{Answering, Answers, FrontServer, RouterEnd, Sessions};
use crate::link::front::{Authorization, Call, Down, Key, Open, Refusal, Terms, Up};
use crate::link::handshake::accept_link;
use crate::link::proof::ClusterKey;
use crate::link::{self, Credentials, Role};
use crate::log::Identity;
use crate::problem::{Code, Problem};
use crate::router::cors::Origins;
use crate::router::directory::Directory;
use crate::router::links::{Links, Ways};
use crate::router::{Config, Router};

mod connections;
mod heads;
mod requests;
mod sockets;
mod versions;

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

/// The cluster of these tests, and its key.
const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

fn key() -> ClusterKey {
    ClusterKey::new(&[7; 32]).unwrap()
}

/// A node's name: that of its address, which is the same for links and for sockets.
fn node_at(address: &SocketAddr) -> NodeId {
    NodeId::from(address.to_string().as_str())
}

/// A table of one shard whose row is these addresses in order.
fn table(version: u64, row: &[SocketAddr]) -> Option<Table> {
    let ids: Vec<NodeId> = row.iter().map(node_at).collect();
    let addresses = row.iter().map(|address| NodeAddresses {
        peer: address.to_string(),
        ..NodeAddresses::default()
    });
    let nodes = ids.iter().cloned().zip(addresses);
    let identity = Identity {
        cluster: CLUSTER,
        shards: 1,
    };
    Some(Table {
        version,
        identity,
        nodes: nodes.collect(),
        rows: vec![ids],
        claimed: BTreeSet::new(),
        changes: Changes::default(),
    })
}

/// A request as a node saw it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    /// A call, written as the request that it is.
    fn called(call: &Call) -> Self {
        let (endpoint, method) = call.operation.place();
        let method = if call.head { "HEAD" } else { method.as_str() };
        let first = call.first.clone().unwrap_or_default();
        let path = endpoint
            .template()
            .replace("{name}", &first)
            .replace("{id}", &first);
        let path = path.replace("{user}", call.second.as_deref().unwrap_or_default());
        let query = if call.query.is_empty() {
            String::new()
        } else {
            format!("?{}", call.query)
        };
        let mut headers = vec![
            ("x-request-id".to_owned(), call.request_id.clone()),
            (
                "rookery-deadline-ms".to_owned(),
                call.deadline_ms.to_string(),
            ),
        ];
        headers.extend(
            call.token
                .iter()
                .map(|token| ("authorization".to_owned(), format!("Bearer {token}"))),
        );
        headers.extend(match &call.key {
            Key::Client(key) => Some(("idempotency-key".to_owned(), key.clone())),
            Key::Stamped(key) => Some(("rookery-stamped-key".to_owned(), key.clone())),
            Key::None | Key::Malformed => None,
        });
        let flags = [
            (call.json, "content-type", "application/json"),
            (call.strict, "rookery-consistency", "strict"),
            (call.too_large, "rookery-body-too-large", "1"),
        ];
        let set = flags.into_iter().filter(|(set, ..)| *set);
        headers.extend(set.map(|(_, name, value)| (name.to_owned(), value.to_owned())));
        Self {
            line: format!("{method} /v1{path}{query} HTTP/1.1"),
            headers,
            body: call.body.to_vec(),
        }
    }

    /// Likewise what asks for a session.
    fn opened(open: &Open) -> Self {
        let query = if open.query.is_empty() {
            String::new()
        } else {
            format!("?{}", open.query)
        };
        let mut headers = vec![
            ("x-request-id".to_owned(), open.request_id.clone()),
            (
                "rookery-deadline-ms".to_owned(),
                open.deadline_ms.to_string(),
            ),
            (
                "sec-websocket-protocol".to_owned(),
                open.protocols.join(", "),
            ),
        ];
        if let Authorization::Bearer(token) = &open.authorization {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        Self {
            line: format!("GET /v1/ws{query} HTTP/1.1"),
            headers,
            body: Vec::new(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(seen, _)| seen == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a node does with a request.
enum Reply {
    /// Answers so.
    Send(String),
    /// Ends the link.
    SendAndClose,
    /// Answers so once it is told to.
    SendAfter(Arc<Notify>, String),
    /// Says nothing more, ever.
    Hang,
    /// Opens a session that gives back what is said.
    Echo,
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
    answer(
        "503 Service Unavailable",
        &["content-type: application/problem+json"],
        r#"{"code":"unavailable"}"#,
    )
}

/// A node that follows a script: the number of the request (from 0) and the request, to what it
/// does.
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
        let (script, all): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(follow(
                    node_at(&address),
                    stream,
                    Arc::clone(&script),
                    Arc::clone(&all),
                ));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    async fn ok() -> Self {
        Self::scripted(|_, _| answer("200 OK", &[], "{}")).await
    }

    /// Waits for the first request.
    async fn asked(&self) {
        let asked = async {
            while self.seen().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the node is asked");
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

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// Takes what a router opens.
async fn follow(node: NodeId, stream: TcpStream, script: Arc<Script>, all: Arc<Mutex<Vec<Seen>>>) {
    let us = Credentials {
        id: node,
        role: Role::Node,
        cluster: CLUSTER,
        key: key(),
    };
    let config = link::Config::front();
    let (proven, socket) = accept_link(&us, &config, stream)
        .await
        .expect("a router with the key");
    assert_eq!(proven.role, Role::Router);
    let cut = CancellationToken::new();
    let scripted = Arc::new(Scripted {
        script,
        all,
        cut: cut.clone(),
    });
    let server = FrontServer::new(Arc::<Scripted>::clone(&scripted), scripted, config);
    drop(
        cut.run_until_cancelled(server.serve((proven.id, proven.version), socket))
            .await,
    );
}

/// A node's end of a link that follows the script.
struct Scripted {
    script: Arc<Script>,
    all: Arc<Mutex<Vec<Seen>>>,
    cut: CancellationToken,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    /// What the script does with the next request.
    fn next(&self, seen: Seen) -> Reply {
        let number = {
            let mut all = self.all.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        (self.script)(number, &seen)
    }
}

impl Sessions for Scripted {
    /// Sessions give back what is said.
    fn take(&self, router: &RouterEnd, frame: Up) {
        match frame {
            Up::Open(open) => {
                let session = open.session;
                let refused = |why| Down::Refused { session, why };
                let answered = match self.next(Seen::opened(&open)) {
                    Reply::Echo => Down::Opened {
                        session,
                        id: SessionId::random(),
                        protocol: open.protocols.iter().any(|offer| offer == "rookery.v1"),
                        terms: Terms::default(),
                        stage: None,
                    },
                    Reply::Send(bytes) => match told(&bytes) {
                        Answer::Elsewhere { owner, version } => {
                            refused(Refusal::Elsewhere { owner, version })
                        }
                        Answer::Told(told) => {
                            let code = Code::ALL
                                .into_iter()
                                .find(|code| code.status() == told.status)
                                .unwrap();
                            let code = if told.status == 503 {
                                Code::Unavailable
                            } else {
                                code
                            };
                            refused(Refusal::Problem(Problem::new(code, "the script says so")))
                        }
                    },
                    Reply::SendAfter(..) | Reply::SendAndClose | Reply::Hang => return,
                };
                router.offer(answered);
            }
            Up::Said { session, text, .. } => {
                router.offer(Down::Deliver {
                    to: vec![session],
                    quiet: Vec::new(),
                    text,
                    event: None,
                    tells: Tells::Nothing,
                });
            }
            _ => {}
        }
    }

    fn ended(&self, _: &RouterEnd) {}
}

impl Answers for Scripted {
    fn answer(&self, call: Call, _: Instant) -> Answering {
        let reply = self.next(Seen::called(&call));
        let cut = self.cut.clone();
        Box::pin(async move {
            match reply {
                Reply::Send(bytes) => told(&bytes),
                Reply::SendAfter(when, bytes) => {
                    when.notified().await;
                    told(&bytes)
                }
                Reply::SendAndClose => {
                    cut.cancel();
                    std::future::pending().await
                }
                Reply::Hang | Reply::Echo => std::future::pending().await,
            }
        })
    }

    fn refuse(&self, _: &Call) -> Told {
        panic!("so many calls at once are not made here")
    }

    fn table(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}

/// An answer written as HTTP, as it goes over a link.
fn told(bytes: &str) -> Answer {
    let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
    let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let pairs = rest
        .split("\r\n")
        .filter_map(|header| header.split_once(": "));
    let headers: Vec<(String, String)> = pairs
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let of = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    if status == 421 {
        let version = of("rookery-table-version").map_or(0, |version| version.parse().unwrap());
        return Answer::Elsewhere {
            owner: of("rookery-owner").map(NodeId::from),
            version,
        };
    }
    Answer::Told(Told {
        status,
        headers,
        body: vec![Bytes::copy_from_slice(body.as_bytes())],
    })
}

/// Reads one message: its first line, headers and body by `content-length`. `None` at the end of
/// the stream.
async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
            let pairs = rest
                .split("\r\n")
                .filter_map(|header| header.split_once(": "));
            let pairs = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
            let mut seen = Seen {
                line: line.to_owned(),
                headers: pairs.collect(),
                body: Vec::new(),
            };
            let length: usize = seen
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
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
    /// Ends the links.
    stop: CancellationToken,
    served: JoinHandle<()>,
}

fn config() -> Config {
    Config {
        origins: Origins::Localhost,
        drain_window: Duration::from_millis(50),
        ..Config::default()
    }
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
        let stop = CancellationToken::new();
        let links = Links::new(
            Ways::Sockets(key()),
            directory.clone(),
            link::Config::front(),
            stop.clone(),
        );
        let router = Router::new(config, directory.clone(), links, verifier);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, draining) = (router.clone(), drain.clone());
        let served = tokio::spawn(async move { serving.serve(listener, draining).await });
        while expected && directory.table().is_none() {
            timeout(Duration::from_millis(5), directory.changed())
                .await
                .unwrap_or_default();
        }
        Self {
            address,
            router,
            shelf,
            drain,
            stop,
            served,
        }
    }

    async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// One request on a connection of its own. `head` is the first line without version, then
    /// headers, a line each.
    async fn ask(&self, head: &str, body: &str) -> Seen {
        self.client().await.ask(head, body).await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.drain.cancel();
        self.stop.cancel();
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
        self.answer()
            .await
            .expect("an answer, not a dropped connection")
    }

    async fn send(&mut self, head: &str, body: &str) {
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut all = format!("{line} HTTP/1.1\r\nhost: rookery\r\n");
        for header in headers
            .lines()
            .map(str::trim)
            .filter(|header| !header.is_empty())
        {
            all.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            all.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        self.stream
            .write_all(format!("{all}\r\n{body}").as_bytes())
            .await
            .unwrap();
    }

    async fn answer(&mut self) -> Option<Seen> {
        timeout(PATIENCE, read_message(&mut self.stream, &mut self.buffer))
            .await
            .expect("in time")
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("an end")
            .unwrap_or_default();
        rest
    }
}

impl Seen {
    fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(
            problem["request_id"].as_str(),
            self.header("x-request-id"),
            "the ids are one"
        );
        assert_eq!(
            self.header("retry-after").is_some(),
            matches!(self.status(), 429 | 503),
            "{self:?}"
        );
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// An unsigned token: good enough to choose a node.
fn token(subject: &str) -> String {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    format!(
        "{}.{}.c2ln",
        part(r#"{"alg":"HS256"}"#),
        part(&format!(r#"{{"sub":"{subject}","exp":4102444800}}"#))
    )
}

/// An address that nothing listens on.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lower_version_is_followed_when_it_stands_and_another_clusters_table_never() {
    let shelf = Arc::new(Shelf::default());
    let (one, two) = (nowhere().await, nowhere().await);
    shelf.put(table(5, &[one]));
    let stop = CancellationToken::new();
    let directory = Directory::follow(
        Arc::<Shelf>::clone(&shelf),
        Duration::from_millis(1),
        stop.clone(),
    );
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
        let nodes = directory.candidates(Slot(0));
        nodes
            .into_iter()
            .map(|node| node.0.to_string())
            .collect::<Vec<_>>()
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
    assert_eq!(
        next_load().await,
        [one.to_string()],
        "it fell back, and stands"
    );
    stop.cancel();
}
