//! What dead and late owners may not do to sessions that have nothing to do with them, and what
//! late ones may not keep from those that have.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::bob::{
    index_comes, index_loaded, of_one_conversation, resumed, seqs, stays, without_conversations,
};
use self::owners::{Owners, dead, event, user_in};
use super::admission::Begin;
use super::board::work::{Fetch, Load};
use super::board::{Board, entries};
use super::commands;
use super::said::Message;
use super::testing::{self, frames};
use super::testing_talk::{index_read, owner_answers, row, user, whole};
use super::underway::PER_SHARD;
use super::upstream::Upstream;
use super::window::Session;
use super::{Config, Hub};
use crate::auth::Refused;
use crate::clock::Clock;
use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, Offset, Seq, ShardId, UserId};
use crate::link::front::attach::Repeat;
use crate::log::record::{Event, EventKind};
use crate::shard::IndexPage;
use crate::shard::command::{IndexItem, Interest, Push, Subscribed};

mod bob;
mod commands_for_dead;
mod dead_shards;
mod late_indexes;
mod late_refusals;
mod lower_epochs;
mod owners;

fn config() -> Config {
    Config {
        sessions_max: 10_000,
        ..Config::small()
    }
}

fn name(text: &str) -> ConversationName {
    ConversationName::parse(text).expect("a name")
}

fn map() -> ShardMap {
    ShardMap::new(16).expect("a power of two")
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
