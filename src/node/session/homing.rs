//! Sessions go with the shard of their user: when it gets another owner, they are handed on to that
//! node, a few at a time. So a node that comes back, or joins, gets sessions as it gets shards (ADR
//! 20), and a user's list is not brought over a link for longer than it must.
//!
//! Only a change of the owner moves a session: one that was taken in elsewhere, because the owner
//! did not take it, stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::cluster::table::Table;
use crate::ids::{NodeId, ShardId};
use crate::node::session::deadlines::Due;
use crate::node::session::hub::Inner;
use crate::node::session::window::Session;

/// The sessions of a shard that moved go within this time, each at a moment of its own.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Follows the table until the hub ends.
pub(super) async fn follow(
    inner: Arc<Inner>,
    mut table: watch::Receiver<Arc<Table>>,
    window: Duration,
) {
    let mut before = Arc::clone(&table.borrow_and_update());
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            changed = table.changed() => if changed.is_err() { return },
        }
        let now = Arc::clone(&table.borrow_and_update());
        let moved = moved(&before, &now);
        if !moved.is_empty() {
            inner.send_after(&moved, window);
        }
        before = now;
    }
}

/// The shards that another node owns than before.
fn moved(before: &Table, now: &Table) -> BTreeSet<ShardId> {
    let first = |row: &[NodeId]| row.first().cloned();
    let both = before.rows.iter().zip(&now.rows).zip(0..=u16::MAX);
    both.filter(|((was, is), _)| first(was) != first(is))
        .map(|(_, shard)| ShardId(shard))
        .collect()
}

impl Inner {
    /// Hands on the sessions of users of these shards, as far as they are owned elsewhere.
    fn send_after(&self, shards: &BTreeSet<ShardId>, window: Duration) {
        let sessions: Vec<_> = self
            .board()
            .sessions
            .values()
            .map(|entry| Arc::clone(&entry.session))
            .collect();
        let leaving: Vec<_> = sessions
            .into_iter()
            .filter(|session| self.leaves_after(session, Some(shards)))
            .collect();
        if leaving.is_empty() {
            return;
        }
        tracing::info!(
            sessions = leaving.len(),
            shards = shards.len(),
            "sessions go with the shards of their users"
        );

        let (now, mut deadlines) = (Instant::now(), self.deadlines());
        for session in leaving {
            deadlines.at(
                now + window.mul_f64(rand::random_range(0.0..=1.0)),
                session.id,
                Due::Home,
            );
        }
    }

    /// Whether a session is to be handed on: its user's shard is one of these, if any are named,
    /// and is owned elsewhere.
    pub(super) fn leaves_after(
        &self,
        session: &Session,
        shards: Option<&BTreeSet<ShardId>>,
    ) -> bool {
        let shard = self.upstream.map().shard_of(session.user.slot());
        // Where its router does not see to that, its client would notice.
        session.is_followed
            && shards.is_none_or(|shards| shards.contains(&shard))
            && self.upstream.is_elsewhere(shard)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use futures_util::future::BoxFuture;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::auth::{Identity, Refused};
    use crate::clock::Clock;
    use crate::cluster::map::ShardMap;
    use crate::cluster::table::changes::Changes;
    use crate::ids::{ClusterId, ConversationName, Offset, UserId};
    use crate::link::front::{Down, Refusal, Up};
    use crate::log;
    use crate::node::session::admission::Begin;
    use crate::node::session::testing::{self, router_of, session};
    use crate::node::session::upstream::Upstream;
    use crate::node::session::{Config, Hub};
    use crate::problem::Problem;
    use crate::shard::IndexPage;
    use crate::shard::command::{Command, Done, Interest, Subscribed};

    const SHARDS: u32 = 16;

    fn map() -> ShardMap {
        ShardMap::new(SHARDS).expect("a power of two")
    }

    /// Node `a` looks at this table; nothing else can be asked.
    struct Looks(watch::Receiver<Arc<Table>>);

    #[async_trait]
    impl Upstream for Looks {
        fn map(&self) -> ShardMap {
            map()
        }

        fn execute(
            &self,
            _: ShardId,
            _: Command,
            _: Instant,
        ) -> BoxFuture<'static, Result<Done, Problem>> {
            Box::pin(std::future::pending())
        }

        async fn subscribe(&self, _: Vec<Interest>, _: Instant) -> Vec<Subscribed> {
            std::future::pending().await
        }

        fn unsubscribe(&self, _: Vec<(ConversationName, UserId)>) {}

        async fn subscribe_index(
            &self,
            _: UserId,
            _: Offset,
            _: u32,
            _: Instant,
        ) -> Result<IndexPage, Problem> {
            std::future::pending().await
        }

        fn unsubscribe_index(&self, _: UserId) {}

        fn is_elsewhere(&self, shard: ShardId) -> bool {
            self.0
                .borrow()
                .owner(shard)
                .is_some_and(|owner| *owner != NodeId::from("a"))
        }
    }

    /// All shards are owned by `a`, but those given.
    fn table(version: u64, others: &[(ShardId, &str)]) -> Arc<Table> {
        let mut rows = vec![vec![NodeId::from("a"), NodeId::from("b")]; SHARDS as usize];
        for (shard, owner) in others {
            rows[usize::from(shard.0)] = vec![NodeId::from(*owner), NodeId::from("a")];
        }

        let identity = log::Identity {
            cluster: ClusterId(uuid::Uuid::nil()),
            shards: SHARDS,
        };

        Arc::new(Table {
            version,
            identity,
            nodes: BTreeMap::new(),
            rows,
            claimed: BTreeSet::new(),
            changes: Changes::default(),
        })
    }

    #[tokio::test]
    async fn sessions_go_with_the_shard_of_their_user_and_others_stay() {
        let [alice, bob] = ["alice", "bob"].map(|user| session(user, 1 << 20));
        let [alices, bobs] = [&alice, &bob].map(|session| map().shard_of(session.user.slot()));
        assert_ne!(alices, bobs, "or the test shows nothing");
        let (tables, followed) = watch::channel(table(1, &[(bobs, "b")]));
        let (_pushes, pushed) = mpsc::channel(8);
        let verify = Box::new(|_: &str| Err(Refused("nobody".to_owned())));
        let hub = Hub::start(
            Arc::new(Looks(followed.clone())),
            verify,
            Clock::system(),
            Config::small(),
            pushed,
        );
        let inner = &hub.inner;
        for session in [&alice, &bob] {
            assert!(inner.admit(session, Begin::Anew).is_ok());
        }
        let following = tokio::spawn(follow(Arc::clone(inner), followed, Duration::ZERO));
        tokio::task::yield_now().await;

        // Bob's shard was owned elsewhere when bob came: bob stays. The one of alice moves away,
        // and back before it is the turn of alice, and away.
        for (version, others) in [
            (2, vec![(bobs, "b"), (alices, "b")]),
            (3, vec![(bobs, "b")]),
        ] {
            tables.send_replace(table(version, &others));
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(hub.sessions(), 2, "nobody left");
        tables.send_replace(table(4, &[(bobs, "b"), (alices, "b")]));
        let gone = async {
            while hub.sessions() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .expect("alice goes");
        let is_move = |down: &Down| matches!(down, Down::Move(_));
        assert!(router_of(&alice).others().iter().any(is_move));
        assert!(!router_of(&bob).others().iter().any(is_move));
        following.abort();
    }

    #[tokio::test]
    async fn a_node_that_drains_sends_new_sessions_to_whoever_has_the_shard_of_their_user() {
        let [alices, bobs] = ["alice", "bob"]
            .map(|user| map().shard_of(UserId::parse(user).expect("a name").slot()));
        assert_ne!(alices, bobs, "or the test shows nothing");
        let (_tables, followed) = watch::channel(table(1, &[(alices, "b")]));
        let (_pushes, pushed) = mpsc::channel(8);
        let verify = Box::new(|token: &str| {
            let user = UserId::parse(token).map_err(|_no_name| Refused("nobody".to_owned()))?;
            Ok(Identity {
                user,
                expires: u64::MAX,
            })
        });

        let hub = Hub::start(
            Arc::new(Looks(followed)),
            verify,
            Clock::system(),
            Config::small(),
            pushed,
        );
        hub.drain(Duration::ZERO, "a test").await;

        for (number, user) in [(1, "alice"), (2, "bob")] {
            let open = json!({
                "session": number, "deadline_ms": 5_000, "request_id": "r", "authorization": {"Bearer": user}, "follows": true,
            });
            let router = testing::router();
            hub.inner.hear(
                &router,
                Up::Open(serde_json::from_value(open).expect("a frame")),
            );
            let told = testing::noted(&router);
            let is_sent = matches!(
                told[..],
                [Down::Refused {
                    why: Refusal::Elsewhere { .. },
                    ..
                }]
            );
            let is_closed = matches!(told[..], [Down::Opened { .. }, .., Down::Close { .. }]);
            assert_eq!(
                (is_sent, is_closed),
                (user == "alice", user == "bob"),
                "{user}: {told:?}"
            );
        }
    }
}
