//! Pure: who is watched on this node, by which sessions, and by way of which conversations.
//!
//! **Invariants.** Whoever is watched is begun once, and ended once nobody watches them any more.
//! Whoever begins to be seen is owed to those that see them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, SessionId, ShardId, UserId};
use crate::node::session::board::watching::owed::Owed;
use crate::protocol::{CLOSE_PARTICIPANTS_MAX, Presence};

/// Users that this node watches.
pub(super) const USERS_MAX: usize = 100_000;

/// Users of all conversations that are watched, each counted in each.
const PLACES_MAX: usize = 1_000_000;

/// More is watched than this node can keep.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::node::session) struct TooMuch;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Watchers {
    map: ShardMap,
    conversations: HashMap<ConversationName, Conversation>,
    users: HashMap<UserId, Known>,
    sessions: HashMap<SessionId, Vec<ConversationName>>,
    /// The users of whom sessions are to be told by themselves.
    pub(super) owed: Owed,
    /// Somebody may see less than before, since [`Watchers::sessions_of`] was asked last.
    pub(super) in_doubt: bool,
    /// Users of all conversations.
    places: usize,
    /// Users that nobody watches any more.
    ended: Vec<UserId>,
    /// Users that are watched for the first time.
    begun: Vec<UserId>,
}

impl Watchers {
    /// Nobody is watched.
    pub(super) fn new(map: ShardMap) -> Self {
        Self {
            map,
            conversations: HashMap::new(),
            users: HashMap::new(),
            sessions: HashMap::new(),
            owed: Owed::default(),
            in_doubt: false,
            places: 0,
            ended: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// The user, if they are watched.
    pub(super) fn user(&self, user: &UserId) -> Option<&Known> {
        self.users.get(user)
    }

    /// What an owner says of a user. False when that is known already, or when the user is not
    /// watched any more; then their owner is told so.
    pub(super) fn hear(&mut self, presence: Presence) -> bool {
        let Some(known) = self.users.get_mut(&presence.user) else {
            self.ended.push(presence.user);
            return false;
        };
        if known.state.as_ref() == Some(&presence) {
            return false;
        }
        known.state = Some(presence);
        true
    }

    /// The users of a shard are to be asked about again.
    pub(super) fn begin_again(&mut self, shard: ShardId) {
        let watched = self.users.iter().filter(|(_, known)| known.shard == shard);
        self.begun.extend(watched.map(|(user, _)| user.clone()));
    }

    /// True when nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.conversations.is_empty()
            && self.sessions.is_empty()
            && self.places == 0
    }

    /// A session watches these conversations from now on, each with the users that it may see
    /// there, and no others. It is owed the state of each.
    pub(super) fn watch(
        &mut self,
        session: SessionId,
        of: Vec<(ConversationName, Vec<UserId>)>,
    ) -> Result<(), TooMuch> {
        let more: usize = of.iter().map(|(_, users)| users.len()).sum();
        if self.places + more > PLACES_MAX
            || self.users.len() + more > USERS_MAX + self.known_of(&of)
        {
            return Err(TooMuch);
        }

        let before = self
            .sessions
            .insert(session, of.iter().map(|(name, _)| name.clone()).collect());
        for (name, users) in of {
            let watched = self.conversations.entry(name.clone()).or_default();
            watched.sessions.insert(session);
            // The owner has just said who they are.
            let users: HashSet<UserId> = users.into_iter().collect();
            let gone: Vec<UserId> = watched.users.difference(&users).cloned().collect();
            gone.iter().for_each(|user| self.leave(&name, user));
            for user in &users {
                self.enter(&name, user);
                self.owed.add(session, user);
            }
        }
        for name in before.into_iter().flatten() {
            let is_kept = |names: &Vec<ConversationName>| names.contains(&name);
            if !self.sessions.get(&session).is_some_and(is_kept) {
                self.stop(session, &name);
            }
        }

        if self.sessions.get(&session).is_some_and(Vec::is_empty) {
            self.sessions.remove(&session);
        }
        Ok(())
    }

    fn known_of(&self, of: &[(ConversationName, Vec<UserId>)]) -> usize {
        of.iter()
            .flat_map(|(_, users)| users)
            .filter(|user| self.users.contains_key(*user))
            .count()
    }

    /// The user is seen by way of this conversation. Whoever watches it is owed their state.
    fn enter(&mut self, name: &ConversationName, user: &UserId) {
        let Some(watched) = self.conversations.get_mut(name) else {
            return;
        };
        if !watched.users.insert(user.clone()) {
            return;
        }

        self.places += 1;
        let sessions: Vec<SessionId> = watched.sessions.iter().copied().collect();
        sessions
            .into_iter()
            .for_each(|session| self.owed.add(session, user));
        match self.users.entry(user.clone()) {
            Entry::Occupied(known) => drop(known.into_mut().conversations.insert(name.clone())),
            Entry::Vacant(place) => {
                let shard = self.map.shard_of(user.slot());
                place.insert(Known {
                    shard,
                    conversations: HashSet::from([name.clone()]),
                    state: None,
                });
                self.begun.push(user.clone());
            }
        }
    }

    fn leave(&mut self, name: &ConversationName, user: &UserId) {
        let is_there = self
            .conversations
            .get_mut(name)
            .is_some_and(|watched| watched.users.remove(user));
        if is_there {
            self.let_go(name, user);
        }
        self.in_doubt = true;
    }

    /// The user is watched by way of this conversation no more.
    fn let_go(&mut self, name: &ConversationName, user: &UserId) {
        self.places -= 1;
        let Entry::Occupied(mut known) = self.users.entry(user.clone()) else {
            return;
        };
        known.get_mut().conversations.remove(name);
        if known.get().conversations.is_empty() {
            known.remove();
            self.ended.push(user.clone());
        }
    }

    /// The session watches a conversation no more.
    fn stop(&mut self, session: SessionId, name: &ConversationName) {
        let Entry::Occupied(mut watched) = self.conversations.entry(name.clone()) else {
            return;
        };
        watched.get_mut().sessions.remove(&session);
        if watched.get().sessions.is_empty() {
            let users = watched.remove().users;
            users.iter().for_each(|user| self.let_go(name, user));
        }
        self.in_doubt = true;
    }

    /// A session has ended.
    pub(super) fn end(&mut self, session: SessionId) {
        for name in self.sessions.remove(&session).into_iter().flatten() {
            self.stop(session, &name);
        }
        self.owed.take(session);
    }

    /// A user has left a conversation: they are not seen by way of it any more, and these sessions
    /// of theirs see nobody there.
    pub(super) fn left(&mut self, user: &UserId, name: &ConversationName, sessions: &[SessionId]) {
        self.leave(name, user);
        for session in sessions {
            if let Some(names) = self.sessions.get_mut(session) {
                names.retain(|other| other != name);
                self.stop(*session, name);
            }
        }
    }

    /// Nobody is shown in a conversation any more: those who watch it see nobody there.
    pub(super) fn hidden(&mut self, name: &ConversationName) {
        let watched = self.conversations.get(name).into_iter();
        let sessions: Vec<SessionId> = watched
            .flat_map(|watched| watched.sessions.iter().copied())
            .collect();
        for session in sessions {
            if let Some(names) = self.sessions.get_mut(&session) {
                names.retain(|other| other != name);
            }
            self.stop(session, name);
        }
    }

    /// A user has sent a message: whoever watches the conversation may see them.
    pub(super) fn acted(&mut self, user: &UserId, name: &ConversationName) {
        let Some(watched) = self.conversations.get(name) else {
            return;
        };
        let has_place = watched.users.len() < CLOSE_PARTICIPANTS_MAX
            && self.places < PLACES_MAX
            && (self.users.len() < USERS_MAX || self.users.contains_key(user));
        if watched.users.contains(user) || !has_place {
            return;
        }
        self.enter(name, user);
    }

    /// The sessions that see the user. From now on it is noted whether one of them may not see them
    /// any more.
    pub(super) fn sessions_of(&mut self, user: &UserId) -> Vec<SessionId> {
        self.in_doubt = false;
        let conversations = self
            .users
            .get(user)
            .map(|known| &known.conversations)
            .into_iter()
            .flatten();
        let watched = conversations.filter_map(|name| self.conversations.get(name));
        let sessions: HashSet<SessionId> = watched
            .flat_map(|watched| watched.sessions.iter().copied())
            .collect();
        sessions.into_iter().collect()
    }

    /// The session watches a conversation by way of which the user is seen.
    pub(super) fn sees(&self, session: SessionId, user: &UserId) -> bool {
        let mut names = self.sessions.get(&session).into_iter().flatten();
        names.any(|name| {
            self.conversations
                .get(name)
                .is_some_and(|watched| watched.users.contains(user))
        })
    }

    /// Whom to ask about from now on, and whom no more.
    pub(super) fn take_asks(&mut self) -> (Vec<UserId>, Vec<UserId>) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|user| self.users.contains_key(user));
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|user| !self.users.contains_key(user));
        (begun, ended)
    }
}

#[derive(Debug, Default)]
struct Conversation {
    sessions: HashSet<SessionId>,
    users: HashSet<UserId>,
}

/// A user who is watched.
#[derive(Debug)]
pub(super) struct Known {
    shard: ShardId,
    conversations: HashSet<ConversationName>,
    /// As its owner told it.
    pub(super) state: Option<Presence>,
}
