//! Pushing to those who are subscribed, and telling those who missed a push.

use std::sync::Arc;

use crate::ids::{ConversationName, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::command::Push;
use crate::shard::write::subscriptions::interests::{Interests, Subscriptions};
use crate::shard::write::subscriptions::subscriber::{Pushed, SubscriberId};
use crate::telemetry;

impl Subscriptions {
    /// Pushes a committed event to every subscribed node; whoever left gets nothing after it, and
    /// nobody after the conversation is closed.
    pub(crate) fn push_event(&mut self, event: &Arc<Event>, push: &Push) {
        self.push_where(&event.conversation, push, |_| true);
        if let EventKind::Left { user, .. } = &event.kind {
            if let Some(all) = self.conversations.get_mut(&event.conversation) {
                for interests in all {
                    interests.users.remove(user);
                }
            }
            self.tidy(&event.conversation);
        }
        if matches!(event.kind, EventKind::Closed { .. }) {
            self.conversations.remove(&event.conversation);
        }
    }

    /// Pushes to the nodes of a conversation that have one of these users (`None`: to all of them).
    pub(crate) fn push_to(
        &mut self,
        conversation: &ConversationName,
        push: &Push,
        users: Option<&[UserId]>,
    ) {
        self.push_where(conversation, push, |interests| {
            users.is_none_or(|wanted| wanted.iter().any(|user| interests.users.contains(user)))
        });
    }

    /// Pushes what may be missing to the nodes of a conversation that have others than this user.
    /// How many missed it.
    pub(crate) fn push_spare(
        &mut self,
        conversation: &ConversationName,
        push: &Push,
        but: &UserId,
    ) -> usize {
        let all = self.conversations.get(conversation).into_iter().flatten();
        let wanted = all.filter(|of| of.users.iter().any(|user| user != but));
        wanted
            .filter(|of| !self.push_spare_to(of.subscriber, push))
            .count()
    }

    /// Pushes what may be missing to one node. False when it misses it.
    pub(crate) fn push_spare_to(&self, subscriber: SubscriberId, push: &Push) -> bool {
        let known = self
            .subscribers
            .get(&subscriber)
            .filter(|_| !self.lagged.contains(&subscriber));
        known.is_some_and(|known| known.push_spare(push.clone()))
    }

    fn push_where(
        &mut self,
        conversation: &ConversationName,
        push: &Push,
        wanted: impl Fn(&Interests) -> bool,
    ) {
        let Some(all) = self.conversations.get(conversation) else {
            return;
        };
        let to: Vec<SubscriberId> = all
            .iter()
            .filter(|of| wanted(of))
            .map(|of| of.subscriber)
            .collect();
        self.deliver(&to, push);
    }

    /// Pushes a change of a user's index.
    pub(crate) fn push_index(&mut self, user: &UserId, push: &Push) {
        let Some(to) = self.indexes.get(user).cloned() else {
            return;
        };
        self.deliver(&to, push);
    }

    fn deliver(&mut self, to: &[SubscriberId], push: &Push) {
        for id in to {
            let Some(subscriber) = self.subscribers.get(id) else {
                continue;
            };
            // What a lagged subscriber gets before it subscribes again would only be holes.
            let pushed = if self.lagged.contains(id) {
                Pushed::Dropped
            } else {
                subscriber.push(push.clone())
            };
            match pushed {
                Pushed::Queued => telemetry::PUSHES.add(1, &[("result", "queued")]),
                Pushed::Dropped => {
                    telemetry::PUSHES.add(1, &[("result", "dropped")]);
                    self.lagged.insert(*id);
                }
                Pushed::Gone => self.forget(*id),
            }
        }
    }

    /// Tells lagged subscribers, where there is room now, to subscribe again. To be called now and
    /// then.
    pub(crate) fn tell_lagged(&mut self) {
        let shard = self.shard;
        let subscribers = &self.subscribers;
        self.lagged.retain(|id| match subscribers.get(id) {
            Some(subscriber) => subscriber.push(Push::Resubscribe { shard }) == Pushed::Dropped,
            None => false,
        });
    }

    /// Tells every subscriber to subscribe again, elsewhere: the shard ends here. Whoever has no
    /// room is told when it has, by a task of its own that ends with the subscriber.
    pub(crate) fn tell_all(&mut self) {
        let shard = self.shard;
        for subscriber in self.subscribers.values() {
            if subscriber.push(Push::Resubscribe { shard }) == Pushed::Dropped {
                let sender = subscriber.sender.clone();
                drop(tokio::spawn(async move {
                    sender.send(Push::Resubscribe { shard }).await.ok()
                }));
            }
        }
    }
}
