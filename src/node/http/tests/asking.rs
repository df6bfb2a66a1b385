//! The face over a script, asked as a router asks it.

use bytes::Bytes;
use http::{Request, StatusCode};

use super::*;
use crate::auth::Verifier;
use crate::clock::Clock;
use crate::link::front::calls::{Answer, Told};
use crate::link::front::{Call, Key};
use crate::node::http::rest::{Config, Rest};
use crate::protocol::FRAME_BYTES_MAX;
use crate::protocol::routes::match_path;

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const NOW_MS: u64 = 1_800_000_000_000;

/// The face, the script below it, and the clock that its tokens are checked against.
pub(super) struct Fixture {
    rest: Rest,
    pub(super) script: Arc<Script>,
    pub(super) clock: Clock,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(true, |_| {})
    }

    pub(super) fn with(owns: bool, change: impl FnOnce(&mut Config)) -> Self {
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

    pub(super) fn reads(self, found: Found) -> Self {
        self.reads_as(Ok((found, Freshness::Strict)))
    }

    pub(super) fn reads_as(self, read: Read) -> Self {
        self.script.reads.lock().expect("a lock").push_back(read);
        self
    }

    pub(super) fn writes(self, done: Done) -> Self {
        self.writes_as(Ok(done))
    }

    pub(super) fn writes_as(self, done: Result<Done, ShardError>) -> Self {
        self.script.writes.lock().expect("a lock").push_back(done);
        self
    }

    /// As a router asks and answers.
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Answered {
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

    pub(super) fn request(&self, method: &str, path: &str) -> Asking<'_> {
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

    pub(super) fn bare(&self, method: &str, path: &str) -> Asking<'_> {
        Asking {
            fixture: self,
            builder: Request::builder().method(method).uri(path),
            body: Bytes::new(),
        }
    }
}

pub(super) struct Asking<'a> {
    fixture: &'a Fixture,
    pub(super) builder: http::request::Builder,
    pub(super) body: Bytes,
}

impl Asking<'_> {
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    pub(super) fn text(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self.header("content-type", "application/json")
    }

    pub(super) fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) async fn answer(self) -> Answered {
        self.fixture
            .answer(self.builder.body(self.body).expect("a request"))
            .await
    }

    /// Whom to ask instead, and by which table.
    pub(super) async fn elsewhere(self) -> (Option<NodeId>, u64) {
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
    pub(super) async fn code(self) -> Code {
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
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) bytes: Bytes,
    pub(super) json: Value,
}

impl Answered {
    pub(super) fn of(told: Told, request_id: &str) -> Self {
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

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}
