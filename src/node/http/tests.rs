//! The whole face over shards that answer from a script: what reaches them, in which order it is
//! checked, and what the client gets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::auth::{self, Verifier};
use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::cluster::table::changes::Changes;
use crate::cluster::table::{NodeAddresses, Table};
use crate::ids::{
    ClusterId, ConversationName, MessageId, NodeId, Offset, Seq, ShardId, Slot, UserId,
};
use crate::link::front::calls::{Answer, Told};
use crate::link::front::{Call, Key};
use crate::log::Identity;
use crate::log::record::{Event, EventKind};
use crate::node::http::rest::{Config, Rest};
use crate::node::http::shards::Shards;
use crate::node::owners::Summaries;
use crate::problem::{Code, Problem};
use crate::protocol::routes::match_path;
use crate::protocol::{
    Conversation, ConversationItem, FRAME_BYTES_MAX, HistoryPage, Message, Page, Presence, headers,
};
use crate::shard::command::{
    Around, Command, CreateKeyUse, Done, Found, Freshness, HistoryQuery, IndexItem, Query,
    ShardError, core_of,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_MS: u64 = 1_800_000_000_000;

type Read = Result<(Found, Freshness), ShardError>;

/// Shards that answer what was prepared, in order, and remember what they were asked.
#[derive(Debug)]
struct Script {
    owns: bool,
    reads: Mutex<VecDeque<Read>>,
    writes: Mutex<VecDeque<Result<Done, ShardError>>>,
    summaries: Mutex<Summaries>,
    asked: Mutex<Vec<String>>,
    /// Whether every outbox says that it holds nothing.
    clear: AtomicBool,
    /// Where reads wait, once closed.
    gate: Semaphore,
}

impl Script {
    fn note(&self, what: String) {
        self.asked.lock().expect("a lock").push(what);
    }

    fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

fn problem_of(error: ShardError) -> Problem {
    match error {
        ShardError::Problem(problem) => problem,
        ShardError::NotOwner => Problem::unavailable("moved"),
    }
}

#[async_trait]
impl Shards for Script {
    fn map(&self) -> ShardMap {
        ShardMap::new(16).expect("a power of two")
    }

    fn table(&self) -> Arc<Table> {
        let addresses = |port| NodeAddresses {
            http: format!("127.0.0.1:{port}"),
            peer: "127.0.0.1:2".into(),
            ..NodeAddresses::default()
        };
        let nodes = BTreeMap::from([
            (NodeId::from("n1"), addresses(1)),
            (NodeId::from("n2"), addresses(2)),
        ]);
        let identity = Identity {
            cluster: ClusterId::random(),
            shards: 16,
        };
        Arc::new(Table {
            version: 7,
            identity,
            nodes,
            rows: vec![vec![NodeId::from("n2")]; 16],
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        })
    }

    fn owns(&self, _shard: ShardId) -> bool {
        self.owns
    }

    async fn execute_here(
        &self,
        _shard: ShardId,
        command: Command,
        _deadline: Instant,
    ) -> Result<Done, ShardError> {
        if !self.owns {
            return Err(ShardError::NotOwner);
        }
        self.note(format!("{command:?}"));
        self.writes
            .lock()
            .expect("a lock")
            .pop_front()
            .expect("a prepared answer")
    }

    async fn query_here(&self, _shard: ShardId, query: Query, _deadline: Instant) -> Read {
        if !self.owns {
            return Err(ShardError::NotOwner);
        }
        self.note(format!("{query:?}"));
        drop(self.gate.acquire().await.expect("a gate"));
        self.reads
            .lock()
            .expect("a lock")
            .pop_front()
            .expect("a prepared answer")
    }

    fn tell_here(&self, _shard: ShardId, command: Command, _deadline: Instant) {
        self.note(format!("{command:?}"));
    }

    async fn execute_at_owner(
        &self,
        shard: ShardId,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, Problem> {
        self.execute_here(shard, command, deadline)
            .await
            .map_err(problem_of)
    }

    async fn query_at_owner(
        &self,
        shard: ShardId,
        query: Query,
        deadline: Instant,
    ) -> Result<(Found, Freshness), Problem> {
        self.query_here(shard, query, deadline)
            .await
            .map_err(problem_of)
    }

    async fn summaries(
        &self,
        _reader: &UserId,
        names: &[ConversationName],
        _deadline: Instant,
    ) -> Summaries {
        self.note(format!("summaries {names:?}"));
        std::mem::replace(
            &mut *self.summaries.lock().expect("a lock"),
            (Vec::new(), Freshness::Strict),
        )
    }

    async fn presence(
        &self,
        users: Vec<UserId>,
        _deadline: Instant,
    ) -> Result<Vec<Presence>, Problem> {
        self.note(format!("presence {users:?}"));
        Ok(users
            .into_iter()
            .map(|user| Presence {
                user,
                online: true,
                last_seen: None,
            })
            .collect())
    }

    async fn outboxes_clear(&self, to: ShardId, _deadline: Instant) -> bool {
        self.note(format!("outboxes to {to:?}"));
        self.clear.load(Ordering::SeqCst)
    }
}

/// The face, the script below it, and the clock that its tokens are checked against.
struct Fixture {
    rest: Rest,
    script: Arc<Script>,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        Self::with(true, |_| {})
    }

    fn with(owns: bool, change: impl FnOnce(&mut Config)) -> Self {
        let script = Arc::new(Script {
            owns,
            reads: Mutex::default(),
            writes: Mutex::default(),
            summaries: Mutex::new((Vec::new(), Freshness::Strict)),
            asked: Mutex::default(),
            clear: AtomicBool::new(true),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let clock = Clock::manual(NOW_MS);
        let keys = auth::Config {
            hs256_secret: Some(SECRET.into()),
            cache_max: 10,
            ..auth::Config::default()
        };
        let verifier = Verifier::new(keys, clock.clone()).expect("a verifier");
        let mut config = Config::new(NodeId::from("n1"));
        change(&mut config);
        Self {
            rest: Rest::new(Arc::clone(&script) as Arc<dyn Shards>, verifier, config),
            script,
            clock,
        }
    }

    fn reads(self, found: Found) -> Self {
        self.reads_as(Ok((found, Freshness::Strict)))
    }

    fn reads_as(self, read: Read) -> Self {
        self.script.reads.lock().expect("a lock").push_back(read);
        self
    }

    fn writes(self, done: Done) -> Self {
        self.writes_as(Ok(done))
    }

    fn writes_as(self, done: Result<Done, ShardError>) -> Self {
        self.script.writes.lock().expect("a lock").push_back(done);
        self
    }

    /// As a router asks and answers.
    async fn answer(&self, request: Request<Bytes>) -> Answered {
        let request_id = headers::request_id(request.headers());
        match self.called(request, &request_id).await {
            Answer::Told(told) => Answered::of(told, &request_id),
            Answer::Elsewhere { owner, version } => panic!("{owner:?} by table {version}"),
        }
    }

    async fn called(&self, request: Request<Bytes>, request_id: &str) -> Answer {
        let (head, mut body) = request.into_parts();
        let matched = match_path(head.uri.path()).expect("a path of the contract");
        let operation = matched
            .endpoint
            .operation(&head.method)
            .expect("a method of the path");
        let too_large = body.len() > FRAME_BYTES_MAX;
        if too_large {
            body = Bytes::new();
        }
        let call = Call {
            too_large,
            ..Call::of(&head, matched, operation, request_id, body)
        };
        let call = match head
            .headers
            .get("test-stamped-key")
            .and_then(|key| key.to_str().ok())
        {
            Some(key) if call.key == Key::None => Call {
                key: Key::Stamped(key.to_owned()),
                ..call
            },
            _ => call,
        };
        self.rest
            .answer_call(call, Instant::now() + Duration::from_secs(60))
            .await
    }

    fn request(&self, method: &str, path: &str) -> Asking<'_> {
        let token = auth::issue(SECRET, &user("bob"), Duration::from_secs(60), &self.clock)
            .expect("a token");
        let builder = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        Asking {
            fixture: self,
            builder,
            body: Bytes::new(),
        }
    }

    fn bare(&self, method: &str, path: &str) -> Asking<'_> {
        Asking {
            fixture: self,
            builder: Request::builder().method(method).uri(path),
            body: Bytes::new(),
        }
    }
}

struct Asking<'a> {
    fixture: &'a Fixture,
    builder: http::request::Builder,
    body: Bytes,
}

impl Asking<'_> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    fn text(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self.header("content-type", "application/json")
    }

    fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    async fn answer(self) -> Answered {
        self.fixture
            .answer(self.builder.body(self.body).expect("a request"))
            .await
    }

    /// Whom to ask instead, and by which table.
    async fn elsewhere(self) -> (Option<NodeId>, u64) {
        match self
            .fixture
            .called(self.builder.body(self.body).expect("a request"), "r")
            .await
        {
            Answer::Elsewhere { owner, version } => (owner, version),
            Answer::Told(told) => panic!("{told:?}"),
        }
    }

    /// The code of the problem, after checking what every problem must be.
    async fn code(self) -> Code {
        let answered = self.answer().await;
        assert_eq!(answered.header("content-type"), "application/problem+json");
        assert_eq!(answered.json["request_id"], answered.header("x-request-id"));
        let code =
            Code::parse(answered.json["code"].as_str().expect("a code")).expect("a known code");
        assert_eq!(answered.status.as_u16(), code.status());
        code
    }
}

#[derive(Debug)]
struct Answered {
    status: StatusCode,
    headers: http::HeaderMap,
    bytes: Bytes,
    json: Value,
}

impl Answered {
    fn of(told: Told, request_id: &str) -> Self {
        let bytes = Bytes::from(told.body.concat());
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut headers = http::HeaderMap::new();
        for (name, value) in &told.headers {
            headers.append(
                http::HeaderName::try_from(name).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        headers.insert("x-request-id", request_id.parse().expect("a value"));
        Self {
            status: StatusCode::from_u16(told.status).expect("a status"),
            headers,
            bytes,
            json,
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn name(name: &str) -> ConversationName {
    ConversationName::parse(name).expect("a name")
}

fn conversation() -> Conversation {
    Conversation {
        name: name("team"),
        title: None,
        admin: user("bob"),
        created: 5,
        last_seq: Seq(1),
        participants_count: 2,
        participants: None,
    }
}

fn message(seq: u64) -> Message {
    let event = Event {
        conversation: name("team"),
        seq: Seq(seq),
        created: 5,
        key: None,
        kind: EventKind::plain(MessageId::new(1, Slot(9), seq), user("bob"), "hi"),
    };
    Message {
        core: core_of(&event).expect("a message"),
        reactions: BTreeMap::new(),
        my_reaction: None,
    }
}

fn item(of: &str, version: u64, joined: bool) -> IndexItem {
    IndexItem {
        conversation: name(of),
        seq: Seq(1),
        joined,
        version: Offset(version),
    }
}

fn refused(code: Code) -> ShardError {
    ShardError::Problem(Problem::new(code, "no"))
}

const MESSAGES: &str = "/v1/conversations/team/messages";

#[tokio::test]
async fn without_a_token_nothing_reaches_a_shard() {
    let face = Fixture::new();
    let unauthorized = face.bare("POST", MESSAGES).raw("x").answer().await;
    assert_eq!(
        (
            unauthorized.status.as_u16(),
            unauthorized.header("www-authenticate")
        ),
        (401, "Bearer")
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn no_other_place_than_the_header_gives_a_token() {
    let face = Fixture::new();
    let token =
        auth::issue(SECRET, &user("bob"), Duration::from_secs(60), &face.clock).expect("a token");
    let path = format!("/v1/conversations?token={token}&access_token={token}");
    assert_eq!(face.bare("GET", &path).code().await, Code::Unauthorized);
    assert_eq!(
        face.bare("GET", "/v1/conversations")
            .header("x-user", "bob")
            .code()
            .await,
        Code::Unauthorized
    );
    let expired = face.request("GET", "/v1/conversations");
    face.clock.set(NOW_MS + 90_000);
    assert_eq!(expired.code().await, Code::Unauthorized);
}

#[tokio::test]
async fn the_body_is_checked_in_the_order_of_the_contract() {
    let face = Fixture::new();
    let send = || face.request("POST", "/v1/conversations/no%20name/messages?x=1");
    let large = vec![b'x'; 128 * 1024 + 1];
    assert_eq!(send().raw(large.clone()).code().await, Code::TooLarge);
    assert_eq!(
        face.bare("POST", MESSAGES).raw(large).code().await,
        Code::Unauthorized
    );
    assert_eq!(send().code().await, Code::UnsupportedMediaType);
    assert_eq!(send().raw("{}").code().await, Code::UnsupportedMediaType);
    assert_eq!(
        send()
            .raw("{}")
            .header("content-type", "text/json")
            .code()
            .await,
        Code::UnsupportedMediaType
    );
    let long_and_wrong = json!({"text": "x".repeat(16_385), "reply_to": "x"});
    assert_eq!(
        face.request("POST", MESSAGES)
            .json(&long_and_wrong)
            .code()
            .await,
        Code::Invalid,
        "400 before 413 of the text"
    );
    let long = json!({"text": "x".repeat(16_385)});
    assert_eq!(
        send().json(&long).code().await,
        Code::Invalid,
        "an unknown query parameter"
    );
    assert_eq!(
        face.request("POST", MESSAGES).json(&long).code().await,
        Code::TextTooLong
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn malformed_json_is_answered_with_its_position() {
    let face = Fixture::new();
    for (body, place) in [
        ("{\n \"text\": }", "line 2 column 10"),
        ("{}", "line 1 column 2"),
        ("[\"x\"]", "line 1 column 1"),
    ] {
        let answered = face.request("POST", MESSAGES).text(body).answer().await;
        assert_eq!(
            (answered.status.as_u16(), answered.json["code"].as_str()),
            (400, Some("invalid")),
            "{body}"
        );
        assert!(
            answered.json["detail"]
                .as_str()
                .expect("a detail")
                .contains(place),
            "{body}: {}",
            answered.json
        );
    }
    let deep = format!("{{\"text\":\"x\",\"more\":{}}}", "[".repeat(10_000));
    let quoting = format!("{{\"text\":\"x\",\"reply_to\":{}}}", "9".repeat(10_000));
    for body in [
        deep.as_str(),
        &quoting,
        "nul",
        "{\"text\":\"\\ud800\"}",
        "{\"text\":null}",
        "{\"text\":1}",
        "\u{feff}{}",
    ] {
        let answered = face.request("POST", MESSAGES).text(body).answer().await;
        assert_eq!(answered.status, 400);
        assert!(answered.bytes.len() < 1_000);
    }
    assert_eq!(
        face.request("POST", MESSAGES)
            .header("content-type", "application/json")
            .raw(vec![0xff, 0xfe])
            .code()
            .await,
        Code::Invalid
    );
}

#[tokio::test]
async fn what_a_send_names_is_checked() {
    let face = Fixture::new();
    let send = |path| face.request("POST", path).json(&json!({"text": "x"}));
    assert_eq!(
        send("/v1/conversations/a%2Fb/messages").code().await,
        Code::InvalidName
    );
    assert_eq!(
        send("/v1/conversations/../messages").code().await,
        Code::InvalidName
    );
    assert_eq!(
        send("/v1/conversations/%zz/messages").code().await,
        Code::InvalidName
    );
    let text = |body: Value| face.request("POST", MESSAGES).json(&body).code();
    assert_eq!(text(json!({"text": ""})).await, Code::Invalid);
    assert_eq!(
        text(json!({"text": "x", "reply_to": "m1"})).await,
        Code::Invalid
    );
    for key in ["", &"k".repeat(129)] {
        assert_eq!(
            send(MESSAGES).header("idempotency-key", key).code().await,
            Code::Invalid
        );
        let add = face
            .request("POST", "/v1/conversations/team/participants")
            .header("idempotency-key", key);
        assert_eq!(
            add.json(&json!({"participants": ["x"]})).code().await,
            Code::Invalid
        );
    }
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn a_message_is_sent_once_and_repeated_as_the_same() {
    let sent = |replayed| Done::Sent {
        message: message(2),
        replayed,
    };
    let face = Fixture::new().writes(sent(false)).writes(sent(true));
    let body = json!({"text": "x".repeat(16_384)});
    let send = || {
        face.request("POST", "/conversations/te%61m/messages")
            .header("idempotency-key", "k ü")
            .json(&body)
    };
    let first = send().answer().await;
    assert_eq!(
        (first.status.as_u16(), &first.json["seq"]),
        (201, &json!(2))
    );
    let again = send().answer().await;
    assert_eq!((again.status.as_u16(), again.bytes), (200, first.bytes));
    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"conversation: "team", source: "bob""#),
        "{}",
        asked[0]
    );
    assert!(
        asked[0].contains(r#"IdempotencyKey { key: "k ü", stamped: false }"#),
        "{}",
        asked[0]
    );
}

#[tokio::test]
async fn a_stamped_key_counts_where_the_client_gave_none() {
    let sent = || Done::Sent {
        message: message(2),
        replayed: false,
    };
    let face = Fixture::new().writes(sent()).writes(sent());
    let send = || {
        face.request("POST", MESSAGES)
            .header("test-stamped-key", "s1")
            .json(&json!({"text": "x"}))
    };
    assert_eq!(send().answer().await.status, 201);
    assert_eq!(
        send().header("idempotency-key", "c1").answer().await.status,
        201
    );
    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"key: "s1", stamped: true"#)
            && asked[1].contains(r#"key: "c1", stamped: false"#)
    );
}

#[tokio::test]
async fn a_reply_to_any_uuid_reaches_the_shard_which_knows_the_order() {
    let face = Fixture::new().writes_as(Err(refused(Code::NotParticipant)));
    let body = json!({"text": "x", "reply_to": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"});
    assert_eq!(
        face.request("POST", MESSAGES).json(&body).code().await,
        Code::NotParticipant
    );
}

#[tokio::test]
async fn what_another_node_owns_is_sent_elsewhere_with_a_hint() {
    let face = Fixture::with(false, |_| {});
    let id = MessageId::new(1, Slot(9), 1);
    let create = json!({"participants": ["x"]});
    let asking = [
        face.request("POST", MESSAGES).json(&json!({"text": "x"})),
        face.request("GET", MESSAGES),
        face.request("GET", "/v1/conversations"),
        face.request("POST", "/v1/conversations").json(&create),
        face.request("GET", &format!("/v1/messages/{id}")),
        face.request("POST", &format!("/v1/messages/{id}/read")),
    ];
    for request in asking {
        assert_eq!(request.elsewhere().await, (Some(NodeId::from("n2")), 7));
    }
    assert_eq!(
        face.request("POST", "/v1/conversations")
            .json(&json!({}))
            .code()
            .await,
        Code::Invalid,
        "checks first"
    );
    let ourselves = Fixture::with(false, |config| config.node = NodeId::from("n2"));
    assert_eq!(
        ourselves.request("GET", MESSAGES).elsewhere().await,
        (None, 7),
        "never sent in a circle"
    );
}

#[tokio::test]
async fn a_history_marks_what_it_gave_as_delivered() {
    let page = || {
        Found::History(HistoryPage {
            items: vec![message(3), message(2)],
            before: None,
            after: None,
        })
    };
    let face = Fixture::new().reads(page()).reads(page());
    assert_eq!(
        face.request("GET", MESSAGES).answer().await.json["items"][0]["seq"],
        3
    );
    let asked = face.script.asked();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].starts_with("Delivered") && asked[1].contains("up_to: 3"),
        "{}",
        asked[1]
    );
    let head = face.request("HEAD", MESSAGES).answer().await;
    assert_eq!(face.script.asked().len(), 1, "a HEAD gives no message");
    assert!(
        head.bytes.is_empty()
            && head
                .header("content-length")
                .parse::<usize>()
                .expect("a length")
                > 100
    );
    assert_eq!(head.header("content-type"), "application/json");
}

#[tokio::test]
async fn the_page_of_a_history_is_chosen_by_its_query() {
    let cases = [
        ("", Around::Newest, false, 50),
        ("order=desc&limit=200", Around::Newest, false, 200),
        ("order=asc", Around::Oldest, true, 50),
        ("before=7", Around::Before(Seq(7)), false, 50),
        ("after=7&order=asc", Around::After(Seq(7)), true, 50),
        ("around=7", Around::Around(Seq(7)), false, 50),
    ];
    for (query, around, ascending, limit) in cases {
        let face = Fixture::new().reads(Found::History(HistoryPage {
            items: vec![],
            before: None,
            after: None,
        }));
        let answered = face
            .request("GET", &format!("{MESSAGES}?{query}"))
            .answer()
            .await;
        assert_eq!(
            answered.json,
            json!({"items": [], "before": null, "after": null})
        );
        let asked = Query::History(HistoryQuery {
            conversation: name("team"),
            reader: user("bob"),
            around,
            ascending,
            limit,
            source: None,
            reply_to: None,
        });
        assert_eq!(face.script.asked(), [format!("{asked:?}")], "{query}");
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_invalid() {
    let face = Fixture::new();
    for query in [
        "before=1&after=1",
        "after=1&around=1",
        "limit=0",
        "limit=201",
        "order=up",
        "before=x",
        "x=1",
        "reply_to=1",
    ] {
        assert_eq!(
            face.request("GET", &format!("{MESSAGES}?{query}"))
                .code()
                .await,
            Code::Invalid,
            "{query}"
        );
    }
    assert_eq!(
        face.request("GET", &format!("{MESSAGES}?source=a%20b"))
            .code()
            .await,
        Code::InvalidName
    );
    let conversation = "/v1/conversations/team";
    for path in [
        "/participants?limit=1001",
        "/events?limit=201",
        "/watermarks?limit=0",
        "?limit=1",
        "/events?after=-1",
    ] {
        assert_eq!(
            face.request("GET", &format!("{conversation}{path}"))
                .code()
                .await,
            Code::Invalid,
            "{path}"
        );
    }
    for path in [
        "/v1/conversations?after=zzz",
        "/v1/conversations?limit=201",
        "/v1/messages/x?y=1",
    ] {
        assert_eq!(
            face.request("GET", path).code().await,
            Code::Invalid,
            "{path}"
        );
    }
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn an_id_that_is_none_names_no_message() {
    let face = Fixture::new();
    for id in ["x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "%00"] {
        assert_eq!(
            face.request("GET", &format!("/v1/messages/{id}"))
                .code()
                .await,
            Code::MessageUnknown
        );
        assert_eq!(
            face.request("GET", &format!("/v1/messages/{id}/receipts"))
                .code()
                .await,
            Code::MessageUnknown
        );
        assert_eq!(
            face.request("POST", &format!("/v1/messages/{id}/read"))
                .code()
                .await,
            Code::MessageUnknown
        );
        let put = face.request("PUT", &format!("/v1/messages/{id}/reaction"));
        assert_eq!(
            put.json(&json!({"reaction": 0})).code().await,
            Code::Invalid,
            "400 before 404"
        );
        assert_eq!(
            face.request("DELETE", &format!("/v1/messages/{id}/reaction"))
                .code()
                .await,
            Code::MessageUnknown
        );
    }
}

#[tokio::test]
async fn reactions_and_reads_are_answered_without_content() {
    let face = Fixture::new()
        .writes(Done::Marked)
        .writes(Done::Marked)
        .writes(Done::Marked);
    let path = format!("/v1/messages/{}", MessageId::new(1, Slot(9), 1));
    for bad in [
        json!({"reaction": 1_114_112}),
        json!({"reaction": -1}),
        json!({"reaction": null}),
        json!({}),
    ] {
        assert_eq!(
            face.request("PUT", &format!("{path}/reaction"))
                .json(&bad)
                .code()
                .await,
            Code::Invalid
        );
    }
    let put = face
        .request("PUT", &format!("{path}/reaction"))
        .json(&json!({"reaction": 1_114_111}))
        .answer()
        .await;
    assert_eq!((put.status.as_u16(), put.bytes.len()), (204, 0));
    assert_eq!(
        face.request("DELETE", &format!("{path}/reaction"))
            .answer()
            .await
            .status,
        204
    );
    assert_eq!(
        face.request("POST", &format!("{path}/read"))
            .raw("any")
            .answer()
            .await
            .status,
        204
    );
    assert!(face.script.asked()[2].contains("origin: None"));
}

#[tokio::test]
async fn participants_are_added_and_removed() {
    let face = Fixture::new()
        .writes(Done::Added(conversation()))
        .writes(Done::Removed);
    let path = "/v1/conversations/team/participants";
    let added = face
        .request("POST", path)
        .json(&json!({"participants": ["x", "y", "x"]}))
        .answer()
        .await;
    assert_eq!(
        (added.status.as_u16(), &added.json["name"]),
        (200, &json!("team"))
    );
    assert!(face.script.asked()[0].contains(r#"users: ["x", "y"]"#));
    assert_eq!(
        face.request("DELETE", &format!("{path}/x%40y"))
            .answer()
            .await
            .status,
        204
    );
    assert!(face.script.asked()[0].contains(r#"user: "x@y""#));
    assert_eq!(
        face.request("DELETE", &format!("{path}/x%20y"))
            .code()
            .await,
        Code::InvalidName
    );
    assert_eq!(
        face.request("POST", path)
            .json(&json!({"participants": []}))
            .code()
            .await,
        Code::Invalid
    );
    assert_eq!(
        face.request("POST", path)
            .json(&json!({"participants": ["a b"]}))
            .code()
            .await,
        Code::InvalidName
    );
}

#[tokio::test]
async fn a_stale_answer_says_so_or_is_refused() {
    let stale = || {
        Ok((
            Found::Conversation(conversation()),
            Freshness::Stale { ms: 1_234 },
        ))
    };
    let face = Fixture::new().reads_as(stale()).reads_as(stale());
    let path = "/v1/conversations/team";
    assert_eq!(
        face.request("GET", path)
            .answer()
            .await
            .header("rookery-stale"),
        "1234"
    );
    let strict = face
        .request("GET", path)
        .header("rookery-consistency", "strict")
        .answer()
        .await;
    assert_eq!(
        (strict.status.as_u16(), strict.json["code"].as_str()),
        (503, Some("stale"))
    );
    assert_eq!(strict.header("retry-after"), "1");
}

#[tokio::test]
async fn a_list_is_as_fresh_as_its_stalest_part() {
    let stale = |ms| Freshness::Stale { ms };
    let cases = [
        (Freshness::Strict, Freshness::Strict, None),
        (Freshness::Strict, stale(7), Some("7")),
        (stale(5), Freshness::Strict, Some("5")),
        (stale(5), stale(7), Some("7")),
    ];
    for (of_index, of_summaries, told) in cases {
        let index = Found::Index {
            items: vec![item("a", 9, true)],
            next: None,
        };
        let face = Fixture::new().reads_as(Ok((index, of_index)));
        let whole = ConversationItem {
            conversation: conversation(),
            unread: Some(3),
            last_message: None,
        };
        *face.script.summaries.lock().expect("a lock") = (vec![Ok(Some(whole))], of_summaries);
        let answered = face.request("GET", "/v1/conversations").answer().await;
        let mark = answered
            .headers
            .get("rookery-stale")
            .map(|value| value.to_str().expect("text"));
        assert_eq!((answered.status.as_u16(), mark), (200, told));
    }
}

#[tokio::test]
async fn a_list_that_may_lack_what_was_acknowledged_says_so_or_is_refused() {
    let index = || Found::Index {
        items: vec![],
        next: None,
    };
    let face = Fixture::new()
        .reads(index())
        .reads(index())
        .reads(index())
        .reads(index());
    let list = || face.request("GET", "/v1/conversations");
    assert!(!list().answer().await.headers.contains_key("rookery-stale"));

    face.script.clear.store(false, Ordering::SeqCst);
    let marked = list().answer().await;
    assert_eq!(marked.status, 200);
    assert!(
        marked
            .header("rookery-stale")
            .parse::<u64>()
            .expect("milliseconds")
            >= 1
    );
    assert_eq!(
        list().header("rookery-consistency", "strict").code().await,
        Code::Stale
    );

    face.script.clear.store(true, Ordering::SeqCst);
    let strict = list()
        .header("rookery-consistency", "strict")
        .answer()
        .await;
    assert_eq!(
        (strict.status.as_u16(), strict.header("rookery-stale")),
        (200, "")
    );
}

#[tokio::test]
async fn events_are_the_objects_of_frames() {
    let kind = EventKind::Left {
        by: user("bob"),
        user: user("bob"),
        admin: Some(user("x")),
    };
    let event = Event {
        conversation: name("team"),
        seq: Seq(4),
        created: 5,
        key: None,
        kind,
    };
    let face = Fixture::new().reads(Found::Events {
        items: vec![Arc::new(event)],
        next: Some(Seq(4)),
    });
    let answered = face
        .request("GET", "/v1/conversations/team/events?after=3")
        .answer()
        .await;
    assert_eq!(answered.json["next"], 4);
    assert_eq!(answered.json["items"][0]["t"], "event");
    assert_eq!(answered.json["items"][0]["kind"], "left");
}

#[tokio::test]
async fn a_conversation_is_created_with_the_caller_first() {
    let done = || Done::Created {
        conversation: conversation(),
        replayed: false,
    };
    let face = Fixture::new().writes(done()).writes(done());
    let create = || {
        face.request("POST", "/v1/conversations")
            .json(&json!({"participants": ["x", "bob", "x"]}))
    };
    let answered = create().answer().await;
    assert_eq!(
        (answered.status.as_u16(), answered.header("location")),
        (201, "/v1/conversations/team")
    );
    assert_eq!(create().answer().await.status, 201);
    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"participants: ["bob", "x"]"#),
        "{}",
        asked[0]
    );
    let made = |text: &str| text.split('"').nth(1).expect("a name").to_owned();
    assert!(
        made(&asked[0]).starts_with("c-") && made(&asked[0]) != made(&asked[1]),
        "without a key each is another"
    );
}

#[tokio::test]
async fn a_key_that_created_before_gives_the_same_or_a_conflict() {
    let done = Done::Created {
        conversation: conversation(),
        replayed: false,
    };
    let face = Fixture::new().reads(Found::CreateKey(None)).writes(done);
    let create = |on: &Fixture, body: Value| {
        let asking = on
            .request("POST", "/v1/conversations")
            .header("idempotency-key", "k1")
            .json(&body);
        asking.builder.body(asking.body).expect("a request")
    };
    let body = json!({"participants": ["x"], "name": "team", "title": "T"});
    let first = face.answer(create(&face, body.clone())).await;
    assert_eq!(first.status, 201);
    let asked = face.script.asked();
    let fingerprint = asked[1]
        .split("fingerprint: [")
        .nth(1)
        .expect("a fingerprint")
        .trim_end_matches("] })");
    let bytes: Vec<u8> = fingerprint
        .split(", ")
        .map(|byte| byte.parse().expect("a byte"))
        .collect();
    let known = CreateKeyUse {
        name: name("team"),
        fingerprint: bytes.try_into().expect("16 bytes"),
    };

    let face = face
        .reads(Found::CreateKey(Some(known.clone())))
        .reads(Found::Conversation(conversation()));
    let again = face.answer(create(&face, body)).await;
    assert_eq!((again.status.as_u16(), again.bytes), (200, first.bytes));

    let face = face.reads(Found::CreateKey(Some(known)));
    let other = json!({"participants": ["y"], "name": "team", "title": "T"});
    let conflict = face.answer(create(&face, other)).await;
    assert_eq!(
        (conflict.status.as_u16(), conflict.json["code"].as_str()),
        (422, Some("idempotency_conflict"))
    );
}

#[tokio::test]
async fn a_stale_look_at_the_key_creates_nothing() {
    let face = Fixture::new().reads_as(Ok((Found::CreateKey(None), Freshness::Stale { ms: 1 })));
    let create = face
        .request("POST", "/v1/conversations")
        .header("idempotency-key", "k");
    assert_eq!(
        create.json(&json!({"participants": ["x"]})).code().await,
        Code::Unavailable
    );
    assert_eq!(face.script.asked().len(), 1, "nothing but the look");
}

#[tokio::test]
async fn what_a_create_names_is_checked() {
    let face = Fixture::new();
    let code = |body: Value| face.request("POST", "/v1/conversations").json(&body).code();
    assert_eq!(code(json!({"participants": []})).await, Code::Invalid);
    assert_eq!(
        code(json!({"participants": vec!["x"; 1_001]})).await,
        Code::Invalid
    );
    assert_eq!(
        code(json!({"participants": ["a/b"]})).await,
        Code::InvalidName
    );
    assert_eq!(
        code(json!({"participants": ["x"], "name": ".."})).await,
        Code::InvalidName
    );
    assert_eq!(
        code(json!({"participants": ["x"], "title": ""})).await,
        Code::Invalid
    );
    assert_eq!(
        code(json!({"participants": ["x"], "title": "x".repeat(257)})).await,
        Code::Invalid
    );
    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn a_list_tells_which_owners_did_not_answer() {
    let index = vec![
        item("a", 9, true),
        item("b", 8, true),
        item("gone", 7, false),
        item("c", 6, true),
    ];
    let face = Fixture::new().reads(Found::Index {
        items: index,
        next: Some(Offset(6)),
    });
    let whole = ConversationItem {
        conversation: conversation(),
        unread: Some(3),
        last_message: None,
    };
    face.script.summaries.lock().expect("a lock").0 =
        vec![Ok(Some(whole)), Ok(None), Err(Problem::unavailable("x"))];
    let answered = face.request("GET", "/v1/conversations").answer().await;
    let items = answered.json["items"].as_array().expect("items");
    assert_eq!((items.len(), &answered.json["partial"]), (2, &json!(true)));
    assert_eq!(
        (&items[0]["name"], &items[0]["unread"]),
        (&json!("team"), &json!(3))
    );
    assert_eq!(
        (
            &items[1]["name"],
            &items[1]["unread"],
            &items[1]["last_message"]
        ),
        (&json!("c"), &Value::Null, &Value::Null)
    );
    let asked = face.script.asked();
    assert!(
        asked[0].starts_with("outboxes to") && asked[1].starts_with("Index"),
        "before it is read: {asked:?}"
    );
    assert_eq!(asked[2], r#"summaries ["a", "b", "c"]"#);

    let next = answered.json["next"].as_str().expect("a cursor");
    let face = face.reads(Found::Index {
        items: vec![],
        next: None,
    });
    let last = face
        .request("GET", &format!("/v1/conversations?limit=7&after={next}"))
        .answer()
        .await;
    assert_eq!(last.json, json!({"items": [], "next": null}));
    assert_eq!(
        face.script.asked()[1..],
        [r#"Index { user: "bob", after: Some(o6), limit: 7 }"#]
    );
}

#[tokio::test]
async fn a_user_beyond_the_rate_is_told_when_to_come_back() {
    let face = Fixture::with(true, |config| {
        (config.requests_per_second, config.burst) = (1, 1)
    });
    let page = || {
        Found::Participants(Page {
            items: vec![],
            next: None,
            partial: false,
        })
    };
    let face = (0..20).fold(face, |face, _| face.reads(page()));
    for _ in 0..20 {
        let answered = face
            .request("GET", "/v1/conversations/team/participants")
            .answer()
            .await;
        if answered.status == 429 {
            assert!(
                answered
                    .header("retry-after")
                    .parse::<u64>()
                    .expect("seconds")
                    >= 1
            );
            return;
        }
    }
    panic!("twenty requests in a row passed at one per second");
}

#[tokio::test]
async fn a_bug_below_is_answered_as_unavailable() {
    let face = Fixture::new().reads(Found::CreateKey(None));
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable,
        "another answer than was asked for"
    );
    // The script has run out, so these panic below.
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable
    );
    assert_eq!(
        face.request("POST", MESSAGES)
            .json(&json!({"text": "x"}))
            .code()
            .await,
        Code::OutcomeUnknown
    );
}

#[tokio::test]
async fn the_request_id_of_the_client_comes_back() {
    let face = Fixture::new();
    let answered = face
        .bare("GET", "/v1/conversations")
        .header("x-request-id", "abc-1")
        .answer()
        .await;
    assert_eq!(
        (
            answered.header("x-request-id"),
            answered.json["request_id"].as_str()
        ),
        ("abc-1", Some("abc-1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_does_not_answer_is_given_up_after_the_budget() {
    let face = Fixture::new();
    face.script.close_gate();
    let begun = tokio::time::Instant::now();
    assert_eq!(
        face.request("GET", MESSAGES).code().await,
        Code::Unavailable
    );
    assert!(begun.elapsed() < Duration::from_secs(6));
    let create = face
        .request("POST", "/v1/conversations")
        .header("idempotency-key", "k");
    assert_eq!(
        create.json(&json!({"participants": ["x"]})).code().await,
        Code::OutcomeUnknown
    );
}

#[tokio::test]
async fn of_two_creates_under_one_key_the_second_waits_for_the_first() {
    let done = |replayed| Done::Created {
        conversation: conversation(),
        replayed,
    };
    let face = Fixture::new()
        .reads(Found::CreateKey(None))
        .reads(Found::CreateKey(None));
    let face = face.writes(done(false)).writes(done(true));
    face.script.close_gate();
    let create = || {
        let asking = face
            .request("POST", "/v1/conversations")
            .header("idempotency-key", "k");
        asking.json(&json!({"participants": ["x"]})).answer()
    };
    let looks = || face.script.asked.lock().expect("a lock").len();
    let control = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let looked = looks();
        face.script.gate.add_permits(1);
        looked
    };
    let (first, second, looked) = tokio::join!(create(), create(), control);
    assert_eq!(looked, 1, "the second has not even looked");
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 200));
    let asked = face.script.asked();
    assert!(
        asked[1].starts_with("Create(") && asked[2].starts_with("CreateKey"),
        "{asked:?}"
    );
}
