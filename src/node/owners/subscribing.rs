//! Subscriptions at the owners of conversations and of indexes: how they begin and end.

use std::collections::HashMap;
use std::time::Instant;

use crate::ids::{ConversationName, Offset, ShardId, UserId};
use crate::node::link::frame::{Body, Outcome};
use crate::node::owners::attempt::unavailable;
use crate::node::owners::handle::Owners;
use crate::node::owners::route::Route;
use crate::problem::Problem;
use crate::shard::IndexPage;
use crate::shard::command::{Interest, Subscribed};

impl Owners {
    /// Subscribes to conversations of any shards, with one request per owning node, side by side.
    /// In the order given; what could not be asked is [`Subscribed::Failed`]. Answers when the last
    /// owner has, or at the deadline.
    pub(crate) async fn subscribe(
        &self,
        interests: Vec<Interest>,
        deadline: Instant,
    ) -> Vec<Subscribed> {
        let items = interests
            .into_iter()
            .map(|interest| (self.shard_of(&interest.conversation), interest))
            .collect();
        let build = |parts| Body::Subscribe { parts };
        let unpack = |outcome| match outcome {
            Outcome::Subscribed(parts) => Some(parts),
            _ => None,
        };
        let answers = self.in_rounds(items, deadline, build, unpack).await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(Subscribed::Failed))
            .collect()
    }

    /// Ends interests. What cannot be told to the owner now is not: the owner forgets this node
    /// when the link ends.
    pub(crate) fn unsubscribe(&self, interests: Vec<(ConversationName, UserId)>) {
        let mut by_route: HashMap<Route, HashMap<ShardId, Vec<_>>> = HashMap::new();
        for interest in interests {
            let shard = self.shard_of(&interest.0);
            by_route
                .entry(self.route(shard))
                .or_default()
                .entry(shard)
                .or_default()
                .push(interest);
        }

        for (route, parts) in by_route {
            self.tell(
                &route,
                Body::Unsubscribe {
                    parts: parts.into_iter().collect(),
                },
            );
        }
    }

    /// Subscribes to a user's index; see
    /// [`subscribe_index`](crate::shard::ShardHandle::subscribe_index).
    ///
    /// # Errors
    /// When the owner cannot be asked now.
    pub(crate) async fn subscribe_index(
        &self,
        user: UserId,
        after: Offset,
        limit: u32,
        deadline: Instant,
    ) -> Result<IndexPage, Problem> {
        let shard = self.inner.setup.map.shard_of(user.slot());
        match self
            .ask(
                shard,
                Body::SubscribeIndex {
                    shard,
                    user,
                    after,
                    limit,
                },
                deadline,
            )
            .await?
        {
            Outcome::IndexPage(page) => Ok(page),
            _ => Err(unavailable()),
        }
    }

    /// Ends interest in a user's index.
    pub(crate) fn unsubscribe_index(&self, user: UserId) {
        let shard = self.inner.setup.map.shard_of(user.slot());
        self.tell(&self.route(shard), Body::UnsubscribeIndex { shard, user });
    }
}
