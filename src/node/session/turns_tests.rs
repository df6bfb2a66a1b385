//! Turns in which sessions are told how users are: whatever else there is goes first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::admission::Begin;
use super::testing::{self, frames, router_of, session_on};
use super::testing_talk::{self, caught_up, name, row, user, whole};
use super::upstream::Upstream;
use super::window::{Router, Session};
use super::{Config, Hub};
use crate::auth::Refused;
use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, Offset, Seq, ShardId, Slot, UserId};
use crate::problem::Problem;
use crate::protocol::Presence;
use crate::shard::IndexPage;
use crate::shard::command::{Command, Done, Interest, Push, Subscribed};

/// Users whose state changes at once.
const CHANGES: usize = 20;
/// Sessions that watch them on one connection: more than are told in one turn.
const WATCHERS: usize = 600;

fn watched() -> Vec<UserId> {
    (0..CHANGES)
        .map(|number| user(&format!("u{number}")))
        .collect()
}

/// Whoever asks is in one conversation, and nothing was missed there.
struct Quiet;

#[async_trait]
impl Upstream for Quiet {
    fn map(&self) -> ShardMap {
        ShardMap::new(16).expect("a power of two")
    }

    fn execute(
        &self,
        _: ShardId,
        _: Command,
        _: Instant,
    ) -> BoxFuture<'static, Result<Done, Problem>> {
        Box::pin(std::future::pending())
    }

    async fn subscribe(&self, interests: Vec<Interest>, _: Instant) -> Vec<Subscribed> {
        let live = |_| caught_up(Seq(1));
        interests.into_iter().map(live).collect()
    }

    fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {}

    async fn subscribe_index(
        &self,
        _: UserId,
        _: Offset,
        _: u32,
        _: Instant,
    ) -> Result<IndexPage, Problem> {
        Ok(whole(vec![row(name(), 1)]))
    }

    fn unsubscribe_index(&self, _: UserId) {}
}

/// A node, whose owners push what is sent.
fn hub() -> (Arc<Hub>, mpsc::Sender<Push>) {
    let (pushes, pushed) = mpsc::channel(64);
    let verify = Box::new(|_: &str| Err(Refused("nobody".to_owned())));
    let config = Config {
        sessions_max: 10 * WATCHERS,
        ..Config::small()
    };
    (
        Hub::start(Arc::new(Quiet), verify, Clock::system(), config, pushed),
        pushes,
    )
}

/// A session of this user that takes part, and sessions of others that watch; all on this
/// connection.
async fn enter(
    hub: &Hub,
    router: &Arc<Router>,
    member: &str,
    watchers: usize,
) -> (Arc<Session>, Vec<Arc<Session>>) {
    let member = session_on(router, user(member), 64 << 20);
    assert!(hub.inner.admit(&member, Begin::Anew).is_ok());

    while !router_of(&member)
        .sent()
        .iter()
        .any(|frame| frame["t"] == "ready")
    {
        yield_now().await;
    }

    let watchers: Vec<_> = (0..watchers)
        .map(|number| session_on(router, user(&format!("w{number}")), 64 << 20))
        .collect();
    for watcher in &watchers {
        assert!(hub.inner.admit(watcher, Begin::Anew).is_ok());
        let of = vec![(name(), watched())];
        hub.inner
            .on_board(|board| board.watching.watch(watcher.id, of))
            .expect("room");
    }

    for watcher in &watchers {
        while !frames(watcher).iter().any(|frame| frame["t"] == "ready") {
            yield_now().await;
        }
    }

    (member, watchers)
}

fn all_online(hub: &Hub) -> Push {
    let changes = watched().into_iter().map(|user| Presence {
        user,
        online: true,
        last_seen: None,
    });
    Push::Presence {
        shard: hub.inner.upstream.map().shard_of(Slot(0)),
        epoch: Epoch(1),
        changes: changes.collect(),
    }
}

fn message(seq: u64) -> Push {
    testing_talk::message(seq, "hello")
}

/// Where in what went over the link the message of this seq is, as soon as it is there.
async fn place_of(session: &Session, seq: u64) -> usize {
    loop {
        let is_it = |frame: &Value| frame["t"] == "message" && frame["seq"] == seq;
        if let Some(place) = router_of(session).sent().iter().position(is_it) {
            return place;
        }
        yield_now().await;
    }
}

fn presences(session: &Session) -> usize {
    frames(session)
        .iter()
        .filter(|frame| frame["t"] == "presence")
        .count()
}

#[tokio::test]
async fn a_message_that_comes_in_a_storm_of_presence_has_one_turn_before_it_at_most() {
    let (hub, pushes) = hub();
    let router = testing::router();
    let (member, watchers) = enter(&hub, &router, "bob", WATCHERS).await;
    let link = router_of(&member);
    let begun = link.delivers();
    pushes.try_send(all_online(&hub)).expect("room");

    for seq in 2..8 {
        let turns = link.delivers();
        while link.delivers() < turns + 3 {
            yield_now().await;
        }
        let before = link.delivers();
        pushes.try_send(message(seq)).expect("room");
        let place = place_of(&member, seq).await;
        assert!(
            place <= before + 1,
            "of message {seq}: {} turns went first",
            place - before
        );
    }
    let turns = CHANGES * WATCHERS.div_ceil(256);
    assert!(link.delivers() < begun + turns, "the storm is not over yet");

    while hub.inner.board().watching.has_changed() {
        yield_now().await;
    }
    assert!(
        watchers.iter().all(|watcher| presences(watcher) == CHANGES),
        "and each was told of each"
    );
}

#[tokio::test(start_paused = true)]
async fn turns_wait_for_what_a_link_has_to_carry_and_one_that_does_not_get_on_holds_up_no_other() {
    let (hub, pushes) = hub();
    let routers = [testing::router(), testing::router()];
    let (member, slow) = enter(&hub, &routers[0], "bob", 10).await;
    let (_, others) = enter(&hub, &routers[1], "carol", 10).await;
    for (number, router) in (1..).zip(&routers) {
        hub.inner.routers().insert(number, Arc::clone(router));
    }
    router_of(&slow[0]).lade(true);
    pushes.try_send(all_online(&hub)).expect("room");

    // Time stands still as long as anybody is busy.
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(
        presences(&others[0]),
        0,
        "what the link has to carry goes first"
    );
    pushes.try_send(message(2)).expect("room");
    place_of(&member, 2).await;
    assert_eq!(presences(&others[0]), 0);

    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(
        others.iter().all(|watcher| presences(watcher) == CHANGES),
        "the others were told"
    );
    assert!(
        slow.iter().all(|watcher| presences(watcher) == 0),
        "and these are owed it"
    );
    router_of(&slow[0]).lade(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(slow.iter().all(|watcher| presences(watcher) == CHANGES));
    assert!(!hub.inner.board().watching.owes());
}
