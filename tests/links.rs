//! Links that break: three real nodes and a router in this process; all connections between nodes
//! run through proxies that cut or stall them while clients send and read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect, and says so"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clap::{Args as _, FromArgMatches as _};
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;

use rookery::auth::{self, Verifier};
use rookery::clock::Clock;
use rookery::cluster::assignment::first_table;
use rookery::cluster::claimed::Claimed;
use rookery::cluster::map::ShardMap;
use rookery::cluster::table::embedded::EmbeddedTable;
use rookery::cluster::table::{NodeAddresses, Table, TableError, TableStore};
use rookery::config::settings::Settings;
use rookery::ids::{ClusterId, ConversationName, NodeId, ShardId, UserId};
use rookery::link;
use rookery::link::proof::ClusterKey;
use rookery::log::Identity;
use rookery::log::embedded::EmbeddedLog;
use rookery::node::Listeners;
use rookery::node::Setup;
use rookery::node::{self, Node};
use rookery::router::Router;
use rookery::router::directory::Directory;
use rookery::router::links::{Links, Ways};
use rookery::watchdog::Watchdog;

const SHARDS: u32 = 16;
const SECRET: &str = "links-under-test-0123456789-0123456789-0123456789";
/// Bounds a failure, measures nothing.
const DEADLINE: Duration = Duration::from_secs(30);
/// Times that a link is cut under load, at least.
const CUTS: usize = 30;
/// Texts that are sent while links are cut, at least: with fewer the test shows nothing. It goes on
/// cutting until then.
const TEXTS: usize = 500;
/// How long it goes on at most.
const CUTTING: Duration = Duration::from_secs(300);
/// Every so many cuts one is a stall: the connection stays open and nothing passes.
const STALL_EACH: usize = 10;
/// Longer than three missed heartbeats of a link.
const STALL: Duration = Duration::from_millis(2_200);
/// Longer than a send may wait for its answer.
const OUTAGE: Duration = Duration::from_millis(6_500);

/// What a proxy does with the bytes between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Stall,
}

/// Stands before the peer port of one node.
struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Ends the connections of now.
    cut: Mutex<CancellationToken>,
    open: Arc<AtomicUsize>,
    /// Connections that were open when they were cut.
    was_cut: AtomicUsize,
}

impl Proxy {
    async fn before(target: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            mode: watch::Sender::new(Mode::Pass),
            cut: Mutex::default(),
            open: Arc::default(),
            was_cut: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&proxy);
        tokio::spawn(async move {
            loop {
                let (from, _) = listener.accept().await.unwrap();
                let cut = accepting.cut.lock().unwrap().clone();
                let (mode, open) = (accepting.mode.subscribe(), Arc::clone(&accepting.open));
                let target = target.clone();
                tokio::spawn(async move {
                    let Ok(to) = TcpStream::connect(target).await else {
                        return;
                    };
                    open.fetch_add(1, Ordering::SeqCst);
                    let (from_read, from_write) = from.into_split();
                    let (to_read, to_write) = to.into_split();
                    tokio::select! {
                        () = pass(from_read, to_write, mode.clone()) => {}
                        () = pass(to_read, from_write, mode) => {}
                        () = cut.cancelled() => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    fn cut(&self) {
        self.was_cut
            .fetch_add(self.open.load(Ordering::SeqCst), Ordering::SeqCst);
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    // Small and odd, so that a cut falls within frames.
    let mut bytes = [0; 1_021];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        if mode.wait_for(|mode| *mode == Mode::Pass).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}

type Proxies = Arc<Mutex<HashMap<NodeId, Arc<Proxy>>>>;

/// The table as one node sees it: the peers of the others are reached by their proxies.
#[derive(Debug)]
struct ThroughProxies {
    table: Arc<EmbeddedTable>,
    me: NodeId,
    peers: Mutex<HashMap<NodeId, String>>,
}

#[async_trait]
impl TableStore for ThroughProxies {
    async fn identity(&self) -> Result<Option<Identity>, TableError> {
        self.table.identity().await
    }

    async fn create(&self, identity: Identity) -> Result<Identity, TableError> {
        self.table.create(identity).await
    }

    async fn load(&self) -> Result<Option<Table>, TableError> {
        let mut table = self.table.load().await?;
        let peers = self.peers.lock().unwrap().clone();
        for (node, addresses) in table.iter_mut().flat_map(|table| &mut table.nodes) {
            if let Some(peer) = peers.get(node).filter(|_| *node != self.me) {
                addresses.peer = peer.clone();
            }
        }
        Ok(table)
    }

    async fn swap(&self, expected: u64, mut table: Table) -> Result<bool, TableError> {
        // The proxies are nobody else's.
        for (node, addresses) in self
            .table
            .load()
            .await?
            .into_iter()
            .flat_map(|stands| stands.nodes)
        {
            table.nodes.insert(node, addresses);
        }
        self.table.swap(expected, table).await
    }

    async fn register(&self, node: &NodeId, addresses: &NodeAddresses) -> Result<(), TableError> {
        self.table.register(node, addresses).await
    }

    async fn lead(&self, node: &NodeId, life: Duration) -> Result<bool, TableError> {
        self.table.lead(node, life).await
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, NodeAddresses>, TableError> {
        self.table.nodes().await
    }
}

/// The cluster under test.
struct Cluster {
    nodes: Vec<Node>,
    table: Table,
    proxies: Proxies,
    client: SocketAddr,
    log: Arc<EmbeddedLog>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

fn settings() -> Settings {
    let command = Settings::augment_args(clap::Command::new("links"));
    Settings::from_arg_matches(&command.get_matches_from(["links"])).unwrap()
}

fn config_of(settings: &Settings) -> node::Config {
    node::Config {
        balance: false,
        session: settings.session(),
        shard: settings.shard(),
        requests_per_second: 100_000,
        request_burst: 100_000,
        replicas: None,
        seeding: node::standby::Config::default(),
    }
}

impl Cluster {
    #[expect(clippy::too_many_lines, reason = "one literal of settings")]
    async fn start() -> Self {
        let (folder, stop, settings) = (
            tempfile::tempdir().unwrap(),
            CancellationToken::new(),
            settings(),
        );
        let log = EmbeddedLog::open(&folder.path().join("log")).await.unwrap();
        let table = Arc::new(EmbeddedTable::new(Arc::clone(&log)));
        let identity = table
            .create(Identity {
                cluster: ClusterId::random(),
                shards: SHARDS,
            })
            .await
            .unwrap();
        let mut listeners = BTreeMap::new();
        let (mut addresses, mut peers) = (BTreeMap::new(), HashMap::new());
        let proxies = Proxies::default();
        for number in 1..=3 {
            let id = NodeId::from(format!("node-{number}").as_str());
            let bound = Listeners::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))
                .await
                .unwrap();
            let at = bound.addresses().unwrap();
            let proxy = Proxy::before(at.peer.clone()).await;
            peers.insert(id.clone(), proxy.address.to_string());
            proxies.lock().unwrap().insert(id.clone(), proxy);
            addresses.insert(id.clone(), at);
            listeners.insert(id, bound);
        }
        let first = first_table(identity, &addresses, 1);
        assert!(table.swap(0, first.clone()).await.unwrap());
        let auth = auth::Config {
            hs256_secret: Some(SECRET.to_owned()),
            jwks: None,
            issuer: None,
            audience: None,
            user_claim: auth::UserClaim::default(),
            cache_max: 100,
        };
        let verifier = Verifier::new(auth, Clock::system()).unwrap();
        let starting = listeners.into_iter().map(|(id, bound)| {
            let seen = ThroughProxies {
                table: Arc::clone(&table),
                me: id.clone(),
                peers: Mutex::new(peers.clone()),
            };
            let setup = Setup {
                folder: folder.path().join(&*id.0),
                id,
                identity,
                log: Arc::<EmbeddedLog>::clone(&log),
                renewing: None,
                table: Arc::new(seen),
                claimed: Claimed::default(),
                verifier: verifier.clone(),
                cluster_key: ClusterKey::new(&[7; 32]).unwrap(),
                clock: Clock::system(),
                watchdog: Watchdog::spawn(stop.clone()),
                first_attempts_max: Some(3),
                beside: node::Beside::default(),
                config: config_of(&settings),
            };
            Node::start(setup, bound)
        });
        let nodes = join_all(starting)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = listener.local_addr().unwrap();
        let directory = Directory::follow(table, Duration::from_millis(50), stop.clone());
        let ways = Ways::Sockets(ClusterKey::new(&[7; 32]).unwrap());
        let links = Links::new(ways, directory.clone(), link::Config::front(), stop.clone());
        let router = Router::new(settings.router().unwrap(), directory, links, Some(verifier));
        while router.readiness().is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        let drain = stop.clone();
        tokio::spawn(async move { router.serve(listener, drain).await });
        Self {
            nodes,
            table: first,
            proxies,
            client,
            log,
            stop,
            _folder: folder,
        }
    }

    fn owner(&self, shard: ShardId) -> NodeId {
        self.table.owner(shard).unwrap().clone()
    }

    /// Users and conversations, `per_node` of each on each node.
    fn names(&self, kind: &str, per_node: usize) -> Vec<(String, NodeId)> {
        let map = ShardMap::new(SHARDS).unwrap();
        let mut found: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
        for i in 0..1_000 {
            let name = format!("{kind}-{i}");
            let slot = ConversationName::parse(&name).unwrap().slot();
            let of_node = found.entry(self.owner(map.shard_of(slot))).or_default();
            if of_node.len() < per_node {
                of_node.push(name);
            }
        }
        assert_eq!(found.len(), 3);
        found
            .into_iter()
            .flat_map(|(node, names)| names.into_iter().map(move |name| (name, node.clone())))
            .collect()
    }

    async fn stop(self) {
        self.stop.cancel();
        let until = Instant::now() + Duration::from_secs(5);
        join_all(self.nodes.iter().map(|node| node.close(until))).await;
        self.log.close().await;
    }
}

fn token(user: &str) -> String {
    auth::issue(
        SECRET,
        &UserId::parse(user).unwrap(),
        Duration::from_secs(3_600),
        &Clock::system(),
    )
    .unwrap()
}

/// One HTTP request over a connection of its own; status and body.
async fn http(at: SocketAddr, user: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        token(user),
        body.len()
    );
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, answered) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        serde_json::from_str(answered).unwrap_or_else(|error| panic!("{error}: {answer}")),
    )
}

async fn all_events(at: SocketAddr, user: &str, conversation: &str) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let path = format!(
            "/v1/conversations/{conversation}/events?limit=200&after={}",
            events.len()
        );
        let (status, page) = http(at, user, "GET", &path, &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["next"].is_null() {
            return events;
        }
    }
}

/// What became of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Written {
        conversation: String,
        seq: u64,
    },
    /// Refused as surely not written.
    NotWritten {
        conversation: String,
    },
}

/// What the tasks of one device share.
#[derive(Default)]
struct Device {
    /// Last seq by conversation, checked to be dense as frames come.
    seen: Mutex<HashMap<String, u64>>,
    /// Answers by `ref`, until the sender takes them.
    answers: Mutex<HashMap<u64, Value>>,
    problems: Mutex<HashMap<String, usize>>,
    /// Texts whose fate is known.
    settled: AtomicUsize,
}

type Stream = WebSocketStream<TcpStream>;

async fn open(at: SocketAddr, user: &str) -> Stream {
    let mut request = format!("ws://{at}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert(
        "authorization",
        format!("Bearer {}", token(user)).parse().unwrap(),
    );
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let ready = async {
        loop {
            let Some(Ok(message)) = socket.next().await else {
                panic!("closed before it was ready")
            };
            if message.is_text() && message.to_text().unwrap().contains("\"ready\"") {
                return;
            }
        }
    };
    timeout(DEADLINE, ready).await.expect("ready in time");
    socket
}

/// Checks every frame as it comes, until `done` fires. Any hole, double, disorder, gap or close
/// fails.
async fn read(
    mut from: futures_util::stream::SplitStream<Stream>,
    device: Arc<Device>,
    who: String,
    done: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = from.next() => message,
            () = done.cancelled() => return,
        };
        let Some(Ok(message)) = message else {
            panic!("{who}: the socket ended: {message:?}")
        };
        let text = match message {
            Message::Text(text) => text,
            Message::Close(close) => panic!("{who}: closed: {close:?}"),
            _ => continue,
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        match frame["t"].as_str().unwrap() {
            "message" | "event" => {
                let (name, seq) = (
                    frame["conversation"].as_str().unwrap(),
                    frame["seq"].as_u64().unwrap(),
                );
                let mut seen = device.seen.lock().unwrap();
                // Connected when only `created`, 1, was there.
                let last = seen.entry(name.to_owned()).or_insert(1);
                assert_eq!(
                    seq,
                    *last + 1,
                    "{who} in {name}: a hole, a double, or disorder"
                );
                *last = seq;
            }
            "ok" | "error" => {
                device
                    .answers
                    .lock()
                    .unwrap()
                    .insert(frame["ref"].as_u64().unwrap(), frame);
            }
            "receipt" | "live" | "ready" => {}
            other => panic!("{who}: {other}: {frame}"),
        }
    }
}

/// Sends one text after the other, each until it is written or surely not.
async fn send(
    mut to: futures_util::stream::SplitSink<Stream, Message>,
    device: Arc<Device>,
    (who, conversations): (String, Vec<String>),
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut reference = 0_u64;
    for i in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let text = format!("{who}-{i}");
        let conversation = &conversations[i % conversations.len()];
        let mut in_doubt = false;
        let outcome = loop {
            reference += 1;
            let frame = json!({
                "t": "send", "ref": reference, "conversation": conversation, "text": text, "client_id": text,
            });
            timeout(DEADLINE, to.send(Message::text(frame.to_string())))
                .await
                .expect("sent in time")
                .unwrap();
            let answer = awaited(&device, reference).await;
            if answer["t"] == "ok" {
                let seq = answer["result"]["seq"].as_u64().unwrap();
                break Outcome::Written {
                    conversation: conversation.clone(),
                    seq,
                };
            }
            let code = answer["problem"]["code"].as_str().unwrap().to_owned();
            *device
                .problems
                .lock()
                .unwrap()
                .entry(code.clone())
                .or_default() += 1;
            match code.as_str() {
                "unavailable" if !in_doubt => {
                    break Outcome::NotWritten {
                        conversation: conversation.clone(),
                    };
                }
                "unavailable" => {}
                "outcome_unknown" => in_doubt = true,
                other => {
                    panic!("{who}: neither written nor unavailable nor in doubt: {other}: {answer}")
                }
            }
        };
        outcomes.insert(text, outcome);
        device.settled.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(3)).await;
    }
    outcomes
}

async fn awaited(device: &Device, reference: u64) -> Value {
    let answered = async {
        loop {
            if let Some(answer) = device.answers.lock().unwrap().remove(&reference) {
                return answer;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, answered)
        .await
        .expect("every send is answered")
}

/// Cuts now this link, now that, now all; some are stalled instead.
async fn cut_again_and_again(proxies: Vec<Arc<Proxy>>, settled: impl Fn() -> usize) {
    let end = Instant::now() + CUTTING;
    for i in 0.. {
        let count = settled();
        if i >= CUTS && count >= TEXTS {
            break;
        }
        assert!(
            Instant::now() < end,
            "{count} texts were sent within {CUTTING:?}"
        );
        sleep(Duration::from_millis(40 + 37 * (i as u64 % 7))).await;
        let proxy = &proxies[i % proxies.len()];
        if i % STALL_EACH == STALL_EACH - 1 {
            proxy.mode.send_replace(Mode::Stall);
            sleep(STALL).await;
            proxy.cut();
            proxy.mode.send_replace(Mode::Pass);
        } else if i % 5 == 0 {
            proxies.iter().for_each(|each| each.cut());
        } else {
            proxy.cut();
        }
    }

    // At last nothing passes for so long that sends are refused, as not written or as in doubt.
    for proxy in &proxies {
        proxy.mode.send_replace(Mode::Stall);
    }
    sleep(OUTAGE).await;
    for proxy in proxies {
        proxy.cut();
        proxy.mode.send_replace(Mode::Pass);
    }
}

// what must not happen: 20 — a broken link between nodes costs no session an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn no_session_sees_a_gap_a_double_or_disorder_while_links_are_cut_under_load() {
    let cluster = Cluster::start().await;
    let at = cluster.client;
    let users = cluster.names("user", 2);
    let conversations: Vec<String> = cluster
        .names("talk", 2)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let everyone: Vec<&str> = users.iter().map(|(user, _)| user.as_str()).collect();
    for name in &conversations {
        let body = json!({"name": name, "participants": everyone});
        let (status, answer) = http(at, everyone[0], "POST", "/v1/conversations", &body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let (stop, done) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let mut sockets = Vec::new();
    let (mut devices, mut readers, mut senders) = (Vec::new(), Vec::new(), Vec::new());
    for (user, node) in &users {
        for number in 0..2 {
            sockets.push((
                format!("{user}-{number} at {}", node.0),
                open(at, user).await,
            ));
        }
    }
    // All are connected before the first text.
    for (who, socket) in sockets {
        let (to, from) = socket.split();
        let device = Arc::new(Device::default());
        readers.push(tokio::spawn(read(
            from,
            Arc::clone(&device),
            who.clone(),
            done.clone(),
        )));
        let sending = send(
            to,
            Arc::clone(&device),
            (who.clone(), conversations.clone()),
            Arc::clone(&stop),
        );
        senders.push(tokio::spawn(sending));
        devices.push((who, device));
    }
    let proxies: Vec<Arc<Proxy>> = cluster.proxies.lock().unwrap().values().cloned().collect();
    let settled = || {
        devices
            .iter()
            .map(|(_, device)| device.settled.load(Ordering::SeqCst))
            .sum()
    };
    cut_again_and_again(proxies.clone(), settled).await;
    stop.store(true, Ordering::SeqCst);
    let mut outcomes = BTreeMap::new();
    for sent in join_all(senders).await {
        outcomes.extend(sent.expect("a sender failed"));
    }
    // Everyone gets everything to the end.
    let mut histories = HashMap::new();
    for name in &conversations {
        histories.insert(name.clone(), all_events(at, everyone[0], name).await);
    }
    let end = Instant::now() + DEADLINE;
    for (who, device) in &devices {
        for (name, events) in &histories {
            let last = events.len() as u64;
            while device.seen.lock().unwrap().get(name).copied().unwrap_or(1) < last {
                assert!(
                    Instant::now() < end,
                    "{who} did not get {name} up to {last}: {:?}",
                    device.seen.lock().unwrap()
                );
                assert!(
                    !readers.iter().any(tokio::task::JoinHandle::is_finished),
                    "a reader failed"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    done.cancel();
    for reader in readers {
        reader.await.expect("a reader failed");
    }
    check_truth(&histories, &outcomes);
    let cuts: usize = proxies
        .iter()
        .map(|proxy| proxy.was_cut.load(Ordering::SeqCst))
        .sum();
    let mut problems: BTreeMap<String, usize> = BTreeMap::new();
    for (_, device) in &devices {
        for (code, count) in &*device.problems.lock().unwrap() {
            *problems.entry(code.clone()).or_default() += count;
        }
    }
    eprintln!(
        "{} texts, {cuts} connections cut, refusals: {problems:?}",
        outcomes.len()
    );
    assert!(
        cuts >= CUTS,
        "the proxies cut {cuts} connections only: the test shows nothing"
    );
    assert!(
        !problems.is_empty(),
        "no send was refused in an outage longer than its time"
    );
    cluster.stop().await;
}

/// What was said to be written is there, once, where it was said to be; what was said not to be is
/// not.
fn check_truth(histories: &HashMap<String, Vec<Value>>, outcomes: &BTreeMap<String, Outcome>) {
    let mut texts = HashSet::new();
    for (name, events) in histories {
        for (i, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], i as u64 + 1, "{name} is not dense");
            let Some(text) = event["text"].as_str() else {
                continue;
            };
            assert!(texts.insert(text.to_owned()), "{text} is there twice");
            let expected = outcomes
                .get(text)
                .unwrap_or_else(|| panic!("{text} was sent by nobody"));
            let found = Outcome::Written {
                conversation: name.clone(),
                seq: i as u64 + 1,
            };
            assert_eq!(*expected, found, "{text}: the answer was not true");
        }
    }
    let written = outcomes
        .values()
        .filter(|outcome| matches!(outcome, Outcome::Written { .. }))
        .count();
    assert_eq!(texts.len(), written, "something acknowledged is lost");
}
