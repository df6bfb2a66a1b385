//! One suite over both carriers: what is true of a link between two processes is true of one within
//! a process.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ids::{ClusterId, NodeId};
use crate::link::front::attach::{Repeat, Tells};
use crate::link::front::calls::{Answer, Told};
use crate::link::front::client::{Consumer, NodeLink, Setup, Way};
use crate::link::front::down::Down;
use crate::link::front::rest::Call;
use crate::link::front::server::{Answering, Answers, FrontServer, RouterEnd, Sessions};
use crate::link::front::up::Up;
use crate::link::front::weight::PART_BYTES_MAX;
use crate::link::handshake::accept_link;
use crate::link::proof::ClusterKey;
use crate::link::{Config, Credentials, Failure, Role};
use crate::protocol::routes::Operation;

/// Longest wait for anything; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Socket,
    Memory,
}

/// A node that notes what comes, and the router's end that notes what comes back.
#[derive(Debug, Default)]
struct Noted {
    changed: Notify,
    up: Mutex<Vec<Up>>,
    down: Mutex<Vec<(u64, Down)>>,
    ended: Mutex<Vec<u64>>,
    router: Mutex<Option<RouterEnd>>,
    /// Calls that this node was given.
    called: Mutex<Vec<Call>>,
}

impl Noted {
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    return;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes to be so");
    }

    fn router(&self) -> RouterEnd {
        self.router
            .lock()
            .expect("a lock")
            .clone()
            .expect("a router")
    }

    fn ups(&self) -> usize {
        self.up.lock().expect("a lock").len()
    }

    fn downs(&self) -> usize {
        self.down.lock().expect("a lock").len()
    }

    fn calls(&self) -> usize {
        self.called.lock().expect("a lock").len()
    }
}

impl Sessions for Noted {
    fn take(&self, router: &RouterEnd, frame: Up) {
        *self.router.lock().expect("a lock") = Some(router.clone());
        self.up.lock().expect("a lock").push(frame);
        self.changed.notify_waiters();
    }

    fn ended(&self, _router: &RouterEnd) {
        *self.router.lock().expect("a lock") = None;
        self.changed.notify_waiters();
    }
}

impl Answers for Noted {
    /// Answers with the body that was sent, and never to a query of `hang`.
    fn answer(&self, call: Call, _deadline: Instant) -> Answering {
        self.called.lock().expect("a lock").push(call.clone());
        self.changed.notify_waiters();
        Box::pin(async move {
            if call.query == "hang" {
                std::future::pending::<()>().await;
            }
            if call.query == "elsewhere" {
                return Answer::Elsewhere {
                    owner: Some(NodeId::from("other")),
                    version: 0,
                };
            }
            Answer::Told(Told {
                status: 200,
                headers: vec![("location".into(), "/x".into())],
                body: vec![call.body],
            })
        })
    }

    fn refuse(&self, _call: &Call) -> Told {
        Told {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn table(&self) -> (u64, Option<u64>) {
        (9, Some(4))
    }
}

impl Consumer for Noted {
    fn take(&self, _node: &NodeId, connection: u64, frames: Vec<Down>) {
        self.down
            .lock()
            .expect("a lock")
            .extend(frames.into_iter().map(|frame| (connection, frame)));
        self.changed.notify_waiters();
    }

    fn ended(&self, _node: &NodeId, connection: u64) {
        self.ended.lock().expect("a lock").push(connection);
        self.changed.notify_waiters();
    }

    fn heard(&self, version: u64, age_ms: Option<u64>) {
        assert_eq!((version, age_ms), (9, Some(4)));
    }
}

fn credentials(id: &str, role: Role) -> Credentials {
    let key = ClusterKey::new(&[7; 32]).expect("long enough");
    Credentials {
        id: NodeId::from(id),
        role,
        cluster: ClusterId(Uuid::nil()),
        key,
    }
}

/// A link and what stands at both of its ends.
struct Bench {
    link: NodeLink,
    noted: Arc<Noted>,
    stop: CancellationToken,
}

impl Bench {
    async fn over(by: By) -> Self {
        Self::with(by, Config::front(), Config::front()).await
    }

    async fn with(by: By, router: Config, node: Config) -> Self {
        let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
        let server = FrontServer::new(
            Arc::<Noted>::clone(&noted),
            Arc::<Noted>::clone(&noted),
            node.clone(),
        );
        let way = match by {
            By::Memory => Way::Memory {
                id: NodeId::from("router"),
                server,
            },
            By::Socket => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address").to_string();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let us = credentials("node", Role::Node);
                        let (proven, socket) =
                            accept_link(&us, &node, stream).await.expect("a router");
                        assert_eq!(proven.role, Role::Router);
                        let server = Arc::clone(&server);
                        tokio::spawn(async move {
                            server.serve((proven.id, proven.version), socket).await
                        });
                    }
                });
                let address = Box::new(move || Some(address.clone()));
                Way::Socket {
                    credentials: credentials("router", Role::Router),
                    address,
                }
            }
        };
        let consumer = Arc::<Noted>::clone(&noted);
        let setup = Setup {
            node: NodeId::from("node"),
            way,
            consumer,
            config: router,
            stop: stop.clone(),
        };
        let link = NodeLink::spawn(setup);
        Self { link, noted, stop }
    }

    fn say(&self, of: Option<u64>, number: usize) -> Result<u64, Failure> {
        self.link.send(
            of,
            Up::Said {
                session: 1,
                text: Bytes::from(number.to_string()),
                number: 0,
                key: None,
                repeat: Repeat::First,
            },
        )
    }

    /// Opens the connection, and tells which it is.
    async fn open(&self) -> u64 {
        let connection = self.say(None, 0).expect("it is sent");
        self.noted.until(|noted| noted.ups() == 1).await;
        self.noted.up.lock().expect("a lock").clear();
        connection
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn call(query: &str, body: impl Into<Bytes>) -> Call {
    let head = http::Request::get(format!("/v1/conversations?{query}"))
        .body(())
        .expect("a request")
        .into_parts()
        .0;
    let matched = crate::protocol::routes::match_path(head.uri.path()).expect("a path");
    Call::of(
        &head,
        matched,
        Operation::ListConversations,
        "r",
        body.into(),
    )
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn deliver(number: usize) -> Down {
    Down::Deliver {
        to: vec![1],
        quiet: Vec::new(),
        text: Bytes::from(number.to_string()),
        event: None,
        tells: Tells::Nothing,
    }
}

/// The numbers in what was delivered, in the order in which it came.
fn delivered(noted: &Noted) -> Vec<usize> {
    let down = noted.down.lock().expect("a lock");
    let texts = down.iter().filter_map(|(_, frame)| match frame {
        Down::Deliver { text, .. } => Some(
            std::str::from_utf8(text)
                .expect("text")
                .parse()
                .expect("a number"),
        ),
        _ => None,
    });
    texts.collect()
}

fn said(noted: &Noted) -> Vec<usize> {
    let up = noted.up.lock().expect("a lock");
    let texts = up.iter().filter_map(|frame| match frame {
        Up::Said { text, .. } => Some(
            std::str::from_utf8(text)
                .expect("text")
                .parse()
                .expect("a number"),
        ),
        _ => None,
    });
    texts.collect()
}

macro_rules! over_both {
    ($($claim:ident)*) => {
        mod over_a_socket {
            use super::By;
            $(#[tokio::test] async fn $claim() { super::$claim(By::Socket).await; })*
        }
        mod within_a_process {
            use super::By;
            $(#[tokio::test] async fn $claim() { super::$claim(By::Memory).await; })*
        }
    };
}

over_both! {
    frames_arrive_in_their_order_in_both_directions
    an_answer_comes_whole_in_however_many_parts
    a_node_that_does_not_own_the_shard_says_who_does
    when_the_connection_ends_calls_are_lost_and_its_number_is_of_no_use
    what_finds_no_space_at_the_node_is_told_and_what_says_how_things_stand_has_a_reserve
    what_finds_no_space_at_the_router_is_refused
    calls_beyond_the_bound_are_refused_at_once_at_either_end
    a_call_that_is_dropped_before_it_was_sent_never_is
    a_call_without_an_answer_is_lost_at_its_deadline
    a_link_that_is_stopped_sends_nothing_more
}

async fn frames_arrive_in_their_order_in_both_directions(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    for number in 0..2_000 {
        assert_eq!(bench.say(Some(connection), number), Ok(connection));
        assert!(bench.noted.router().offer(deliver(number)));
    }
    bench
        .noted
        .until(|noted| noted.ups() == 2_000 && noted.downs() == 2_000)
        .await;
    assert!(said(&bench.noted).into_iter().eq(0..2_000));
    assert!(delivered(&bench.noted).into_iter().eq(0..2_000));
    let down = bench.noted.down.lock().expect("a lock");
    assert!(down.iter().all(|(of, _)| *of == connection));
}

async fn an_answer_comes_whole_in_however_many_parts(by: By) {
    let bench = Bench::over(by).await;
    for size in [
        0,
        1,
        PART_BYTES_MAX,
        PART_BYTES_MAX + 1,
        5 * PART_BYTES_MAX + 7,
    ] {
        let body: Bytes = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap_or_default())
            .collect();
        let answer = bench
            .link
            .call(call("", body.clone()), soon())
            .await
            .expect("an answer");
        let Answer::Told(told) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (told.status, told.headers.len(), told.body.concat()),
            (200, 1, body.to_vec())
        );
    }
    let called = bench.noted.called.lock().expect("a lock");
    let budget = u64::try_from(PATIENCE.as_millis()).expect("it fits");
    assert!(
        called.iter().all(|call| call.deadline_ms < budget),
        "the node is to answer before the router gives up"
    );
}

async fn a_node_that_does_not_own_the_shard_says_who_does(by: By) {
    let bench = Bench::over(by).await;
    let answer = bench
        .link
        .call(call("elsewhere", ""), soon())
        .await
        .expect("an answer");
    let Answer::Elsewhere { owner, version } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (owner, version),
        (Some(NodeId::from("other")), 9),
        "by the table of the reply"
    );
}

async fn when_the_connection_ends_calls_are_lost_and_its_number_is_of_no_use(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    let hanging = tokio::spawn(bench.link.call(call("hang", ""), soon()));
    bench.noted.until(|noted| noted.calls() == 1).await;
    let router = bench.noted.router();
    assert!(router.offer(deliver(1)));
    router.end();
    assert!(!router.offer(deliver(2)), "nothing after the end");
    bench
        .noted
        .until(|noted| !noted.ended.lock().expect("a lock").is_empty())
        .await;
    assert_eq!(*bench.noted.ended.lock().expect("a lock"), [connection]);
    assert_eq!(
        delivered(&bench.noted),
        [1],
        "what was queued before came first"
    );
    assert_eq!(
        hanging.await.expect("no panic").expect_err("no answer"),
        Failure::Lost
    );
    assert!(matches!(
        bench.say(Some(connection), 1),
        Err(Failure::NotSent(_))
    ));

    let again = async {
        loop {
            match bench.say(None, 2) {
                Ok(next) => return next,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    let next = timeout(PATIENCE, again).await.expect("another connection");
    assert!(next > connection);
    bench.noted.until(|noted| said(noted) == [2]).await;
}

async fn what_finds_no_space_at_the_node_is_told_and_what_says_how_things_stand_has_a_reserve(
    by: By,
) {
    let small = Config {
        queued_bytes_max: 4_096,
        ..Config::front()
    };
    let bench = Bench::with(by, Config::front(), small).await;
    bench.open().await;
    let router = bench.noted.router();
    // Nothing is carried meanwhile: this task does not wait.
    let fitted = (0..1_000)
        .take_while(|number| router.offer(deliver(*number)))
        .count();
    assert!((10..1_000).contains(&fitted), "{fitted}");
    assert!(!router.has_room() || !router.offer(deliver(fitted)));
    assert!(router.offer(Down::Forgotten(1)), "the reserve");
    timeout(PATIENCE, router.until_room())
        .await
        .expect("space again");
    assert!(router.offer(deliver(fitted)));
    bench.noted.until(|noted| noted.downs() == fitted + 2).await;
    assert!(
        delivered(&bench.noted).into_iter().eq(0..=fitted),
        "nothing was lost, and nothing overtook"
    );
}

async fn what_finds_no_space_at_the_router_is_refused(by: By) {
    let small = Config {
        queued_bytes_max: 4_096,
        ..Config::front()
    };
    let bench = Bench::with(by, small, Config::front()).await;
    let connection = bench.open().await;
    let fitted = (0..1_000)
        .take_while(|number| bench.say(Some(connection), *number).is_ok())
        .count();
    assert!((10..1_000).contains(&fitted), "{fitted}");
    assert_eq!(bench.say(Some(connection), fitted), Err(Failure::Full));
    let refused = bench.link.call(call("", ""), soon()).await;
    assert_eq!(refused.expect_err("no space"), Failure::Full);
    assert_eq!(
        bench.link.send(Some(connection), Up::Gone(1)),
        Ok(connection),
        "the reserve"
    );
    timeout(PATIENCE, bench.link.until_space(connection))
        .await
        .expect("space again");
    bench.noted.until(|noted| noted.ups() == fitted + 1).await;
    assert!(said(&bench.noted).into_iter().eq(0..fitted));
}

async fn calls_beyond_the_bound_are_refused_at_once_at_either_end(by: By) {
    let few = |in_flight_max| Config {
        in_flight_max,
        ..Config::front()
    };
    let bench = Bench::with(by, few(3), few(2)).await;
    let hanging: Vec<_> = (0..2)
        .map(|_| tokio::spawn(bench.link.call(call("hang", ""), soon())))
        .collect();
    bench.noted.until(|noted| noted.calls() == 2).await;
    let answer = bench
        .link
        .call(call("", ""), soon())
        .await
        .expect("an answer");
    assert!(
        matches!(answer, Answer::Told(Told { status: 503, .. })),
        "the node has two: {answer:?}"
    );

    let third = bench.link.call(call("hang", ""), soon());
    let fourth = bench.link.call(call("", ""), soon()).await;
    assert_eq!(fourth.expect_err("the router has three"), Failure::Full);
    drop(third);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(bench.noted.calls(), 2);
}

async fn a_call_that_is_dropped_before_it_was_sent_never_is(by: By) {
    let bench = Bench::over(by).await;
    bench.open().await;
    drop(bench.link.call(call("dropped", ""), soon()));
    bench
        .link
        .call(call("kept", ""), soon())
        .await
        .expect("an answer");
    let called = bench.noted.called.lock().expect("a lock");
    assert_eq!(
        called
            .iter()
            .map(|call| call.query.as_str())
            .collect::<Vec<_>>(),
        ["kept"]
    );
}

async fn a_call_without_an_answer_is_lost_at_its_deadline(by: By) {
    let bench = Bench::over(by).await;
    bench.open().await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let lost = bench.link.call(call("hang", ""), deadline).await;
    assert_eq!(lost.expect_err("no answer"), Failure::Lost);
    bench
        .link
        .call(call("", ""), soon())
        .await
        .expect("the link lives on");
}

async fn a_link_that_is_stopped_sends_nothing_more(by: By) {
    let bench = Bench::over(by).await;
    let connection = bench.open().await;
    bench.stop.cancel();
    bench
        .noted
        .until(|noted| !noted.ended.lock().expect("a lock").is_empty())
        .await;
    assert!(matches!(
        bench.say(Some(connection), 1),
        Err(Failure::NotSent(_))
    ));
    assert!(matches!(
        bench.link.call(call("", ""), soon()).await,
        Err(Failure::NotSent(_))
    ));
    bench
        .noted
        .until(|noted| noted.router.lock().expect("a lock").is_none())
        .await;
}

#[tokio::test]
async fn a_node_that_says_nothing_any_more_is_given_up() {
    let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let address = Box::new(move || Some(address.clone()));
    let way = Way::Socket {
        credentials: credentials("router", Role::Router),
        address,
    };
    let config = Config {
        heartbeat: Duration::from_millis(10),
        ..Config::front()
    };
    let setup = Setup {
        node: NodeId::from("node"),
        way,
        consumer: Arc::<Noted>::clone(&noted),
        config,
        stop: stop.clone(),
    };
    let link = NodeLink::spawn(setup);
    let connection = link.send(None, Up::Gone(1)).expect("it is sent");
    let (stream, _) = listener.accept().await.expect("a connection");
    let silent = accept_link(&credentials("node", Role::Node), &Config::front(), stream)
        .await
        .expect("a router");
    noted
        .until(|noted| *noted.ended.lock().expect("a lock") == [connection])
        .await;
    drop(silent);
    stop.cancel();
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_fails_at_once_what_waited_for_it() {
    let (noted, stop) = (Arc::new(Noted::default()), CancellationToken::new());
    let way = Way::Socket {
        credentials: credentials("router", Role::Router),
        address: Box::new(|| None),
    };
    let node = NodeId::from("node");
    let consumer = Arc::<Noted>::clone(&noted);
    let link = NodeLink::spawn(Setup {
        node,
        way,
        consumer,
        config: Config::front(),
        stop: stop.clone(),
    });
    let connection = link
        .send(None, Up::Gone(1))
        .expect("it waits for the connection");
    let failed = link.call(call("", ""), soon()).await;
    assert!(matches!(failed, Err(Failure::NotSent(_))), "{failed:?}");
    noted
        .until(|noted| noted.ended.lock().expect("a lock").contains(&connection))
        .await;
    stop.cancel();
}

#[test]
fn a_frame_of_the_first_version_with_routers_is_read_as_ever_and_unknown_fields_are_skipped() {
    let later = serde_json::json!([
        {"Open": {"session": 7, "deadline_ms": 5, "request_id": "r", "query": "q", "cursors": [[1, 2]]}},
        {"Gone": 7},
    ]);
    let frames: Vec<Up> =
        crate::link::codec::decode(&crate::link::codec::encode(&later).expect("bytes"))
            .expect("read");
    let [Up::Open(open), Up::Gone(7)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!((open.session, open.query.as_str()), (7, "q"));

    let bytes = crate::link::codec::encode(&vec![deliver(5)]).expect("bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex, "9181a744656c6976657283a2746f9101a474657874c40135a56576656e74c0",
        "older routers read this"
    );
}
