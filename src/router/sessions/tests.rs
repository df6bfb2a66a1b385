//! Sessions over real sockets and a link: hyper in front as at a router, a public WebSocket client,
//! the hub of a node behind the link, owners played by a fake.

#![expect(
    clippy::shadow_unrelated,
    reason = "a test tells one story after the other with the same names"
)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::{Consumes, Sockets, Unopened, Who, handshake};
use crate::auth::{Identity, Refused};
use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::connections::{Connections, Noted};
use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, ShardId, Slot, UserId};
use crate::link::front::calls::{Answer, Told};
use crate::link::front::client::{NodeLink, Setup, Way};
use crate::link::front::server::{Answering, Answers, FrontServer};
use crate::link::front::{Authorization, Call, Open};
use crate::log::record::{Event, EventKind};
use crate::node::session::{Config, Hub, TestUpstream as Upstream};
use crate::problem::{Code, Problem};
use crate::protocol::{Message as ShownMessage, MessageCore};
use crate::router::explained::Explained;
use crate::router::headers;
use crate::router::paced::{HeadAwaited, Paced};
use crate::shard::IndexPage;
use crate::shard::command::{Command, Done, IndexItem, Interest, Push, Subscribed};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const WAIT: Duration = Duration::from_secs(10);

/// Owners of one conversation `c`, in which everybody is since seq 1. A message that begins with
/// `hold` is answered only when it is sent once more.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) events: Mutex<Vec<Arc<Event>>>,
    pub(super) commands: Mutex<Vec<Command>>,
    held: Mutex<HashSet<String>>,
}

#[async_trait]
impl Upstream for Fake {
    fn map(&self) -> ShardMap {
        ShardMap::new(1).expect("a power of two")
    }

    fn execute(
        &self,
        _: ShardId,
        command: Command,
        _: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>> {
        self.commands.lock().expect("lock").push(command.clone());
        if let Command::Send(send) = &command
            && send.text.starts_with("hold")
            && self
                .held
                .lock()
                .expect("lock")
                .insert(send.text.as_ref().to_owned())
        {
            return Box::pin(std::future::pending());
        }
        let done = match command {
            Command::Send(send) if send.text.contains("refuse") => {
                Err(Problem::new(Code::NotParticipant, "no"))
            }
            Command::Send(send) => {
                let core = MessageCore {
                    id: MessageId::new(1, send.conversation.slot(), 1),
                    conversation: send.conversation,
                    seq: Seq(2),
                    source: send.source,
                    text: send.text.as_ref().to_owned(),
                    reply_to: None,
                    created: 1,
                    edited: None,
                    deleted: false,
                    data: None,
                    mentions: Vec::new(),
                    deleted_by: None,
                };
                let message = ShownMessage {
                    core,
                    reactions: std::collections::BTreeMap::new(),
                    my_reaction: None,
                };
                Ok(Done::Sent {
                    message,
                    replayed: false,
                })
            }
            _ => Ok(Done::Marked),
        };
        Box::pin(std::future::ready(done))
    }

    async fn subscribe(&self, interests: Vec<Interest>, _: Instant) -> Vec<Subscribed> {
        let events = self.events.lock().expect("lock");
        let tail = Seq(events.len() as u64);
        let answer = |interest: Interest| {
            if interest.conversation.as_str() != "c" {
                return Subscribed::NotParticipant;
            }
            let after = interest.after.unwrap_or(tail);
            let span = events.iter().filter(|event| event.seq > after);
            Subscribed::Live {
                tail,
                joined: Seq(1),
                events: span.take(interest.limit as usize).cloned().collect(),
                departed: None,
            }
        };
        interests.into_iter().map(answer).collect()
    }

    fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {}

    async fn subscribe_index(
        &self,
        _: UserId,
        _: Offset,
        _: u32,
        _: Instant,
    ) -> Result<IndexPage, Problem> {
        let item = IndexItem {
            conversation: name(),
            seq: Seq(1),
            joined: true,
            version: Offset(1),
        };
        Ok(IndexPage {
            items: vec![item],
            more: false,
        })
    }

    fn unsubscribe_index(&self, _: UserId) {}
}

fn name() -> ConversationName {
    ConversationName::parse("c").expect("a name")
}

fn event(seq: u64, text: &str) -> Arc<Event> {
    let source = UserId::parse("alice").expect("a name");
    let id = MessageId::new(1, Slot(0), seq);
    let kind = EventKind::plain(id, source, text);
    Arc::new(Event {
        conversation: name(),
        seq: Seq(seq),
        created: seq,
        key: None,
        kind,
    })
}

/// A node without a REST face.
#[derive(Debug)]
pub(super) struct NoRest;

impl Answers for NoRest {
    fn answer(&self, call: Call, _: Instant) -> Answering {
        let told = self.refuse(&call);
        Box::pin(async move { Answer::Told(told) })
    }

    fn refuse(&self, _: &Call) -> Told {
        Told {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn table(&self) -> (u64, Option<u64>) {
        (1, None)
    }
}

pub(super) struct Node {
    pub(super) hub: Arc<Hub>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) front: Arc<FrontServer>,
    pub(super) link: NodeLink,
    pub(super) fake: Arc<Fake>,
    pub(super) pushes: mpsc::Sender<Push>,
    pub(super) clock: Clock,
    at: String,
}

pub(super) fn config() -> Config {
    Config {
        delivered_every: Duration::from_millis(20),
        ..Config::small()
    }
}

impl Node {
    /// A node whose owners already have that many events.
    pub(super) async fn start(config: Config, events: u64) -> Self {
        let fake = Arc::new(Fake::default());
        fake.events
            .lock()
            .expect("lock")
            .extend((1..=events).map(|seq| event(seq, "old")));
        let sockets = Sockets::new(1_000, Duration::from_millis(300));
        Self::of(config, "node", fake, sockets).await
    }

    /// A node of the same owners and the same router as others.
    pub(super) async fn of(
        config: Config,
        id: &str,
        fake: Arc<Fake>,
        sockets: Arc<Sockets>,
    ) -> Self {
        let (pushes, receiver) = mpsc::channel(64);
        let clock = Clock::manual(1_000_000);
        // `bob` is the token of bob until 2,000 s; `bob.3000` until 3,000 s.
        let verify = Box::new(|token: &str| {
            let (user, expires) = token.split_once('.').unwrap_or((token, "2000"));
            let expires = expires.parse().map_err(|_bad| Refused("bad".to_owned()))?;
            let user = UserId::parse(user).map_err(|_bad| Refused("bad".to_owned()))?;
            if user.as_str() == "bad" {
                Err(Refused("bad".to_owned()))
            } else {
                Ok(Identity { user, expires })
            }
        });
        let upstream: Arc<dyn Upstream> = Arc::<Fake>::clone(&fake);
        let hub = Hub::start(upstream, verify, clock.clone(), config, receiver);
        let front = FrontServer::new(
            Arc::new(NoRest),
            Arc::<Hub>::clone(&hub),
            crate::link::Config::front(),
        );
        let link = NodeLink::spawn(Setup {
            node: NodeId::from(id),
            way: Way::Memory {
                id: NodeId::from("router"),
                server: Arc::clone(&front),
            },
            consumer: Arc::new(Consumes(Arc::clone(&sockets))),
            config: crate::link::Config::front(),
            stop: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("address").to_string();
        tokio::spawn(serve(listener, Arc::clone(&sockets), link.clone()));
        Self {
            hub,
            sockets,
            front,
            link,
            fake,
            pushes,
            clock,
            at,
        }
    }

    async fn connect_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, u16> {
        let mut request = format!("ws://{}{path}", self.at)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().expect("text").to_owned());
                Ok(Client {
                    socket,
                    protocol,
                    pings: 0,
                })
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                Err(response.status().as_u16())
            }
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) async fn connect(&self, path: &str, token: &str) -> Client {
        self.connect_with(path, &[("authorization", &format!("Bearer {token}"))])
            .await
            .expect("connected")
    }

    /// Commits and pushes one message.
    async fn say(&self, text: &str) {
        let event = self.fake.commit(text);
        self.pushes
            .send(Push::Event {
                epoch: Epoch(1),
                event,
            })
            .await
            .expect("the hub follows");
    }

    pub(super) async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !reached(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Takes connections as a router does, and asks the node for a session for whatever is requested.
pub(super) async fn serve(listener: TcpListener, sockets: Arc<Sockets>, link: NodeLink) {
    let connections = Connections::new("router", 100);
    while let Ok((stream, entrant)) = connections.accept(&listener).await {
        let place = entrant.admitted().await.expect("a place");
        let (sockets, link) = (Arc::clone(&sockets), link.clone());
        let service = service_fn(move |request| {
            let (sockets, link) = (Arc::clone(&sockets), link.clone());
            async move { Ok::<_, std::convert::Infallible>(open(&sockets, &link, request).await) }
        });
        let noted: Noted<TcpStream> = place.noted(stream);
        let io = Explained::new(Paced::new(noted, WAIT, HeadAwaited::default()));
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(
            server
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades(),
        );
    }
}

async fn open(
    sockets: &Arc<Sockets>,
    link: &NodeLink,
    mut request: http::Request<hyper::body::Incoming>,
) -> http::Response<Full<Bytes>> {
    let client = hyper::upgrade::on(&mut request);
    let asked = handshake::open(
        request.uri().query().unwrap_or_default(),
        request.headers(),
        "request-1",
    );
    match sockets.ask(link, asked, who(request.headers())).await {
        Ok(opened) => {
            let answer =
                handshake::switching(request.headers(), opened.protocol).expect("a good handshake");
            sockets.serve(opened, client, sockets.place().expect("a place"));
            answer
        }
        Err(Unopened::Refused(problem)) => problem.response("request-1"),
        Err(other) => Problem::unavailable(format!("{other:?}")).response("request-1"),
    }
}

/// Who asks, as the router keeps it.
fn who(sent: &http::HeaderMap) -> Who {
    let token = headers::bearer(sent).unwrap_or_default();
    Who {
        slot: Slot(0),
        request_id: Arc::from("request-1"),
        token: Arc::from(token),
    }
}

impl Fake {
    /// Commits one message.
    pub(super) fn commit(&self, text: &str) -> Arc<Event> {
        let mut events = self.events.lock().expect("lock");
        let event = event(events.len() as u64 + 1, text);
        events.push(Arc::clone(&event));
        event
    }
}

pub(super) struct Client {
    socket: Socket,
    protocol: Option<String>,
    pings: usize,
}

impl Client {
    async fn raw(&mut self) -> Message {
        let next = tokio::time::timeout(WAIT, self.socket.next())
            .await
            .expect("in time");
        next.expect("not ended").expect("a message")
    }

    pub(super) async fn next(&mut self) -> Value {
        loop {
            match self.raw().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("json"),
                Message::Ping(_) => self.pings += 1,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn expect(&mut self, t: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["t"], t, "{frame}");
        frame
    }

    /// The code of the close that comes, whatever comes before it.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            match self.raw().await {
                Message::Close(frame) => return frame.expect("a code").code.into(),
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn send(&mut self, frame: Value) {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .expect("sent");
    }

    pub(super) async fn when_ready(mut self) -> Self {
        self.expect("hello").await;
        self.expect("ready").await;
        self
    }
}

#[tokio::test]
async fn a_session_says_hello_becomes_ready_and_gets_what_commits() {
    let node = Node::start(config(), 3).await;
    let mut bob = node.connect("/v1/ws", "bob").await;
    let hello = bob.expect("hello").await;
    assert_eq!(
        (&hello["user"], &hello["max_frame_bytes"]),
        (&json!("bob"), &json!(131_072))
    );
    bob.expect("ready").await;
    let mut second = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.say("hi").await;
    for device in [&mut bob, &mut second] {
        let frame = device.expect("message").await;
        assert_eq!((&frame["seq"], &frame["text"]), (&json!(4), &json!("hi")));
    }
    assert_eq!(node.hub.sessions(), 2);
    drop((bob, second));
    node.until("both are gone", |node| node.hub.sessions() == 0)
        .await;
}

#[tokio::test]
async fn a_resume_brings_the_missed_then_live_then_ready() {
    let node = Node::start(config(), 1_500).await;
    let mut bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    node.say("pushed while held").await;
    bob.send(json!({"t": "resume", "positions": {"strange": 5}, "more": true}))
        .await;
    bob.send(json!({"t": "resume", "positions": {"c": 100}}))
        .await;
    let mut seqs = Vec::new();
    let mut gaps = HashMap::new();
    loop {
        let frame = bob.next().await;
        match frame["t"].as_str().expect("t") {
            "gap" => drop(gaps.insert(frame["conversation"].to_string(), frame)),
            "message" => seqs.push(frame["seq"].as_u64().expect("seq")),
            "live" => assert_eq!(frame["positions"], json!({"c": 1_501})),
            "ready" => break,
            _ => panic!("{frame}"),
        }
    }
    assert_eq!(seqs, (502..=1_501).collect::<Vec<u64>>());
    let expected =
        json!({"t": "gap", "conversation": "c", "from": 101, "to": 501, "reason": "too_far"});
    assert_eq!(gaps["\"c\""], expected);
    let expected = json!({"t": "gap", "conversation": "strange", "from": 6, "to": 6, "reason": "not_participant"});
    assert_eq!(gaps["\"strange\""], expected);
}

#[tokio::test]
async fn large_missed_spans_come_at_the_pace_of_the_socket() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        ..config()
    };
    let node = Node::start(config, 1).await;
    {
        let mut events = node.fake.events.lock().expect("lock");
        events.extend((2..=400).map(|seq| event(seq, &"x".repeat(16_000))));
    }
    let mut bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.expect("hello").await;
    bob.send(json!({"t": "resume", "positions": {"c": 0}}))
        .await;
    for seq in 1..=400 {
        assert_eq!(bob.expect("message").await["seq"], json!(seq));
    }
    assert_eq!(bob.expect("live").await["positions"], json!({"c": 400}));
    bob.expect("ready").await;
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn commands_are_answered_and_bad_frames_leave_the_session() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws/", "bob").await.when_ready().await;
    bob.send(json!({"t": "ping", "ref": 7})).await;
    assert_eq!(
        bob.expect("pong").await,
        json!({"t": "pong", "ref": 7, "now": 1_000_000})
    );
    bob.send(json!({"t": "send", "ref": "a", "conversation": "c", "text": "hi", "client_id": "k"}))
        .await;
    let ok = bob.expect("ok").await;
    assert_eq!(
        (&ok["ref"], &ok["result"]["text"]),
        (&json!("a"), &json!("hi"))
    );
    let id = MessageId::new(1, Slot(1), 1);
    bob.send(json!({"t": "react", "ref": 1, "message_id": id, "reaction": null}))
        .await;
    assert_eq!(
        bob.expect("ok").await,
        json!({"t": "ok", "ref": 1, "result": null})
    );
    let refused = [
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "refuse"}),
            "not_participant",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "a b", "text": "x"}),
            "invalid_name",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": ""}),
            "invalid",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "x".repeat(16_385)}),
            "text_too_long",
        ),
        (
            json!({"t": "send", "ref": 2, "conversation": "c", "text": "x", "reply_to": "7"}),
            "invalid",
        ),
        (
            json!({"t": "read", "ref": 2, "message_id": "7"}),
            "message_unknown",
        ),
        (
            json!({"t": "react", "ref": 2, "message_id": id, "reaction": 0}),
            "invalid",
        ),
        (json!({"t": "typing", "ref": 2}), "invalid"),
        (
            json!({"t": "auth", "ref": 2, "token": "bad"}),
            "unauthorized",
        ),
        (
            json!({"t": "auth", "ref": 2, "token": "carol.3000"}),
            "unauthorized",
        ),
        (
            json!({"t": "auth", "ref": 2, "token": "bob.1500"}),
            "unauthorized",
        ),
    ];
    for (frame, code) in refused {
        bob.send(frame.clone()).await;
        let error = bob.expect("error").await;
        assert_eq!(
            (&error["ref"], &error["problem"]["code"]),
            (&json!(2), &json!(code)),
            "{frame}"
        );
        assert_eq!(error["problem"]["request_id"], "request-1");
    }
    bob.socket
        .send(Message::text("{nonsense"))
        .await
        .expect("sent");
    assert_eq!(bob.expect("error").await.get("ref"), None);
    let commands = node.fake.commands.lock().expect("lock");
    let Command::Send(first) = &commands[0] else {
        panic!("{:?}", commands[0])
    };
    let key = first.key.as_ref().expect("a key");
    assert_eq!(
        (&*key.key, key.stamped, first.source.as_str()),
        ("k", false, "bob")
    );
}

#[tokio::test]
async fn a_request_that_is_no_session_is_refused_before_the_upgrade() {
    let node = Node::start(config(), 1).await;
    let bearer = ("authorization", "Bearer bob");
    assert_eq!(
        node.connect_with("/v1/ws", &[("authorization", "Bearer bad")])
            .await
            .err(),
        Some(401)
    );
    assert_eq!(node.connect_with("/v1/ws", &[]).await.err(), Some(401));
    assert_eq!(
        node.connect_with("/v1/ws?token=bob", &[]).await.err(),
        Some(400)
    );
    assert_eq!(
        node.connect_with("/v1/ws?access_token=bob", &[bearer])
            .await
            .err(),
        Some(400)
    );
    assert_eq!(
        node.connect_with("/v1/ws?x=1", &[bearer]).await.err(),
        Some(400)
    );
    let mut stream = TcpStream::connect(&node.at).await.expect("connected");
    stream
        .write_all(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bob\r\n\r\n")
        .await
        .expect("written");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert!(String::from_utf8_lossy(&head).ends_with("426"));
    assert_eq!(node.hub.sessions(), 0);
}

#[tokio::test]
async fn browsers_bring_the_token_as_a_subprotocol() {
    let node = Node::start(config(), 1).await;
    let offer = [("sec-websocket-protocol", "rookery.v1, rookery.bearer.bob")];
    let bob = node
        .connect_with("/v1/ws", &offer)
        .await
        .expect("connected");
    assert_eq!(bob.protocol.as_deref(), Some("rookery.v1"));
    bob.when_ready().await;
    let offer = [("sec-websocket-protocol", "rookery.v1, rookery.bearer.bad")];
    assert_eq!(
        node.connect_with("/v1/ws", &offer)
            .await
            .expect("upgraded")
            .closed()
            .await,
        4401
    );
}

#[tokio::test]
async fn broken_frames_close_with_their_codes() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .send(Message::binary(vec![1]))
        .await
        .expect("sent");
    assert_eq!(client.closed().await, 1003);

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .send(Message::text("x".repeat(128 * 1024 + 1)))
        .await
        .expect("sent");
    assert_eq!(client.closed().await, 1009);

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    for part in 0..3 {
        let code = if part == 0 {
            OpCode::Data(Data::Text)
        } else {
            OpCode::Data(Data::Continue)
        };
        client
            .socket
            .send(Message::Frame(Frame::message(
                vec![b'x'; 60_000],
                code,
                false,
            )))
            .await
            .expect("sent");
    }
    assert_eq!(client.closed().await, 1009, "fragments count together");

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .get_mut()
        .write_all(b"\x81\x02{}")
        .await
        .expect("written");
    assert_eq!(client.closed().await, 4400, "unmasked");

    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    client
        .socket
        .get_mut()
        .write_all(b"\x81\x81\0\0\0\0\xff")
        .await
        .expect("written");
    assert_eq!(client.closed().await, 4400, "not utf-8");
}

#[tokio::test]
async fn a_message_in_fragments_is_put_together() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
    client
        .socket
        .send(Message::Frame(Frame::message(&b"{\"t\":"[..], text, false)))
        .await
        .expect("sent");
    client
        .socket
        .send(Message::Ping(Bytes::from_static(b"between")))
        .await
        .expect("sent");
    client
        .socket
        .send(Message::Frame(Frame::message(
            &b"\"ping\"}"[..],
            more,
            true,
        )))
        .await
        .expect("sent");
    assert!(matches!(client.raw().await, Message::Pong(payload) if &payload[..] == b"between"));
    client.expect("pong").await;
}

#[tokio::test]
async fn the_clients_close_is_answered_once() {
    let node = Node::start(config(), 1).await;
    let mut client = node.connect("/v1/ws", "bob").await.when_ready().await;
    let close = CloseFrame {
        code: 4000.into(),
        reason: "bye".into(),
    };
    client.socket.close(Some(close)).await.expect("sent");
    assert_eq!(client.closed().await, 4000);
    assert!(client.socket.next().await.is_none(), "nothing follows");
}

#[tokio::test]
async fn a_token_ends_its_session_unless_a_newer_one_comes() {
    let node = Node::start(
        Config {
            heartbeat: Duration::from_millis(50),
            ..config()
        },
        1,
    )
    .await;
    let mut old = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut renewed = node.connect("/v1/ws", "bob").await.when_ready().await;
    renewed
        .send(json!({"t": "auth", "ref": 1, "token": "bob.3000"}))
        .await;
    assert_eq!(renewed.expect("ok").await["ref"], 1);
    node.clock.set(2_029_000);
    old.send(json!({"t": "ping"})).await;
    old.expect("pong").await;
    node.clock.set(2_030_000);
    assert_eq!(old.closed().await, 4401);
    renewed.send(json!({"t": "ping"})).await;
    renewed.expect("pong").await;
}

#[tokio::test]
async fn sessions_and_frames_are_limited() {
    let node = Node::start(
        Config {
            sessions_per_user_max: 1,
            sessions_max: 2,
            ..config()
        },
        1,
    )
    .await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    assert_eq!(node.connect("/v1/ws", "bob").await.closed().await, 4429);
    let _carol = node.connect("/v1/ws", "carol").await.when_ready().await;
    assert_eq!(node.connect("/v1/ws", "dave").await.closed().await, 1013);
    for _ in 0..1_000 {
        if bob
            .socket
            .send(Message::text(r#"{"t":"ping"}"#))
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(bob.closed().await, 4429);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_as_slow() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        write_timeout: Duration::from_millis(500),
        ..config()
    };
    let node = Node::start(config, 1).await;
    let mut slow = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut quick = node.connect("/v1/ws", "carol").await.when_ready().await;
    let mut said = 0;
    while node.hub.sessions() == 2 && said < 5_000 {
        node.say(&"x".repeat(16_000)).await;
        said += 1;
        assert_eq!(quick.expect("message").await["seq"], json!(said + 1));
    }
    assert!(said < 5_000, "a socket that takes nothing is given up");
    let mut last = 1;
    loop {
        match slow.raw().await {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                assert_eq!(frame["seq"], json!(last + 1), "no hole before the end");
                last += 1;
            }
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.expect("a code").code), 4420);
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_burst_beyond_the_outbox_reaches_whoever_keeps_up_in_order_and_each_once() {
    let node = Node::start(
        Config {
            outbox_bytes_max: 64 * 1024,
            ..config()
        },
        1,
    )
    .await;
    let mut readers = Vec::new();
    for user in ["alice", "bob", "carol"] {
        readers.push(node.connect("/v1/ws", user).await.when_ready().await);
    }
    for length in std::iter::repeat_n(16_000, 40).chain(std::iter::repeat_n(10, 500)) {
        node.say(&"x".repeat(length)).await;
    }
    for reader in &mut readers {
        for seq in 2..=541 {
            assert_eq!(reader.expect("message").await["seq"], json!(seq));
        }
        reader.send(json!({"t": "ping"})).await;
        reader.expect("pong").await;
    }
    assert_eq!(node.hub.sessions(), 3);
}

#[tokio::test]
async fn a_row_of_large_unknown_frames_gets_its_errors() {
    let config = Config {
        outbox_bytes_max: 64 * 1024,
        frames_per_second_max: 1_000,
        ..config()
    };
    let node = Node::start(config, 1).await;
    let bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (mut to, mut from) = bob.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..100 {
            let frame = json!({"t": "x".repeat(100_000), "ref": number});
            to.send(Message::text(frame.to_string()))
                .await
                .expect("sent");
            to.send(Message::Ping(Bytes::from_static(b"between")))
                .await
                .expect("sent");
        }
    });
    let (mut errors, mut pongs) = (0, 0);
    while errors < 100 || pongs < 100 {
        match tokio::time::timeout(WAIT, from.next())
            .await
            .expect("in time")
            .expect("not ended")
            .expect("a message")
        {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                assert_eq!(
                    (&frame["t"], &frame["ref"]),
                    (&json!("error"), &json!(errors))
                );
                errors += 1;
            }
            Message::Pong(_) => pongs += 1,
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn delivered_is_told_after_the_pong_and_not_for_own_messages() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let mut alice = node.connect("/v1/ws", "alice").await.when_ready().await;
    node.say("one").await;
    bob.expect("message").await;
    alice.expect("message").await;
    let delivered = |node: &Node| {
        let commands = node.fake.commands.lock().expect("lock");
        let marks: Vec<_> = commands
            .iter()
            .filter_map(|command| {
                if let Command::Delivered(marks) = command {
                    Some(marks.clone())
                } else {
                    None
                }
            })
            .flatten()
            .map(|mark| (mark.user.to_string(), mark.up_to))
            .collect();
        marks
    };
    assert!(
        delivered(&node).is_empty(),
        "bob has not answered the ping yet"
    );
    // Reading on is what makes the client answer.
    bob.send(json!({"t": "ping"})).await;
    bob.expect("pong").await;
    alice.send(json!({"t": "ping"})).await;
    alice.expect("pong").await;
    while delivered(&node).is_empty() {
        bob.send(json!({"t": "ping"})).await;
        bob.expect("pong").await;
    }
    assert_eq!(delivered(&node), [("bob".to_owned(), Seq(2))]);
    assert_eq!(alice.pings, 0, "her own message needs no mark");
}

#[tokio::test]
async fn receipts_reach_senders_and_other_devices() {
    let node = Node::start(config(), 1).await;
    let mut alice = node.connect("/v1/ws", "alice").await.when_ready().await;
    let mut bob = node.connect("/v1/ws", "bob").await;
    let origin =
        serde_json::from_value(bob.expect("hello").await["session"].clone()).expect("an id");
    bob.expect("ready").await;
    let mut bobs_other = node.connect("/v1/ws", "bob").await.when_ready().await;
    let user = |name| UserId::parse(name).expect("a name");
    let push = Push::Watermark {
        conversation: name(),
        user: user("bob"),
        read: true,
        up_to: Seq(1),
        ts: 9,
        targets: vec![user("alice"), user("nobody")],
        origin: Some(origin),
    };
    node.pushes.send(push).await.expect("the hub follows");
    let expected = json!({"t": "receipt", "conversation": "c", "user": "bob", "kind": "read", "up_to": 1, "ts": 9});
    assert_eq!(alice.next().await, expected);
    assert_eq!(bobs_other.next().await, expected);
    let message_id = MessageId::new(1, Slot(0), 1);
    let push = Push::Reaction {
        conversation: name(),
        user: user("alice"),
        message_id,
        reaction: Some(128_077),
        ts: 9,
    };
    node.pushes.send(push).await.expect("the hub follows");
    for client in [&mut alice, &mut bob, &mut bobs_other] {
        assert_eq!(client.expect("receipt").await["reaction"], json!(128_077));
    }
}

#[tokio::test]
async fn a_drain_tells_when_to_come_back_and_takes_nobody_new() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let hub = Arc::clone(&node.hub);
    let drained =
        tokio::spawn(async move { hub.drain(Duration::from_millis(300), "node drains").await });
    let told = bob.expect("reconnect").await;
    assert!(
        told["after_ms"].as_u64().expect("a number") <= 1_000,
        "{told}"
    );
    assert_eq!(
        told["reason"], "the node of this session is gone",
        "there is no other node"
    );
    assert_eq!(node.connect("/v1/ws", "carol").await.closed().await, 1012);
    assert_eq!(bob.closed().await, 1012);
    drop(bob);
    tokio::time::timeout(WAIT, drained)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(node.hub.sessions(), 0);
}

#[tokio::test]
async fn sessions_that_are_sent_away_are_told_and_new_ones_are_taken_again_when_that_ends() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.hub
        .send_away(Duration::from_millis(300), "the node is cut off");
    let told = bob.expect("reconnect").await;
    assert_eq!(
        told["reason"], "the node of this session is gone",
        "there is no other node"
    );
    let bearer = ("authorization", "Bearer carol");
    assert_eq!(
        node.connect_with("/v1/ws", &[bearer]).await.err(),
        Some(503),
        "another node is asked"
    );
    assert_eq!(bob.closed().await, 1012);
    drop(bob);
    node.until("all are gone", |node| node.hub.sessions() == 0)
        .await;
    assert!(node.hub.is_away());
    node.hub.welcome();
    node.connect("/v1/ws", "bob").await.when_ready().await;
}

#[tokio::test]
async fn a_router_that_drains_tells_its_clients_when_to_come_back_and_ends_their_sessions() {
    let node = Node::start(config(), 1).await;
    let mut bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let sockets = Arc::clone(&node.sockets);
    let drained = tokio::spawn(async move { sockets.drain().await });
    let told = bob.expect("reconnect").await;
    assert!(
        told["after_ms"].as_u64().expect("a number") <= 300,
        "{told}"
    );
    assert_eq!(told["reason"], "the router drains");
    assert_eq!(bob.closed().await, 1012);
    drop(bob);
    tokio::time::timeout(WAIT, drained)
        .await
        .expect("in time")
        .expect("no panic");
    node.until("the session is gone", |node| node.hub.sessions() == 0)
        .await;
}

/// ADR 7, interleavings 5 to 7.
#[tokio::test]
async fn when_the_link_ends_its_sessions_end_and_their_clients_are_told_to_come_back() {
    let node = Node::start(config(), 1).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "carol"] {
        clients.push(node.connect("/v1/ws", user).await.when_ready().await);
    }
    node.front.shutdown().await;
    for client in &mut clients {
        let told = client.expect("reconnect").await;
        assert!(
            told["after_ms"].as_u64().expect("a number") <= 1_000,
            "{told}"
        );
        assert_eq!(client.closed().await, 1012);
    }
    node.until("the node ended them too", |node| node.hub.sessions() == 0)
        .await;
}

/// ADR 7, interleaving 2.
#[tokio::test]
async fn a_session_that_is_asked_for_while_its_link_ends_is_not_opened() {
    let node = Node::start(config(), 1).await;
    node.front.shutdown().await;
    assert_eq!(
        node.connect_with("/v1/ws", &[("authorization", "Bearer bob")])
            .await
            .err(),
        Some(503)
    );
    assert_eq!(node.hub.sessions(), 0);
}

/// ADR 7, interleavings 3 and 4.
#[tokio::test]
async fn clients_that_come_and_go_at_once_leave_nothing_behind() {
    let node = Node::start(
        Config {
            sessions_per_user_max: 1_000,
            ..config()
        },
        1,
    )
    .await;
    for round in 0..100 {
        let mut stream = TcpStream::connect(&node.at).await.expect("connected");
        let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        let head = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket";
        let text = format!("{head}\r\n{key}\r\nauthorization: Bearer bob\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("written");
        if round % 2 == 0 {
            // Some wait for the first byte of the answer.
            stream.read_exact(&mut [0]).await.expect("an answer");
        }
        drop(stream);
    }
    node.until("all are gone", |node| node.hub.sessions() == 0)
        .await;
    node.connect("/v1/ws", "bob").await.when_ready().await;
}

/// ADR 7, interleaving 9.
#[tokio::test]
async fn what_a_client_says_while_its_answers_wait_is_worked_off_in_order_once_it_reads() {
    let limits = Config {
        outbox_bytes_max: 64 * 1024,
        frames_per_second_max: 10_000,
        ..config()
    };
    let node = Node::start(limits, 1).await;
    let bob = node.connect("/v1/ws", "bob").await.when_ready().await;
    let (mut to, mut from) = bob.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..5_000 {
            let frame = json!({"t": "ping", "ref": format!("{number}-{}", "x".repeat(1_000))});
            to.send(Message::text(frame.to_string()))
                .await
                .expect("sent");
        }
    });
    let mut last = 0;
    while last < 5_000 {
        match tokio::time::timeout(WAIT, from.next())
            .await
            .expect("in time")
            .expect("not ended")
            .expect("a message")
        {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("json");
                let number = frame["ref"]
                    .as_str()
                    .and_then(|text| text.split('-').next()?.parse().ok());
                assert_eq!((&frame["t"], number), (&json!("pong"), Some(last)));
                last += 1;
            }
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let node = Node::start(
        Config {
            heartbeat: Duration::from_millis(30),
            ..config()
        },
        1,
    )
    .await;
    let _silent = node.connect("/v1/ws", "bob").await.when_ready().await;
    node.until("the silent one is dropped", |node| node.hub.sessions() == 0)
        .await;
}

/// What a socket takes beside the system's part of it, as long as nothing happens on it: its state,
/// and its task.
#[tokio::test]
async fn an_idle_socket_takes_few_bytes() {
    let node = Node::start(config(), 1).await;
    let asked = handshake::open("", &http::HeaderMap::new(), "request-1");
    let bearer = Authorization::Bearer("bob".to_owned());
    let asked = Open {
        authorization: bearer,
        handshake: None,
        ..asked
    };
    let who = Who {
        token: Arc::from("bob"),
        ..who(&http::HeaderMap::new())
    };
    let opened = node
        .sockets
        .ask(&node.link, asked, who)
        .await
        .expect("opened");
    let stream = TcpStream::connect(&node.at).await.expect("connected");
    let serving = Arc::clone(&opened.socket).run(stream, Bytes::new());
    let (state, task) = (size_of_val(&*opened.socket), size_of_val(&serving));
    assert!(state <= 512 && task <= 1_024, "{state} and {task} bytes");
}

#[tokio::test]
async fn a_session_whose_resume_never_comes_starts_without() {
    let node = Node::start(
        Config {
            resume_wait_max: Duration::from_millis(50),
            ..config()
        },
        3,
    )
    .await;
    let bob = node.connect("/v1/ws?resume=wait", "bob").await;
    bob.when_ready().await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_given_up() {
    let config = Config {
        outbox_bytes_max: 256 << 20,
        write_timeout: Duration::from_millis(50),
        ..config()
    };
    let node = Node::start(config, 1).await;
    let _stalled = node.connect("/v1/ws", "bob").await.when_ready().await;
    let deadline = Instant::now() + WAIT;
    while node.hub.sessions() > 0 {
        assert!(Instant::now() < deadline, "the stalled session stays");
        node.say(&"x".repeat(16_000)).await;
    }
}
