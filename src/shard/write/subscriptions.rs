//! Who is told of what: the bounded sinks of subscribed nodes, and per conversation and user index
//! the set of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids::{ConversationName, ShardId, UserId};
use crate::log::record::{Event, EventKind};
use crate::shard::command::Push;
use crate::telemetry;

/// Identifies a subscriber within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(u64);

/// The bounded sink of one subscribed node: this node's own hub, or a link to another node.
///
/// When the queue is full the push is dropped, and all of that shard that follow, until there is
/// room again for a [`Push::Resubscribe`], by which the node knows to ask for what it missed.
#[derive(Debug, Clone)]
pub struct Subscriber {
    id: SubscriberId,
    sender: mpsc::Sender<Push>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Queued.
    Queued,
    /// Dropped: the queue is full.
    Dropped,
    /// No one will ever take it.
    Gone,
}

impl Subscriber {
    /// A subscriber that is reached through `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Push>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: SubscriberId(NEXT.fetch_add(1, Ordering::Relaxed)),
            sender,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// Queues a push that may be missing, if less than half of the queue is taken.
    fn push_spare(&self, push: Push) -> bool {
        self.sender.capacity() > self.sender.max_capacity() / 2
            && self.sender.try_send(push).is_ok()
    }

    /// Queues a push, or drops it when the queue is full.
    pub(crate) fn push(&self, push: Push) -> Pushed {
        match self.sender.try_send(push) {
            Ok(()) => Pushed::Queued,
            Err(TrySendError::Full(_)) => Pushed::Dropped,
            Err(TrySendError::Closed(_)) => Pushed::Gone,
        }
    }
}

/// A subscribed node's interests in one conversation or user index.
#[derive(Debug)]
struct Interests {
    subscriber: SubscriberId,
    users: HashSet<UserId>,
}

/// All subscriptions of one shard. One push goes to each subscribed node, however many users it is
/// for.
#[derive(Debug)]
pub struct Subscriptions {
    shard: ShardId,
    subscribers: HashMap<SubscriberId, Subscriber>,
    /// Subscribers that missed a push and do not know yet.
    lagged: HashSet<SubscriberId>,
    conversations: HashMap<ConversationName, Vec<Interests>>,
    indexes: HashMap<UserId, Vec<SubscriberId>>,
    /// Users to whose indexes nobody is subscribed any more.
    absent: HashSet<UserId>,
    /// Nodes that are forgotten.
    forgotten: Vec<SubscriberId>,
}

impl Subscriptions {
    /// None yet.
    #[must_use]
    pub fn new(shard: ShardId) -> Self {
        Self {
            shard,
            subscribers: HashMap::new(),
            lagged: HashSet::new(),
            conversations: HashMap::new(),
            indexes: HashMap::new(),
            absent: HashSet::new(),
            forgotten: Vec::new(),
        }
    }

    /// Adds an interest; without effect when it is there.
    pub fn add(&mut self, subscriber: &Subscriber, conversation: &ConversationName, user: &UserId) {
        self.subscribers
            .entry(subscriber.id)
            .or_insert_with(|| subscriber.clone());
        let all = self.conversations.entry(conversation.clone()).or_default();
        match all.iter_mut().find(|of| of.subscriber == subscriber.id) {
            Some(interests) => {
                interests.users.insert(user.clone());
            }
            None => all.push(Interests {
                subscriber: subscriber.id,
                users: HashSet::from([user.clone()]),
            }),
        }
    }

    /// Ends an interest.
    pub fn remove(
        &mut self,
        subscriber: SubscriberId,
        conversation: &ConversationName,
        user: &UserId,
    ) {
        if let Some(all) = self.conversations.get_mut(conversation) {
            for interests in all.iter_mut().filter(|of| of.subscriber == subscriber) {
                interests.users.remove(user);
            }
            self.tidy(conversation);
        }
    }

    /// Adds interest in a user's index.
    pub fn add_index(&mut self, subscriber: &Subscriber, user: &UserId) {
        self.subscribers
            .entry(subscriber.id)
            .or_insert_with(|| subscriber.clone());
        let all = self.indexes.entry(user.clone()).or_default();
        if !all.contains(&subscriber.id) {
            all.push(subscriber.id);
        }
    }

    /// Ends interest in a user's index.
    pub fn remove_index(&mut self, subscriber: SubscriberId, user: &UserId) {
        if let Some(all) = self.indexes.get_mut(user) {
            all.retain(|id| *id != subscriber);
            if all.is_empty() {
                self.indexes.remove(user);
                self.absent.insert(user.clone());
            }
        }
    }

    /// A node is reached by pushes of its own, whatever it is interested in.
    pub fn know(&mut self, subscriber: &Subscriber) {
        self.subscribers
            .entry(subscriber.id)
            .or_insert_with(|| subscriber.clone());
    }

    /// Users to whose indexes nobody is subscribed any more since this was asked last.
    pub fn take_absent(&mut self) -> Vec<UserId> {
        let absent = std::mem::take(&mut self.absent);
        absent
            .into_iter()
            .filter(|user| !self.indexes.contains_key(user))
            .collect()
    }

    /// Nodes that were forgotten since this was asked last.
    pub fn take_forgotten(&mut self) -> Vec<SubscriberId> {
        std::mem::take(&mut self.forgotten)
    }

    /// Forgets a subscriber altogether.
    pub fn forget(&mut self, subscriber: SubscriberId) {
        self.subscribers.remove(&subscriber);
        self.lagged.remove(&subscriber);
        self.conversations.retain(|_, all| {
            all.retain(|interests| interests.subscriber != subscriber);
            !all.is_empty()
        });
        let absent = &mut self.absent;
        self.indexes.retain(|user, all| {
            all.retain(|id| *id != subscriber);
            if all.is_empty() {
                absent.insert(user.clone());
            }
            !all.is_empty()
        });
        self.forgotten.push(subscriber);
    }

    /// Whether any node wants this conversation.
    #[cfg(test)]
    fn wants(&self, conversation: &ConversationName) -> bool {
        self.conversations.contains_key(conversation)
    }

    fn tidy(&mut self, conversation: &ConversationName) {
        if let Some(all) = self.conversations.get_mut(conversation) {
            all.retain(|interests| !interests.users.is_empty());
            if all.is_empty() {
                self.conversations.remove(conversation);
            }
        }
    }

    /// Pushes a committed event to every subscribed node; whoever left gets nothing after it.
    pub fn push_event(&mut self, event: &Arc<Event>, push: &Push) {
        self.push_where(&event.conversation, push, |_| true);
        if let EventKind::Left { user, .. } = &event.kind {
            if let Some(all) = self.conversations.get_mut(&event.conversation) {
                for interests in all {
                    interests.users.remove(user);
                }
            }
            self.tidy(&event.conversation);
        }
    }

    /// Pushes to the nodes of a conversation that have one of these users (`None`: to all of them).
    pub fn push_to(
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
    pub fn push_spare(
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
    pub fn push_spare_to(&self, subscriber: SubscriberId, push: &Push) -> bool {
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
    pub fn push_index(&mut self, user: &UserId, push: &Push) {
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
    pub fn tell_lagged(&mut self) {
        let shard = self.shard;
        let subscribers = &self.subscribers;
        self.lagged.retain(|id| match subscribers.get(id) {
            Some(subscriber) => subscriber.push(Push::Resubscribe { shard }) == Pushed::Dropped,
            None => false,
        });
    }

    /// Tells every subscriber to subscribe again, elsewhere: the shard ends here. Whoever has no
    /// room is told when it has, by a task of its own that ends with the subscriber.
    pub fn tell_all(&mut self) {
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

#[cfg(test)]
#[expect(
    clippy::shadow_unrelated,
    reason = "a test tells several steps of one story"
)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Seq};

    fn name(text: &str) -> ConversationName {
        ConversationName::parse(text).expect("a name")
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).expect("a name")
    }

    fn left(who: &str, seq: u64) -> (Arc<Event>, Push) {
        let kind = EventKind::Left {
            by: user(who),
            user: user(who),
            admin: None,
        };
        let event = Arc::new(Event {
            conversation: name("c"),
            seq: Seq(seq),
            created: 1,
            key: None,
            kind,
        });
        (
            Arc::clone(&event),
            Push::Event {
                epoch: Epoch(1),
                event,
            },
        )
    }

    #[test]
    fn one_push_goes_to_a_node_however_many_users_it_has() {
        let (sender, mut queue) = mpsc::channel(8);
        let node = Subscriber::new(sender);
        let mut subscriptions = Subscriptions::new(ShardId(1));
        subscriptions.add(&node, &name("c"), &user("a"));
        subscriptions.add(&node, &name("c"), &user("b"));
        let (event, push) = left("x", 2);
        subscriptions.push_event(&event, &push);
        assert!(queue.try_recv().is_ok());
        assert!(queue.try_recv().is_err());
    }

    #[test]
    fn who_left_gets_his_own_left_and_nothing_after_it() {
        let (sender, mut queue) = mpsc::channel(8);
        let node = Subscriber::new(sender);
        let mut subscriptions = Subscriptions::new(ShardId(1));
        subscriptions.add(&node, &name("c"), &user("a"));
        let (event, push) = left("a", 2);
        subscriptions.push_event(&event, &push);
        let (event, push) = left("b", 3);
        subscriptions.push_event(&event, &push);
        assert!(queue.try_recv().is_ok());
        assert!(queue.try_recv().is_err());
        assert!(!subscriptions.wants(&name("c")));
    }

    #[test]
    fn a_full_queue_drops_until_the_node_was_told_to_subscribe_again() {
        let (sender, mut queue) = mpsc::channel(1);
        let node = Subscriber::new(sender);
        let mut subscriptions = Subscriptions::new(ShardId(1));
        subscriptions.add(&node, &name("c"), &user("a"));
        for seq in 2..5 {
            let (event, push) = left("x", seq);
            subscriptions.push_event(&event, &push);
        }
        assert!(matches!(queue.try_recv(), Ok(Push::Event { event, .. }) if event.seq == Seq(2)));
        let (event, push) = left("x", 5);
        subscriptions.push_event(&event, &push);
        assert!(
            queue.try_recv().is_err(),
            "nothing comes before the node was told"
        );
        subscriptions.tell_lagged();
        assert!(matches!(
            queue.try_recv(),
            Ok(Push::Resubscribe { shard: ShardId(1) })
        ));
        let (event, push) = left("x", 6);
        subscriptions.push_event(&event, &push);
        assert!(matches!(queue.try_recv(), Ok(Push::Event { event, .. }) if event.seq == Seq(6)));
    }

    #[test]
    fn what_may_be_missing_takes_half_of_a_queue_at_most_and_nobody_subscribes_again_for_it() {
        let (sender, mut queue) = mpsc::channel(8);
        let node = Subscriber::new(sender);
        let mut subscriptions = Subscriptions::new(ShardId(1));
        for member in ["a", "b"] {
            subscriptions.add(&node, &name("c"), &user(member));
        }
        let typing = Push::Typing {
            conversation: name("c"),
            user: user("a"),
            until: 1,
        };
        let missed: usize = (0..20)
            .map(|_| subscriptions.push_spare(&name("c"), &typing, &user("a")))
            .sum();
        assert_eq!(missed, 16);
        let (event, push) = left("x", 2);
        subscriptions.push_event(&event, &push);
        subscriptions.tell_lagged();
        let queued: Vec<_> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
        assert!(
            matches!(queued[..], [.., Push::Event { .. }]) && queued.len() == 5,
            "{queued:?}"
        );
        subscriptions.remove(node.id(), &name("c"), &user("b"));
        assert_eq!(subscriptions.push_spare(&name("c"), &typing, &user("a")), 0);
        assert!(queue.try_recv().is_err(), "nobody but the typist is there");
    }

    #[test]
    fn whose_index_nobody_is_subscribed_to_any_more_is_told_once() {
        let node = Subscriber::new(mpsc::channel(1).0);
        let mut subscriptions = Subscriptions::new(ShardId(1));
        for who in ["a", "b", "c"] {
            subscriptions.add_index(&node, &user(who));
        }
        subscriptions.remove_index(node.id(), &user("a"));
        subscriptions.remove_index(node.id(), &user("b"));
        subscriptions.add_index(&node, &user("b"));
        assert_eq!(subscriptions.take_absent(), [user("a")]);
        subscriptions.forget(node.id());
        let mut absent = subscriptions.take_absent();
        absent.sort();
        assert_eq!(absent, [user("b"), user("c")]);
        assert_eq!(subscriptions.take_forgotten(), [node.id()]);
        assert!(subscriptions.take_absent().is_empty());
    }
}
