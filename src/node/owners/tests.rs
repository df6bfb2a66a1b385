//! Two nodes and real links between them; what lies in between can be cut, frozen and recorded.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::ids::{ConversationName, Epoch, IdempotencyKey, NodeId, Offset, Seq, ShardId, UserId};
use crate::link::codec::FRAME_BYTES_MAX;
use crate::link::proof::ClusterKey;
use crate::link::{Config, Failure};
use crate::log::record::{Event, EventKind};
use crate::node::link::Serve;
use crate::node::link::client::{Link, Setup};
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::testing::{Fake, Pair, SHARDS, credentials, eventually, node, soon, table};
use crate::problem::{Code, Problem};
use crate::shard::IndexPage;
use crate::shard::command::{Command, Done, Found, Freshness, Interest, Push, Query, Send, ShardError, Subscribed};

const PATIENCE: Duration = Duration::from_secs(20);

/// Short waits, but heartbeats slow enough for a busy machine.
fn config() -> Config {
    Config { backoff_max: Duration::from_millis(100), ..Config::default() }
}

fn conversation(number: u64) -> ConversationName {
    ConversationName::parse(&format!("c{number}")).expect("a name")
}

fn user(text: &str) -> UserId {
    UserId::parse(text).expect("a name")
}

fn send(text: &str, key: bool) -> Command {
    Command::Send(Send {
        conversation: conversation(1),
        source: user("alice"),
        text: Arc::from(text),
        reply_to: None,
        key: key.then(IdempotencyKey::stamp),
        unless: Vec::new(),
    })
}

pub(super) fn text(body: &Body) -> String {
    match body {
        Body::Execute { command: Command::Send(send), .. } => send.text.to_string(),
        _ => String::new(),
    }
}

pub(super) fn marked(_: &Body) -> Result<Outcome, ShardError> {
    Ok(Outcome::Done(Done::Marked))
}

fn participants(reader: &str) -> Query {
    Query::Participants { name: conversation(1), reader: user(reader), after: None, limit: 10 }
}

/// Tells who asked, so that each can check that the answer is his.
fn echo(body: &Body) -> Result<Outcome, ShardError> {
    let Body::Query { query: Query::Participants { reader, .. }, .. } = body else { return marked(body) };
    let page = crate::protocol::Page { items: Vec::new(), next: Some(reader.to_string()), partial: false };
    Ok(Outcome::Found(Found::Participants(page), Freshness::Strict))
}

fn interests(count: u64) -> Vec<Interest> {
    let interest =
        |number| Interest { conversation: conversation(number), user: user("a"), after: None, limit: 1, since: None };
    (0..count).map(interest).collect()
}

fn live(body: &Body) -> Result<Outcome, ShardError> {
    let Body::Subscribe { parts } = body else { return marked(body) };
    let live = || Subscribed::Live { tail: Seq(1), joined: Seq(1), events: Vec::new(), departed: None };
    Ok(Outcome::Subscribed(parts.iter().map(|(_, of)| Ok(of.iter().map(|_| live()).collect())).collect()))
}

/// Lies between two nodes.
#[derive(Debug, Default)]
pub(super) struct Between {
    pub(super) cut: Notify,
    frozen: AtomicBool,
    taken: Mutex<Vec<u8>>,
    connections: AtomicU64,
}

impl Between {
    async fn spawn(target: String) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let between = Arc::new(Self::default());
        let ours = Arc::clone(&between);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let ours = Arc::clone(&ours);
                let Ok(far) = TcpStream::connect(&target).await else { continue };
                tokio::spawn(async move { ours.carry(near, far).await });
            }
        });
        (between, address)
    }

    async fn carry(&self, near: TcpStream, far: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = self.pump(near_read, far_write, true) => {}
            () = self.pump(far_read, near_write, false) => {}
            () = self.cut.notified() => {}
        }
    }

    async fn pump(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, record: bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if self.frozen.load(Ordering::SeqCst) {
                pending::<()>().await;
            }
            if record {
                self.taken.lock().expect("not poisoned").extend_from_slice(&buffer[..count]);
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}

pub(super) async fn pair_through(fake: &Arc<Fake>, config: Config) -> (Pair, Arc<Between>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (between, address) = Between::spawn(listener.local_addr().expect("an address").to_string()).await;
    (Pair::through(fake, config, listener, address), between)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_are_served_in_the_order_in_which_they_were_made() {
    let fake = Fake::new(marked);
    // Every other answer is late, which must not hold up the requests behind it.
    *fake.delay.lock().expect("not poisoned") =
        Box::new(|body| Duration::from_millis(20 * (text(body).parse::<u64>().unwrap_or(0) % 2)));
    let pair = Pair::new(&fake, config()).await;
    // The first are made before the link is open.
    let answers: Vec<_> =
        (0..500).map(|n| pair.owners.execute(ShardId(1), send(&n.to_string(), false), soon())).collect();
    for answer in answers {
        assert!(matches!(answer.await, Ok(Done::Marked)));
    }
    let served: Vec<_> = fake.bodies().iter().map(text).collect();
    assert_eq!(served, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn answers_in_another_order_find_their_requests() {
    let fake = Fake::new(echo);
    *fake.delay.lock().expect("not poisoned") = Box::new(|body| match body {
        Body::Query { query: Query::Participants { reader, .. }, .. } if reader.as_str() == "slow" => {
            Duration::from_millis(200)
        }
        _ => Duration::ZERO,
    });
    let pair = Pair::new(&fake, config()).await;
    let ask = |reader: &'static str| {
        let owners = pair.owners.clone();
        async move {
            match owners.query(ShardId(1), participants(reader), soon()).await.expect("an answer").0 {
                Found::Participants(page) => assert_eq!(page.next.as_deref(), Some(reader)),
                other => panic!("{other:?}"),
            }
        }
    };
    let slow = tokio::spawn(ask("slow"));
    eventually(|| fake.bodies().len() == 1).await;
    ask("quick").await;
    assert!(!slow.is_finished());
    slow.await.expect("its own answer");
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_tells_whether_something_may_have_been_written() {
    let fake = Fake::new(marked);
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| PATIENCE);
    let pair = Pair::new(&fake, config()).await;
    let moment = || Instant::now() + Duration::from_millis(300);
    let (write, keyed, read) = tokio::join!(
        pair.owners.execute(ShardId(1), send("x", false), moment()),
        pair.owners.execute(ShardId(1), send("x", true), moment()),
        pair.owners.query(ShardId(1), participants("a"), moment()),
    );
    assert_eq!(write.expect_err("no answer").code, Code::OutcomeUnknown);
    assert_eq!(keyed.expect_err("no answer").code, Code::OutcomeUnknown);
    assert_eq!(read.expect_err("no answer").code, Code::Unavailable);
}

#[tokio::test]
async fn nothing_was_written_when_the_owner_could_not_be_reached() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    pair.server.shutdown().await;
    let deadline = Instant::now() + Duration::from_millis(300);
    let refused = pair.owners.execute(ShardId(1), send("x", false), deadline).await.expect_err("nobody there");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(fake.bodies().is_empty());
}

#[tokio::test]
async fn a_broken_link_repeats_what_may_be_repeated_and_admits_doubt_about_the_rest() {
    let fake = Fake::new(marked);
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    *fake.delay.lock().expect("not poisoned") =
        Box::new(move |_| if is_slow.load(Ordering::SeqCst) { PATIENCE } else { Duration::ZERO });
    let (pair, between) = pair_through(&fake, config()).await;
    let plain = tokio::spawn(pair.owners.execute(ShardId(1), send("plain", false), soon()));
    let keyed = tokio::spawn(pair.owners.execute(ShardId(1), send("keyed", true), soon()));
    eventually(|| fake.bodies().len() == 2).await;
    slow.store(false, Ordering::SeqCst);
    between.cut.notify_waiters();
    assert_eq!(plain.await.expect("no panic").expect_err("in doubt").code, Code::OutcomeUnknown);
    assert!(matches!(keyed.await.expect("no panic"), Ok(Done::Marked)));
    let served: Vec<_> = fake.bodies().iter().map(text).collect();
    assert_eq!(served, ["plain", "keyed", "keyed"]);
}

#[tokio::test]
async fn a_broken_link_asks_to_subscribe_again_where_this_node_had_subscribed() {
    let fake = Fake::new(live);
    let (mut pair, between) = pair_through(&fake, config()).await;
    let asked = interests(3);
    let shards: std::collections::BTreeSet<_> =
        asked.iter().map(|interest| pair.owners.map().shard_of(interest.conversation.slot())).collect();
    assert!(shards.len() < 16, "some shards must be without a subscription");
    let answers = pair.owners.subscribe(asked, soon()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Subscribed::Live { .. })), "{answers:?}");
    assert_eq!(fake.bodies().len(), 1, "one request for all shards of one node");
    between.cut.notify_waiters();
    let mut told = std::collections::BTreeSet::new();
    while told.len() < shards.len() {
        match timeout(PATIENCE, pair.pushed.recv()).await.expect("in time") {
            Some(Push::Resubscribe { shard }) => assert!(told.insert(shard), "told twice"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, shards);
    let subscriber = fake.subscribers.lock().expect("not poisoned")[0].id();
    eventually(|| fake.forgotten.lock().expect("not poisoned").contains(&subscriber)).await;
    // The next subscription opens the link again.
    let again = pair.owners.subscribe(interests(1), soon()).await;
    assert!(matches!(again[0], Subscribed::Live { .. }));
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_dropped() {
    let fake = Fake::new(marked);
    let quick = Config { heartbeat: Duration::from_millis(100), ..config() };
    let (pair, between) = pair_through(&fake, quick).await;
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("an answer");
    between.frozen.store(true, Ordering::SeqCst);
    let lost = pair.owners.execute(ShardId(1), send("y", false), soon()).await.expect_err("silence");
    assert_eq!(lost.code, Code::OutcomeUnknown);
    between.frozen.store(false, Ordering::SeqCst);
    pair.owners.execute(ShardId(1), send("z", false), soon()).await.expect("a new link");
    assert!(between.connections.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_quiet_link_stays_open() {
    let fake = Fake::new(marked);
    let quick = Config { heartbeat: Duration::from_millis(100), ..config() };
    let (pair, between) = pair_through(&fake, quick).await;
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("an answer");
    let before = between.taken.lock().expect("not poisoned").len();
    // Twenty signs of life of 6 bytes.
    eventually(|| between.taken.lock().expect("not poisoned").len() > before + 120).await;
    pair.owners.execute(ShardId(1), send("y", false), soon()).await.expect("an answer");
    assert_eq!(between.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused_at_once() {
    let fake = Fake::new(marked);
    *fake.delay.lock().expect("not poisoned") = Box::new(|_| PATIENCE);
    let pair = Pair::new(&fake, Config { in_flight_max: 4, ..config() }).await;
    let _waiting: Vec<_> =
        (0..4).map(|_| tokio::spawn(pair.owners.execute(ShardId(1), send("x", true), soon()))).collect();
    let refused = pair.owners.execute(ShardId(1), send("x", true), soon());
    let refused = timeout(PATIENCE / 2, refused).await.expect("at once").expect_err("full");
    assert_eq!(refused.code, Code::Unavailable);
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_is_bounded_and_the_link_lives_on() {
    let fake = Fake::new(live);
    let small = Config { pushes_max: 32, heartbeat: Duration::from_millis(100), ..config() };
    let mut pair = Pair::new(&fake, small).await;
    pair.owners.subscribe(interests(1), soon()).await;
    let subscriber = fake.subscribers.lock().expect("not poisoned")[0].clone();
    let event = |seq| {
        let (text, source) = (Arc::from("x".repeat(16_000)), user("b"));
        let id = crate::ids::MessageId::new(1, crate::ids::Slot(1), seq);
        let kind = EventKind::Message { id, source, text, reply_to: None };
        Arc::new(Event { conversation: conversation(0), seq: Seq(seq), created: 1, key: None, kind })
    };
    let mut queued = 0;
    let mut full = 0;
    // Nobody takes pushes at the other end, so the queue is full in the end and stays so.
    while full < 20 {
        let push = Push::Event { epoch: Epoch(1), event: event(queued + 1) };
        match subscriber.push(push) {
            crate::shard::write::subscriptions::Pushed::Queued => (queued, full) = (queued + 1, 0),
            _ => {
                full += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        assert!(queued < 20_000, "the queues are bounded");
    }
    for expected in 1..=queued {
        match timeout(PATIENCE, pair.pushed.recv()).await.expect("in time") {
            Some(Push::Event { event: got, .. }) => assert_eq!(got.seq, Seq(expected)),
            // Subscriber::push may have told so already when there was room.
            Some(Push::Resubscribe { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("the link lives");
    assert!(fake.forgotten.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn large_answers_pass_and_too_large_ones_fail_alone() {
    let fake = Fake::new(|body| {
        let Body::Query { query: Query::Participants { reader, .. }, .. } = body else { return marked(body) };
        let bytes = if reader.as_str() == "big" { FRAME_BYTES_MAX - 1024 } else { FRAME_BYTES_MAX };
        let page = crate::protocol::Page { items: Vec::new(), next: Some("x".repeat(bytes)), partial: false };
        Ok(Outcome::Found(Found::Participants(page), Freshness::Strict))
    });
    let pair = Pair::new(&fake, config()).await;
    assert!(pair.owners.query(ShardId(1), participants("big"), soon()).await.is_ok());
    let refused = pair.owners.query(ShardId(1), participants("bigger"), soon()).await.expect_err("too large");
    assert_eq!(refused.code, Code::TooLarge);
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("the link lives");
}

#[tokio::test]
async fn a_node_that_does_not_own_the_shard_sends_us_to_the_one_that_does() {
    let elsewhere = Fake::new(|_| Err(ShardError::NotOwner));
    let pair = Pair::new(&elsewhere, config()).await;
    let owner = Fake::new(marked);
    owner.owned.lock().expect("not poisoned").insert(ShardId(1));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (third, _pushes) = node("c", &owner, pair.table.subscribe(), config());
    let _server = third.serve_peers(listener, None);
    let sent = tokio::spawn(pair.owners.execute(ShardId(1), send("x", false), soon()));
    eventually(|| elsewhere.bodies().len() > 1).await;
    pair.table.send_replace(table(2, &[("c", address)]));
    assert!(matches!(sent.await.expect("no panic"), Ok(Done::Marked)));
    assert_eq!(owner.bodies().len(), 1);
}

#[tokio::test]
async fn a_moved_shard_asks_to_subscribe_again() {
    let fake = Fake::new(live);
    let mut pair = Pair::new(&fake, config()).await;
    pair.owners.subscribe(interests(1), soon()).await;
    pair.table.send_replace(table(2, &[("c", String::new())]));
    let shard = pair.owners.map().shard_of(conversation(0).slot());
    let told = timeout(PATIENCE, pair.pushed.recv()).await.expect("in time");
    assert!(matches!(told, Some(Push::Resubscribe { shard: of }) if of == shard), "{told:?}");
}

fn index_or_live(body: &Body) -> Result<Outcome, ShardError> {
    match body {
        Body::SubscribeIndex { .. } => Ok(Outcome::IndexPage(IndexPage { items: Vec::new(), more: false })),
        other => live(other),
    }
}

/// Two subscriptions at one shard, and its owner is cut off and so ends neither: were the second, which already goes to the
/// next owner, all that is remembered, the first would stay where nothing happens any more (seen for 30 s, in a run of the
/// checker with `node-without-redis`).
#[tokio::test]
async fn who_subscribes_at_the_next_owner_does_not_hide_that_others_are_at_the_former_one() {
    let former = Fake::new(index_or_live);
    let mut pair = Pair::new(&former, config()).await;
    let next = Fake::new(index_or_live);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (third, _pushes) = node("c", &next, pair.table.subscribe(), config());
    let _server = third.serve_peers(listener, None);
    let shard = pair.owners.map().shard_of(conversation(0).slot());
    let of_it = |user: &UserId| pair.owners.map().shard_of(user.slot()) == shard;
    let who = (0..1_000).map(|n| user(&format!("u{n}"))).find(of_it).expect("a user of that shard");
    pair.owners.subscribe_index(who, Offset(0), 10, soon()).await.expect("the former owner answers");
    let former_address = pair.table.borrow().addresses(&NodeId::from("b")).expect("the former owner").peer.clone();
    next.owned.lock().expect("not poisoned").insert(shard);

    // Nothing else runs before the second subscription has looked at the table.
    pair.table.send_replace(table(2, &[("c", address), ("b", former_address)]));
    let answers = pair.owners.subscribe(interests(1), soon()).await;
    assert!(matches!(answers[..], [Subscribed::Live { .. }]), "{answers:?}");
    assert_eq!(next.bodies().len(), 1, "the next owner served it");
    let told = timeout(PATIENCE, pair.pushed.recv()).await.expect("in time");
    assert!(matches!(told, Some(Push::Resubscribe { shard: of }) if of == shard), "{told:?}");
}

#[tokio::test]
async fn what_was_asked_for_before_anybody_was_known_to_serve_it_is_subscribed_to_again() {
    let fake = Fake::new(index_or_live);
    let mut pair = Pair::new(&fake, config()).await;
    let owner = pair.table.borrow().addresses(&NodeId::from("b")).expect("the other node").peer.clone();
    // The table names this node, which does not serve the shard: it came back after another had taken it.
    pair.table.send_replace(table(2, &[("a", String::new()), ("b", owner.clone())]));
    let owners = pair.owners.clone();
    let asking = tokio::spawn(async move { owners.subscribe_index(user("bob"), Offset(0), 10, soon()).await });
    tokio::task::yield_now().await;
    pair.table.send_replace(table(3, &[("b", owner), ("a", String::new())]));
    asking.await.expect("no panic").expect("answered by the other node");
    let shard = pair.owners.map().shard_of(user("bob").slot());
    let told = timeout(PATIENCE, pair.pushed.recv()).await.expect("in time");
    assert!(matches!(told, Some(Push::Resubscribe { shard: of }) if of == shard), "{told:?}");
}

#[tokio::test]
async fn one_failing_shard_spoils_nothing_but_its_own_summaries() {
    let bad = conversation(0);
    let fake = Fake::new(move |body| {
        let Body::Summaries { parts, .. } = body else { return marked(body) };
        let problem = || ShardError::Problem(Problem::new(Code::Lagging, "behind"));
        let answer = |names: &Vec<ConversationName>| {
            if names.contains(&bad) { Err(problem()) } else { Ok(names.iter().map(|_| None).collect()) }
        };
        Ok(Outcome::Summaries(parts.iter().map(|(_, names)| answer(names)).collect()))
    });
    let pair = Pair::new(&fake, config()).await;
    let names: Vec<_> = (0..600).map(conversation).collect();
    let (answers, freshness) = pair.owners.summaries(&user("a"), &names, soon()).await;
    assert_eq!(freshness, Freshness::Strict);
    assert_eq!(answers.len(), names.len());
    let shard = |name: &ConversationName| pair.owners.map().shard_of(name.slot());
    assert!(answers[0].is_err());
    for (name, answer) in names.iter().zip(&answers) {
        assert!(answer.is_ok() || shard(name) == shard(&names[0]), "{name}: {answer:?}");
    }
    assert_eq!(fake.bodies().len(), 3, "600 names of one node are three requests");
}

#[tokio::test]
async fn what_an_owner_says_at_its_deadline_still_arrives() {
    let refusal = || ShardError::Problem(Problem::new(Code::NotReplicated, "nothing was written"));
    let fake = Fake::new(move |_| Err(refusal()));
    fake.at_deadline.store(true, Ordering::SeqCst);
    let pair = Pair::new(&fake, config()).await;
    for key in [true, false] {
        let deadline = Instant::now() + Duration::from_secs(1);
        let shard = pair.owners.map().shard_of(conversation(1).slot());
        let refused = pair.owners.execute(shard, send("x", key), deadline).await.expect_err("refused");
        assert_eq!(refused.code, Code::NotReplicated, "not an outcome that is unknown: {refused}");
    }
}

#[tokio::test]
async fn how_stale_an_answer_is_travels_over_a_link() {
    let stale_shard = Arc::new(Mutex::new(None));
    let stale = Arc::clone(&stale_shard);
    let fake = Fake::new(move |body| match body {
        Body::Query { .. } => match echo(body)? {
            Outcome::Found(found, _) => Ok(Outcome::Found(found, Freshness::Stale { ms: 2_800 })),
            other => Ok(other),
        },
        Body::Summaries { parts, .. } => {
            let has_stale = parts.iter().any(|(shard, _)| Some(*shard) == *stale.lock().expect("whole"));
            let parts = parts.iter().map(|(_, names)| Ok(names.iter().map(|_| None).collect())).collect();
            Ok(if has_stale { Outcome::StaleSummaries { parts, ms: 3_100 } } else { Outcome::Summaries(parts) })
        }
        _ => marked(body),
    });
    let pair = Pair::new(&fake, config()).await;
    let shard = |name: &ConversationName| pair.owners.map().shard_of(name.slot());
    let read = pair.owners.query(shard(&conversation(1)), participants("bob"), soon()).await;
    assert!(matches!(read, Ok((_, Freshness::Stale { ms: 2_800 }))), "{read:?}");
    let names: Vec<_> = (0..4).map(conversation).collect();
    let (_, of_strict) = pair.owners.summaries(&user("a"), &names, soon()).await;
    assert_eq!(of_strict, Freshness::Strict);
    *stale_shard.lock().expect("whole") = Some(shard(&names[2]));
    let (items, freshness) = pair.owners.summaries(&user("a"), &names, soon()).await;
    assert!(items.iter().all(Result::is_ok));
    assert_eq!(freshness, Freshness::Stale { ms: 3_100 });
}

#[tokio::test]
async fn who_cannot_prove_the_key_the_cluster_and_the_node_is_served_nothing() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    let address = pair.server.address().expect("an address").to_string();
    let right = || credentials("a");
    let mut wrong_key = right();
    wrong_key.key = ClusterKey::new(&[8; 32]).expect("long enough");
    let mut wrong_cluster = right();
    wrong_cluster.cluster = crate::ids::ClusterId::random();
    for (who, node, served) in
        [(wrong_key, "b", false), (wrong_cluster, "b", false), (right(), "not-b", false), (right(), "b", true)]
    {
        let (_table, table) = watch::channel(table(1, &[(node, address.clone())]));
        let (pushes, _pushed) = tokio::sync::mpsc::channel(1);
        let stop = tokio_util::sync::CancellationToken::new();
        let setup = Setup {
            credentials: who,
            peer: NodeId::from(node),
            table,
            pushes,
            broken: Box::new(|_| {}),
            reach: Arc::default(),
            config: config(),
            stop: stop.clone(),
        };
        let body = Body::Execute { shard: ShardId(1), command: send("x", false) };
        let wait = if served { PATIENCE } else { Duration::from_millis(400) };
        let answer = Link::spawn(setup).call(&body, Instant::now() + wait).await;
        stop.cancel();
        assert_eq!(answer.is_ok(), served, "{answer:?}");
        assert!(served || matches!(answer, Err(Failure::NotSent(_))), "{answer:?}");
        assert_eq!(fake.bodies().len(), usize::from(served));
    }
}

/// Reads until the server closes; it must do so by itself.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    // A reset is as good as an end.
    read.ok();
    bytes
}

#[tokio::test]
async fn a_recorded_link_played_again_is_served_nothing() {
    let fake = Fake::new(marked);
    let (pair, between) = pair_through(&fake, config()).await;
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("an answer");
    assert_eq!(fake.bodies().len(), 1);
    let recorded = between.taken.lock().expect("not poisoned").clone();
    let mut replay = TcpStream::connect(pair.server.address().expect("an address")).await.expect("connected");
    replay.write_all(&recorded).await.expect("written");
    let answered = until_closed(&mut replay).await;
    assert!(answered.starts_with(b"HTTP/1.1 101"), "the upgrade itself proves nothing");
    assert_eq!(fake.bodies().len(), 1);
}

#[tokio::test]
async fn garbage_and_silence_on_the_peer_port_are_closed_and_block_nobody() {
    let fake = Fake::new(marked);
    let strict = Config { handshake_timeout: Duration::from_millis(500), unproven_max: 2, ..config() };
    let pair = Pair::new(&fake, strict).await;
    let address = pair.server.address().expect("an address");
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    for (garbage, status) in [
        (&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &b"HTTP/1.1 404"[..]),
        (b"GET /link HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 404"),
        (b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n", b"HTTP/1.1 400"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(garbage).await.expect("written");
        let answered = until_closed(&mut stream).await;
        assert!(answered.starts_with(status), "{}", String::from_utf8_lossy(&answered));
    }
    for stream in &mut silent {
        until_closed(stream).await;
    }
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("served in the end");
}

#[tokio::test]
async fn local_and_remote_shards_are_reached_the_same_way() {
    let fake = Fake::new(live);
    fake.owned.lock().expect("not poisoned").extend((0..16).map(ShardId));
    let (_table, table) = watch::channel(table(1, &[("a", String::new())]));
    let (owners, _pushed) = node("a", &fake, table, config());
    assert!(fake.owns(ShardId(3)));
    let answers = owners.subscribe(interests(40), soon()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Subscribed::Live { .. })));
    owners.unsubscribe(vec![(conversation(1), user("a"))]);
    assert!(matches!(fake.bodies().last(), Some(Body::Unsubscribe { parts }) if parts.len() == 1));
    assert_eq!(owners.map().shards(), SHARDS);
}

#[tokio::test]
async fn what_waited_past_its_deadline_is_never_sent() {
    let fake = Fake::new(marked);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let pair = Pair::through(&fake, config(), listener, address.clone());
    // The table does not say yet where the owner is, so requests wait.
    pair.table.send_replace(table(2, &[("b", String::new())]));
    let short = Instant::now() + Duration::from_millis(200);
    let (late, patient) = (
        pair.owners.execute(ShardId(1), send("late", true), short),
        tokio::spawn(pair.owners.execute(ShardId(1), send("patient", true), soon())),
    );
    assert_eq!(late.await.expect_err("nobody there").code, Code::Unavailable);
    pair.table.send_replace(table(3, &[("b", address)]));
    patient.await.expect("no panic").expect("it is reached in time");
    assert_eq!(fake.bodies().iter().map(text).collect::<Vec<_>>(), ["patient"]);
}

#[tokio::test]
async fn a_newer_link_of_a_node_takes_the_place_of_the_older() {
    let fake = Fake::new(marked);
    let pair = Pair::new(&fake, config()).await;
    pair.owners.execute(ShardId(1), send("x", false), soon()).await.expect("the first link");
    let older = fake.subscribers.lock().expect("not poisoned")[0].id();
    let (restarted, _pushed) = node("a", &Fake::new(marked), pair.table.subscribe(), config());
    restarted.execute(ShardId(1), send("y", false), soon()).await.expect("the second link");
    eventually(|| fake.forgotten.lock().expect("not poisoned").contains(&older)).await;
    restarted.execute(ShardId(1), send("z", false), soon()).await.expect("the second link lives");
}
