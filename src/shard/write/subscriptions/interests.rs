//! Which node is interested in which conversations and users' indexes.

use std::collections::{HashMap, HashSet};

use crate::ids::{ConversationName, ShardId, UserId};
use crate::shard::write::subscriptions::subscriber::{Subscriber, SubscriberId};

/// A subscribed node's interests in one conversation or user index.
#[derive(Debug)]
pub(super) struct Interests {
    pub(super) subscriber: SubscriberId,
    pub(super) users: HashSet<UserId>,
}

/// All subscriptions of one shard. One push goes to each subscribed node, however many users it is
/// for.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    pub(super) shard: ShardId,
    pub(super) subscribers: HashMap<SubscriberId, Subscriber>,
    /// Subscribers that missed a push and do not know yet.
    pub(super) lagged: HashSet<SubscriberId>,
    pub(super) conversations: HashMap<ConversationName, Vec<Interests>>,
    pub(super) indexes: HashMap<UserId, Vec<SubscriberId>>,
    /// Users to whose indexes nobody is subscribed any more.
    pub(super) absent: HashSet<UserId>,
    /// Nodes that are forgotten.
    pub(super) forgotten: Vec<SubscriberId>,
}

impl Subscriptions {
    /// None yet.
    #[must_use]
    pub(crate) fn new(shard: ShardId) -> Self {
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
    pub(crate) fn add(
        &mut self,
        subscriber: &Subscriber,
        conversation: &ConversationName,
        user: &UserId,
    ) {
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
    pub(crate) fn remove(
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
    pub(crate) fn add_index(&mut self, subscriber: &Subscriber, user: &UserId) {
        self.subscribers
            .entry(subscriber.id)
            .or_insert_with(|| subscriber.clone());
        let all = self.indexes.entry(user.clone()).or_default();
        if !all.contains(&subscriber.id) {
            all.push(subscriber.id);
        }
    }

    /// Ends interest in a user's index.
    pub(crate) fn remove_index(&mut self, subscriber: SubscriberId, user: &UserId) {
        if let Some(all) = self.indexes.get_mut(user) {
            all.retain(|id| *id != subscriber);
            if all.is_empty() {
                self.indexes.remove(user);
                self.absent.insert(user.clone());
            }
        }
    }

    /// A node is reached by pushes of its own, whatever it is interested in.
    pub(crate) fn know(&mut self, subscriber: &Subscriber) {
        self.subscribers
            .entry(subscriber.id)
            .or_insert_with(|| subscriber.clone());
    }

    /// Users to whose indexes nobody is subscribed any more since this was asked last.
    pub(crate) fn take_absent(&mut self) -> Vec<UserId> {
        let absent = std::mem::take(&mut self.absent);
        absent
            .into_iter()
            .filter(|user| !self.indexes.contains_key(user))
            .collect()
    }

    /// Nodes that were forgotten since this was asked last.
    pub(crate) fn take_forgotten(&mut self) -> Vec<SubscriberId> {
        std::mem::take(&mut self.forgotten)
    }

    /// Forgets a subscriber altogether.
    pub(crate) fn forget(&mut self, subscriber: SubscriberId) {
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
    pub(super) fn wants(&self, conversation: &ConversationName) -> bool {
        self.conversations.contains_key(conversation)
    }

    pub(super) fn tidy(&mut self, conversation: &ConversationName) {
        if let Some(all) = self.conversations.get_mut(conversation) {
            all.retain(|interests| !interests.users.is_empty());
            if all.is_empty() {
                self.conversations.remove(conversation);
            }
        }
    }
}
