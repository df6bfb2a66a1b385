//! What dead and late owners may not do to sessions that have nothing to do with them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::board::Board;
use super::commands;
use super::entries;
use super::opening::Begin;
use super::said::Message;
use super::state::{Cursor, Cut};
use super::testing::{self, frames};
use super::underway::PER_SHARD;
use super::upstream::Upstream;
use super::window::Session;
use super::work::{Fetch, Load};
use super::{Config, Hub};
use crate::auth::Refused;
use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, MessageId, Offset, Seq, ShardId, Slot, UserId};
use crate::link::front::attach::Repeat;
use crate::log::record::{Event, EventKind};
use crate::problem::Problem;
use crate::shard::IndexPage;
use crate::shard::command::{Command, Done, IndexItem, Interest, Push, Subscribed};

fn config() -> Config {
    Config { sessions_max: 10_000, ..Config::small() }
}

fn name(text: &str) -> ConversationName {
    ConversationName::parse(text).expect("a name")
}

fn user(text: &str) -> UserId {
    UserId::parse(text).expect("a name")
}

fn map() -> ShardMap {
    ShardMap::new(16).expect("a power of two")
}

fn event(seq: u64) -> Arc<Event> {
    let (id, source, text) = (MessageId::new(1, Slot(0), seq), user("alice"), Arc::from(format!("text-{seq}")));
    let kind = EventKind::Message { id, source, text, reply_to: None };
    Arc::new(Event { conversation: name("healthy"), seq: Seq(seq), created: seq, key: None, kind })
}

/// The conversation `healthy`, and others whose names begin with `dead`, of shards that nobody owns. Everybody is in all of
/// them, but users whose names begin with `fresh`: these are in `healthy` alone.
#[derive(Default)]
struct Owners {
    calls: Mutex<Vec<&'static str>>,
    /// Marks that were brought to the owner of `healthy`.
    marks: Mutex<Vec<Seq>>,
    /// A thread is preempted here for so long.
    preempted: AtomicBool,
    /// How long `healthy` takes for a command.
    takes: Mutex<Duration>,
}

const DEAD: usize = 5;

#[async_trait]
impl Upstream for Owners {
    fn map(&self) -> ShardMap {
        map()
    }

    fn execute(&self, shard: ShardId, command: Command, _: Instant) -> BoxFuture<'static, Result<Done, Problem>> {
        if shard != map().shard_of(name("healthy").slot()) {
            return Box::pin(std::future::pending());
        }
        if let Command::Delivered(marks) = command {
            self.marks.lock().expect("lock").extend(marks.iter().map(|mark| mark.up_to));
        }
        let takes = *self.takes.lock().expect("lock");
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            Ok(Done::Marked)
        })
    }

    /// One answer for all, when the last owner has answered or at the deadline.
    async fn subscribe(&self, interests: Vec<Interest>, _: Instant) -> Vec<Subscribed> {
        let is_dead = |interest: &Interest| interest.conversation.as_str().starts_with("dead");
        if interests.iter().any(is_dead) {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let answer = |interest: &Interest| {
            if is_dead(interest) {
                return Subscribed::Failed(Problem::unavailable("nobody owns it"));
            }
            let events = interest.after.map_or(Vec::new(), |after| (after.0 + 1..4).map(event).collect());
            Subscribed::Live { tail: Seq(3), joined: Seq(1), events, departed: None }
        };
        interests.iter().map(answer).collect()
    }

    fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {
        if self.preempted.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.calls.lock().expect("lock").push("unsubscribe");
    }

    async fn subscribe_index(&self, who: UserId, _: Offset, _: u32, _: Instant) -> Result<IndexPage, Problem> {
        self.calls.lock().expect("lock").push("subscribe_index");
        if who.as_str().starts_with("lost") {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Err(Problem::unavailable("nobody owns it"));
        }
        let item = |of: &str| IndexItem { conversation: name(of), seq: Seq(1), joined: true, version: Offset(1) };
        let mut items = vec![item("healthy")];
        if !who.as_str().starts_with("fresh") {
            items.extend(dead().iter().map(|of| item(of)));
        }
        Ok(IndexPage { items, more: false })
    }

    fn unsubscribe_index(&self, _: UserId) {
        self.calls.lock().expect("lock").push("unsubscribe_index");
    }
}

/// Names of that many shards, none of them that of `healthy`.
fn dead() -> Vec<String> {
    let of = |text: &str| map().shard_of(name(text).slot());
    let mut shards = vec![of("healthy")];
    let mut names = Vec::new();
    for candidate in (0..).map(|number| format!("dead{number}")) {
        if names.len() == DEAD {
            break;
        }
        if !shards.contains(&of(&candidate)) {
            shards.push(of(&candidate));
            names.push(candidate);
        }
    }
    names
}

/// A user of that name whose index is in another shard than `other`'s, or in the same.
fn user_in(prefix: &str, other: &str, same: bool) -> String {
    let of = |text: &str| map().shard_of(user(text).slot());
    let mut names = (0..).map(|number| format!("{prefix}{number}"));
    names.find(|candidate| (of(candidate) == of(other)) == same).expect("there are shards enough")
}

fn hub(owners: &Arc<Owners>) -> (Arc<Hub>, mpsc::Sender<Push>) {
    let (pushes, receiver) = mpsc::channel(64);
    let verify = Box::new(|_: &str| Err(Refused("no".to_owned())));
    let upstream: Arc<dyn Upstream> = Arc::<Owners>::clone(owners);
    (Hub::start(upstream, verify, Clock::manual(1_000_000), config(), receiver), pushes)
}

fn session(who: &str) -> Arc<Session> {
    testing::session(who, 512 * 1024)
}

/// All that was sent to a session, in one text.
fn texts(session: &Session) -> String {
    frames(session).iter().map(Value::to_string).collect()
}

fn is_live(hub: &Hub, who: &str) -> bool {
    let board = hub.inner.board();
    let member = board.feeds.get(&name("healthy")).and_then(|feed| feed.members.get(&user(who)));
    member.is_some_and(|member| member.interest == entries::Interest::Live)
}

/// How long it takes until a new session of this user is live in `healthy`; the clock of tokio is paused.
async fn until_live(hub: &Hub, who: &str) -> Duration {
    hub.inner.admit(&session(who), Begin::Anew).expect("room");
    let begun = tokio::time::Instant::now();
    while !is_live(hub, who) && begun.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_an_interest_never_overtakes_the_beginning_of_the_next() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let (first, second) = (session("fresh"), session("fresh"));
    let calls = || owners.calls.lock().expect("lock").clone();
    let until = async |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while calls().iter().filter(|call| call.ends_with("_index")).count() < count && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    hub.inner.admit(&first, Begin::Anew).expect("room");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_live(&hub, "fresh") && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    owners.preempted.store(true, Ordering::SeqCst);
    let inner = Arc::clone(&hub.inner);
    let leaving = tokio::task::spawn_blocking(move || inner.leave(&first));
    tokio::time::sleep(Duration::from_millis(20)).await;
    hub.inner.admit(&second, Begin::Anew).expect("room");
    leaving.await.expect("ends");
    until(3).await;
    let indexes: Vec<_> = calls().into_iter().filter(|call| call.ends_with("_index")).collect();
    let expected = ["subscribe_index", "unsubscribe_index", "subscribe_index"];
    assert_eq!(indexes, expected, "the owner would push no change of their index to the second session");
}

#[tokio::test(start_paused = true)]
async fn a_dead_shard_does_not_hold_up_sessions_that_have_nothing_there() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for count in [0, 60, 300, 1_000] {
        for number in hub.sessions()..count {
            hub.inner.admit(&session(&format!("user{number}")), Begin::Anew).expect("room");
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let waited = until_live(&hub, &format!("fresh{count}")).await;
        assert!(waited < Duration::from_secs(1), "{count} sessions with dead shards: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_dead_shards_too_is_live_at_once_where_the_owner_answers() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for number in 0..300 {
        hub.inner.admit(&session(&format!("user{number}")), Begin::Anew).expect("room");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!((0..300).all(|number| is_live(&hub, &format!("user{number}"))), "before the first dead owner was given up");
}

#[tokio::test(start_paused = true)]
async fn users_whose_index_is_lost_hold_up_nobody_of_another_shard() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let fresh = user_in("fresh", "lost", false);
    for number in 0..200 {
        let who = user_in(&format!("lost-{number}-"), "lost", true);
        hub.inner.admit(&session(&who), Begin::Anew).expect("room");
    }
    let waited = until_live(&hub, &fresh).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_dead_shard_hold_up_no_span_of_another() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let bob = session("bob");
    hub.inner.admit(&bob, Begin::Anew).expect("room");
    while !is_live(&hub, "bob") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hub.inner.on_board(|board| {
        for of in dead().iter().map(String::as_str).chain(["healthy"]) {
            for member in board.feed(&name(of)).members.values_mut() {
                member
                    .places
                    .iter_mut()
                    .for_each(|place| place.cursor = Cursor::Behind { seq: Seq(1), cut: Cut::Never });
            }
            board.enqueue(bob.id, &name(of));
        }
    });
    let begun = tokio::time::Instant::now();
    let mut written = String::new();
    while !written.contains("text-3") && begun.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        written.push_str(&texts(&bob));
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn marks_for_a_dead_shard_hold_up_no_marks_of_another() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let begun = tokio::time::Instant::now();
    for seq in 1..=4 {
        let of = |text: &str| (name(text), Seq(seq));
        hub.inner.gather.add(&user("bob"), dead().iter().map(|text| of(text)).chain([of("healthy")]).collect());
        while owners.marks.lock().expect("lock").last() != Some(&Seq(seq)) && begun.elapsed() < Duration::from_secs(60)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "four rounds took {:?}", begun.elapsed());
}

/// A client that sends as fast as it can, and reads all that it gets.
struct Pipelining {
    hub: Arc<Hub>,
    _pushes: mpsc::Sender<Push>,
    bob: Arc<Session>,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Pipelining {
    fn new(owners: &Arc<Owners>) -> Self {
        let (hub, pushes) = hub(owners);
        let bob = session("bob");
        let (reading, told) = (Arc::clone(&bob), Arc::<Mutex<Vec<Value>>>::default());
        let read = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                read.lock().expect("lock").extend(frames(&reading));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { hub, _pushes: pushes, bob, told }
    }

    async fn send(&self, of: &str, text: &str) {
        let frame = json!({"t": "send", "ref": of, "conversation": of, "text": text});
        let said = bytes::Bytes::from(frame.to_string());
        let message = Message { text: said, number: 0, key: None, repeat: Repeat::First, later: Vec::new() };
        commands::handle(&self.hub.inner, &self.bob, &message).await;
    }

    /// How many answers of this kind there are to what was sent to a conversation.
    fn told(&self, of: &str, code: &str) -> usize {
        let told = self.told.lock().expect("lock");
        told.iter()
            .filter(|frame| frame["ref"] == of && (frame["t"] == code || frame["problem"]["code"] == code))
            .count()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let begun = tokio::time::Instant::now();
        while !reached(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends far more to four dead shards than they may take of a session, and then to a healthy one.
async fn pass_dead_shards(text: &str) {
    let client = Pipelining::new(&Arc::default());
    let (begun, dead) = (tokio::time::Instant::now(), dead());
    for of in dead.iter().take(4) {
        for _ in 0..2 * PER_SHARD {
            client.send(of, text).await;
        }
    }
    client.send("healthy", "well").await;
    client.until("the healthy one answers", |client| client.told("healthy", "ok") == 1).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for of in dead.iter().take(4) {
        let refused = client.told(of, "unavailable");
        assert!(refused >= PER_SHARD, "{refused} were surely not written, and are told so at once");
        let all = |of_all: &Pipelining| of_all.told(of, "outcome_unknown") + refused == 2 * PER_SHARD;
        client.until("those under way have their time", all).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn commands_for_dead_shards_hold_up_none_for_another() {
    pass_dead_shards("short").await;
}

#[tokio::test(start_paused = true)]
async fn long_commands_for_dead_shards_hold_up_none_for_another() {
    pass_dead_shards(&"long".repeat(4_000)).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_answers_promptly_is_sent_as_much_as_the_client_likes() {
    let owners = Arc::<Owners>::default();
    *owners.takes.lock().expect("lock") = Duration::from_millis(200);
    let client = Pipelining::new(&owners);
    for _ in 0..5 * PER_SHARD {
        client.send("healthy", "well").await;
    }
    client.until("all are answered", |client| client.told("healthy", "ok") == 5 * PER_SHARD).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_answers_again_is_sent_commands_again() {
    let owners = Arc::<Owners>::default();
    *owners.takes.lock().expect("lock") = Duration::from_secs(3);
    let client = Pipelining::new(&owners);
    for _ in 0..=PER_SHARD {
        client.send("healthy", "late").await;
    }
    let refused = |of: &Pipelining| of.told("healthy", "unavailable");
    client.until("one is refused", |client| refused(client) > 0).await;
    client
        .until("the others are answered", |client| client.told("healthy", "ok") + refused(client) == PER_SHARD + 1)
        .await;
    let answered = client.told("healthy", "ok");
    *owners.takes.lock().expect("lock") = Duration::ZERO;
    client.send("healthy", "again").await;
    client.until("it is answered", |client| client.told("healthy", "ok") == answered + 1).await;
}

/// A board with one session of bob, whose index has one conversation; its owner is being asked.
fn of_one_conversation() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    let load = board.take_work().loads.remove(0);
    let item = IndexItem { conversation: name("healthy"), seq: Seq(1), joined: true, version: Offset(1) };
    board.loaded(&load, &IndexPage { items: vec![item], more: false });
    (board, bob)
}

/// A board with one session of bob, who has heard seq 2 under epoch 8.
fn under_epoch_eight() -> (Board, Arc<Session>) {
    let (mut board, bob) = of_one_conversation();
    answer(&mut board, 1);
    board.push(Push::Event { epoch: Epoch(8), event: event(2) });
    (board, bob)
}

fn answer(board: &mut Board, tail: u64) {
    let ask = board.take_work().asks.remove(0);
    board.subscribed(&ask, Subscribed::Live { tail: Seq(tail), joined: Seq(1), events: Vec::new(), departed: None });
}

/// A board whose user bob has one started session and is in no conversation; the user's shard is lost meanwhile.
fn without_conversations() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    let load = board.take_work().loads.remove(0);
    board.loaded(&load, &IndexPage { items: Vec::new(), more: false });
    board.push(Push::Resubscribe { shard: ShardId(0) });
    (board, bob)
}

/// The index comes at last, and has only the latest change of the conversation.
fn index_comes(board: &mut Board, seq: u64, joined: bool) {
    let load = board.take_work().loads.remove(0);
    index_loaded(board, &load, seq, joined);
}

fn index_loaded(board: &mut Board, load: &Load, seq: u64, joined: bool) {
    let item = IndexItem { conversation: name("healthy"), seq: Seq(seq), joined, version: Offset(9) };
    board.loaded(load, &IndexPage { items: vec![item], more: false });
}

/// What the conversation `healthy` has from `after` on: bob joined at 3, left at 5, and joined at 8.
fn stays(after: Seq) -> Vec<Arc<Event>> {
    let change = |seq: u64, kind| Event { conversation: name("healthy"), seq: Seq(seq), created: seq, key: None, kind };
    let joined = |seq| change(seq, EventKind::Joined { by: user("alice"), users: vec![user("bob")] });
    let left = |seq| change(seq, EventKind::Left { by: user("alice"), user: user("bob"), admin: None });
    let all = (1..=9).map(|seq| match seq {
        3 | 8 => Arc::new(joined(seq)),
        5 => Arc::new(left(seq)),
        _ => event(seq),
    });
    all.filter(|of| of.seq > after).collect()
}

fn seqs(session: &Session) -> Vec<(String, u64)> {
    let told = frames(session).into_iter().filter(|frame| frame["t"] != "ready");
    told.map(|frame| {
        let seq = frame.get("seq").or_else(|| frame.get("from")).and_then(Value::as_u64).unwrap_or_default();
        (frame["t"].as_str().unwrap_or_default().to_owned(), seq)
    })
    .collect()
}

#[test]
fn a_whole_membership_that_the_index_did_not_tell_in_time_is_shown() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 8, true);
    let ask = board.take_work().asks.remove(0);
    assert_eq!((ask.after, ask.since), (None, Some(Seq(0))), "nothing is known of them there");
    let answer = Subscribed::Live { tail: Seq(9), joined: Seq(8), events: Vec::new(), departed: Some(Seq(5)) };
    board.subscribed(&ask, answer);
    let fetch = board.take_work().fetches.remove(0);
    let after = fetch.asks[0].after.expect("a cursor");
    let span = Subscribed::Live { tail: Seq(9), joined: Seq(8), events: stays(after), departed: None };
    board.fetched(&fetch, vec![span]);
    let shown = [("event", 3), ("message", 4), ("event", 5), ("event", 8), ("message", 9)];
    assert_eq!(seqs(&bob), shown.map(|(t, seq)| (t.to_owned(), seq)));
}

#[test]
fn of_a_first_membership_nothing_before_the_joined_is_fetched() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 8, true);
    let ask = board.take_work().asks.remove(0);
    board.subscribed(&ask, Subscribed::Live { tail: Seq(9), joined: Seq(8), events: Vec::new(), departed: None });
    let fetch = board.take_work().fetches.remove(0);
    assert_eq!(fetch.asks[0].after, Some(Seq(7)));
    let answer = Subscribed::Live { tail: Seq(9), joined: Seq(8), events: stays(Seq(7)), departed: None };
    board.fetched(&fetch, vec![answer]);
    assert_eq!(seqs(&bob), [("event".to_owned(), 8), ("message".to_owned(), 9)]);
}

#[test]
fn memberships_too_far_back_are_a_gap_up_to_the_joined() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 5_000, true);
    let ask = board.take_work().asks.remove(0);
    let (tail, joined, departed) = (Seq(4_999), Seq(5_000), Some(Seq(5)));
    board.subscribed(&ask, Subscribed::Live { tail, joined, events: Vec::new(), departed });
    let again = board.take_work().asks.remove(0);
    board.subscribed(&again, Subscribed::Live { tail: Seq(5_000), joined, events: Vec::new(), departed });
    assert_eq!(seqs(&bob), [("gap".to_owned(), 1)]);
    assert_eq!(board.take_work().fetches[0].asks[0].after, Some(Seq(4_999)));
}

#[test]
fn a_whole_membership_that_ended_unseen_is_a_gap_when_the_owner_gives_nothing_of_it() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 5, false);
    let fetch = board.take_work().fetches.remove(0);
    board.fetched(&fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [("gap".to_owned(), 1)]);
    assert!(board.feeds.is_empty());
}

/// Bob resumes at seq 2 of a conversation that his index, which is being read, does not have.
fn resumed(board: &mut Board, bob: &Session) -> (Load, Fetch) {
    board.resume(bob.id, [(name("healthy"), Seq(2))].into(), false);
    let mut work = board.take_work();
    (work.loads.remove(0), work.fetches.remove(0))
}

fn subscribed_at(tail: u64, joined: u64, departed: Option<u64>) -> Subscribed {
    let departed = departed.map(Seq);
    Subscribed::Live { tail: Seq(tail), joined: Seq(joined), events: Vec::new(), departed }
}

#[test]
fn a_membership_that_another_session_of_the_user_heard_of_first_is_not_passed_over() {
    let (mut board, bob) = without_conversations();
    let second = session("bob");
    board.open(&second, false);
    // The first one resumes there, and its owner tells of the second membership before any index does.
    let (load, fetch) = resumed(&mut board, &bob);
    let span = Subscribed::Live { tail: Seq(9), joined: Seq(8), events: stays(Seq(2)), departed: None };
    board.fetched(&fetch, vec![span]);

    index_loaded(&mut board, &load, 8, true);
    let asks = board.take_work().asks;
    assert!(asks.iter().any(|ask| ask.since == Some(Seq(0))), "nothing is known of the first one: {asks:?}");
    board.subscribed(&asks[0], subscribed_at(9, 8, Some(5)));
    let fetches = board.take_work().fetches;
    assert_eq!((fetches[0].session, fetches[0].asks[0].after), (second.id, Some(Seq(0))));
}

#[test]
fn a_refusal_that_is_older_than_a_whole_membership_is_asked_again() {
    let (mut board, bob) = without_conversations();
    let (load, fetch) = resumed(&mut board, &bob);
    // They are added and leave again before the refusal arrives.
    index_loaded(&mut board, &load, 5, false);
    board.fetched(&fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [], "it may have been shown");
    let again = board.take_work().fetches.remove(0);
    let events = stays(Seq(2)).into_iter().filter(|event| event.seq <= Seq(5)).collect();
    board.fetched(&again, vec![Subscribed::Ended { left: Seq(5), events, departed: None }]);
    assert_eq!(seqs(&bob), [("event", 3), ("message", 4), ("event", 5)].map(|(t, seq)| (t.to_owned(), seq)));
}

#[test]
fn a_membership_that_began_after_the_end_that_a_span_tells_is_looked_at_too() {
    let (mut board, bob) = without_conversations();
    let (load, fetch) = resumed(&mut board, &bob);
    // The answer has their first membership; the next one is over before it arrives.
    index_loaded(&mut board, &load, 12, false);
    let events = stays(Seq(2)).into_iter().filter(|event| event.seq <= Seq(5)).collect();
    board.fetched(&fetch, vec![Subscribed::Ended { left: Seq(5), events, departed: None }]);
    let next = board.take_work().fetches.remove(0);
    assert_eq!(next.asks[0].after, Some(Seq(5)));
    board.fetched(&next, vec![Subscribed::NotParticipant]);
    let shown = [("event", 3), ("message", 4), ("event", 5), ("gap", 6)];
    assert_eq!(seqs(&bob), shown.map(|(t, seq)| (t.to_owned(), seq)));
    assert!(board.take_work().fetches.is_empty() && board.feeds.is_empty());
}

#[test]
fn a_membership_that_is_known_when_a_subscription_is_refused_is_not_passed_over() {
    let (mut board, bob) = of_one_conversation();
    let ask = board.take_work().asks.remove(0);
    // They had left at 2; another membership is over before that is heard.
    let over = IndexItem { conversation: name("healthy"), seq: Seq(5), joined: false, version: Offset(9) };
    board.push(Push::Index { user: user("bob"), item: over });
    board.subscribed(&ask, Subscribed::NotParticipant);
    let fetches = board.take_work().fetches;
    let fetch = fetches.first().expect("what they may still get is fetched");
    assert_eq!(fetch.asks[0].after, Some(Seq(1)));
    board.fetched(fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [("gap".to_owned(), 2)]);
}

/// ADR 14, interleaving 4: the log forgot epoch 8, and its owner of epoch 7 goes on.
#[test]
fn a_session_that_subscribed_anew_hears_an_owner_of_a_lower_epoch() {
    let (mut board, bob) = under_epoch_eight();
    board.push(Push::Resubscribe { shard: ShardId(0) });
    answer(&mut board, 2);
    for seq in 3..6 {
        board.push(Push::Event { epoch: Epoch(7), event: event(seq) });
    }
    let written = texts(&bob);
    for seq in 2..6 {
        assert!(written.contains(&format!("text-{seq}")), "{seq} in {written}");
    }
}

#[test]
fn what_a_lower_epoch_tells_beyond_the_cursor_is_asked_for_and_what_lies_before_is_not() {
    let (mut board, bob) = under_epoch_eight();
    board.push(Push::Event { epoch: Epoch(7), event: event(2) });
    assert!(board.take_work().fetches.is_empty(), "known already");
    board.push(Push::Event { epoch: Epoch(7), event: event(3) });
    assert!(!texts(&bob).contains("text-3"), "whether it holds, its owner has to say");
    let fetches = board.take_work().fetches;
    assert_eq!(fetches.iter().flat_map(|fetch| &fetch.asks).map(|ask| ask.after).collect::<Vec<_>>(), [Some(Seq(2))]);
}
