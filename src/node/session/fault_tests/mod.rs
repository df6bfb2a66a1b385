//! What dead and late owners may not do to sessions that have nothing to do with them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::admission::Begin;
use super::board::Board;
use super::board::entries;
use super::board::state::{Cursor, Cut};
use super::board::work::{Fetch, Load};
use super::commands;
use super::said::Message;
use super::testing::{self, frames};
use super::underway::PER_SHARD;
use super::upstream::Upstream;
use super::window::Session;
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

mod commands_for_dead;
mod stays;

fn config() -> Config {
    Config {
        sessions_max: 10_000,
        ..Config::small()
    }
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
    let (id, source, text) = (
        MessageId::new(1, Slot(0), seq),
        user("alice"),
        Arc::from(format!("text-{seq}")),
    );
    let kind = EventKind::plain(id, source, text);
    Arc::new(Event {
        conversation: name("healthy"),
        seq: Seq(seq),
        created: seq,
        key: None,
        kind,
    })
}

/// The conversation `healthy`, and others whose names begin with `dead`, of shards that nobody
/// owns. Everybody is in all of them, but users whose names begin with `fresh`: these are in
/// `healthy` alone.
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

    fn execute(
        &self,
        shard: ShardId,
        command: Command,
        _: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>> {
        if shard != map().shard_of(name("healthy").slot()) {
            return Box::pin(std::future::pending());
        }
        if let Command::Delivered(marks) = command {
            self.marks
                .lock()
                .expect("lock")
                .extend(marks.iter().map(|mark| mark.up_to));
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
            let events = interest
                .after
                .map_or(Vec::new(), |after| (after.0 + 1..4).map(event).collect());
            Subscribed::Live {
                tail: Seq(3),
                joined: Seq(1),
                events,
                departed: None,
            }
        };
        interests.iter().map(answer).collect()
    }

    fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {
        if self.preempted.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.calls.lock().expect("lock").push("unsubscribe");
    }

    async fn subscribe_index(
        &self,
        who: UserId,
        _: Offset,
        _: u32,
        _: Instant,
    ) -> Result<IndexPage, Problem> {
        self.calls.lock().expect("lock").push("subscribe_index");
        if who.as_str().starts_with("lost") {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Err(Problem::unavailable("nobody owns it"));
        }
        let item = |of: &str| IndexItem {
            conversation: name(of),
            seq: Seq(1),
            joined: true,
            version: Offset(1),
        };
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
    names
        .find(|candidate| (of(candidate) == of(other)) == same)
        .expect("there are shards enough")
}

fn hub(owners: &Arc<Owners>) -> (Arc<Hub>, mpsc::Sender<Push>) {
    let (pushes, receiver) = mpsc::channel(64);
    let verify = Box::new(|_: &str| Err(Refused("no".to_owned())));
    let upstream: Arc<dyn Upstream> = Arc::<Owners>::clone(owners);
    (
        Hub::start(
            upstream,
            verify,
            Clock::manual(1_000_000),
            config(),
            receiver,
        ),
        pushes,
    )
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
    let member = board
        .feeds
        .get(&name("healthy"))
        .and_then(|feed| feed.members.get(&user(who)));
    member.is_some_and(|member| member.interest == entries::Interest::Live)
}

/// How long it takes until a new session of this user is live in `healthy`; the clock of tokio is
/// paused.
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
        while calls()
            .iter()
            .filter(|call| call.ends_with("_index"))
            .count()
            < count
            && Instant::now() < deadline
        {
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
    let indexes: Vec<_> = calls()
        .into_iter()
        .filter(|call| call.ends_with("_index"))
        .collect();
    let expected = ["subscribe_index", "unsubscribe_index", "subscribe_index"];
    assert_eq!(
        indexes, expected,
        "the owner would push no change of their index to the second session"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_shard_does_not_hold_up_sessions_that_have_nothing_there() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for count in [0, 60, 300, 1_000] {
        for number in hub.sessions()..count {
            hub.inner
                .admit(&session(&format!("user{number}")), Begin::Anew)
                .expect("room");
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let waited = until_live(&hub, &format!("fresh{count}")).await;
        assert!(
            waited < Duration::from_secs(1),
            "{count} sessions with dead shards: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_dead_shards_too_is_live_at_once_where_the_owner_answers() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    for number in 0..300 {
        hub.inner
            .admit(&session(&format!("user{number}")), Begin::Anew)
            .expect("room");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        (0..300).all(|number| is_live(&hub, &format!("user{number}"))),
        "before the first dead owner was given up"
    );
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
                member.places.iter_mut().for_each(|place| {
                    place.cursor = Cursor::Behind {
                        seq: Seq(1),
                        cut: Cut::Never,
                    }
                });
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
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn marks_for_a_dead_shard_hold_up_no_marks_of_another() {
    let owners = Arc::new(Owners::default());
    let (hub, _pushes) = hub(&owners);
    let begun = tokio::time::Instant::now();
    for seq in 1..=4 {
        let of = |text: &str| (name(text), Seq(seq));
        hub.inner.gather.add(
            &user("bob"),
            dead()
                .iter()
                .map(|text| of(text))
                .chain([of("healthy")])
                .collect(),
        );
        while owners.marks.lock().expect("lock").last() != Some(&Seq(seq))
            && begun.elapsed() < Duration::from_secs(60)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "four rounds took {:?}",
        begun.elapsed()
    );
}
