//! Owners of one conversation that answers, and of shards that are dead.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::*;
use crate::ids::{MessageId, Slot};
use crate::problem::Problem;
use crate::shard::command::{Command, Done};

pub(super) fn event(seq: u64) -> Arc<Event> {
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
pub(super) struct Owners {
    pub(super) calls: Mutex<Vec<&'static str>>,
    /// Marks that were brought to the owner of `healthy`.
    pub(super) marks: Mutex<Vec<Seq>>,
    /// A thread is preempted here for so long.
    pub(super) preempted: AtomicBool,
    /// How long `healthy` takes for a command.
    pub(super) takes: Mutex<Duration>,
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
                pruned: Seq(0),
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
        let item = |of: &str| row(name(of), 1);
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
pub(super) fn dead() -> Vec<String> {
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
pub(super) fn user_in(prefix: &str, other: &str, same: bool) -> String {
    let of = |text: &str| map().shard_of(user(text).slot());
    let mut names = (0..).map(|number| format!("{prefix}{number}"));
    names
        .find(|candidate| (of(candidate) == of(other)) == same)
        .expect("there are shards enough")
}
