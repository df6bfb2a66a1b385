//! Pure: who is watched on this node, by which sessions, and how they are. What is kept of a user
//! is their newest state, and what a session is owed is to be told that of some users: so a storm
//! of changes needs no more than those two sets.
//!
//! **Invariants.** A session is told of a user only while it watches a conversation with them.
//! Whoever is watched is asked of the owner of their shard once, and ended there once nobody
//! watches them any more. After the last change each session that takes what it is owed knows the
//! newest state.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, SessionId, ShardId, UserId};
use crate::node::session::owed::Owed;
use crate::protocol::{CLOSE_PARTICIPANTS_MAX, Presence};
use crate::shard::command::Watched;

/// Users that this node watches.
const USERS_MAX: usize = 100_000;

/// Users of all conversations that are watched, each counted in each.
const PLACES_MAX: usize = 1_000_000;

/// Sessions that are told of one user in one turn.
const SESSIONS_AT_ONCE: usize = 256;

#[derive(Debug, Default)]
struct Conversation {
    sessions: HashSet<SessionId>,
    users: HashSet<UserId>,
}

#[derive(Debug)]
struct Known {
    shard: ShardId,
    conversations: HashSet<ConversationName>,
    /// As its owner told it.
    state: Option<Presence>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Watching {
    map: ShardMap,
    conversations: HashMap<ConversationName, Conversation>,
    users: HashMap<UserId, Known>,
    sessions: HashMap<SessionId, Vec<ConversationName>>,
    /// The highest epoch of each shard since it was asked last.
    epochs: HashMap<ShardId, Epoch>,
    /// Users whose state has changed, in that order.
    changed: VecDeque<UserId>,
    is_changed: HashSet<UserId>,
    /// Sessions that are still to be told of the first of them.
    to: Vec<SessionId>,
    /// Not all of those may see that user any more.
    in_doubt: bool,
    owed: Owed,
    /// Users of all conversations.
    places: usize,
    /// Users that nobody watches any more.
    ended: Vec<UserId>,
    /// Users that are watched for the first time.
    begun: Vec<UserId>,
}

/// More is watched than this node can keep.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

impl Watching {
    /// Nobody is watched.
    pub(super) fn new(map: ShardMap) -> Self {
        Self {
            map,
            conversations: HashMap::new(),
            users: HashMap::new(),
            sessions: HashMap::new(),
            epochs: HashMap::new(),
            changed: VecDeque::new(),
            is_changed: HashSet::new(),
            to: Vec::new(),
            in_doubt: false,
            owed: Owed::default(),
            places: 0,
            ended: Vec::new(),
            begun: Vec::new(),
        }
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
                self.owe(session, user);
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
            .for_each(|session| self.owe(session, user));
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

    /// The owner of a shard was asked anew: whoever answers is heard.
    pub(super) fn asked_anew(&mut self, shard: ShardId) {
        self.epochs.remove(&shard);
        let watched = self.users.iter().filter(|(_, known)| known.shard == shard);
        self.begun.extend(watched.map(|(user, _)| user.clone()));
    }

    /// What an owner says of users.
    pub(super) fn all_told(&mut self, epoch: Epoch, changes: Vec<Presence>) {
        for presence in changes {
            self.told(epoch, presence);
        }
    }

    /// What an owner says of a user, who may not be watched any more.
    pub(super) fn told(&mut self, epoch: Epoch, presence: Presence) {
        let shard = self.map.shard_of(presence.user.slot());
        let heard = self.epochs.entry(shard).or_insert(epoch);
        if epoch < *heard {
            return;
        }
        *heard = epoch;
        let Some(known) = self.users.get_mut(&presence.user) else {
            self.ended.push(presence.user);
            return;
        };
        if known.state.as_ref() == Some(&presence) {
            return;
        }
        let user = presence.user.clone();
        known.state = Some(presence);
        if self.is_changed.insert(user.clone()) {
            self.changed.push_back(user);
        }
    }

    /// The session is to be told of the user by itself, when there is room.
    pub(super) fn owe(&mut self, session: SessionId, user: &UserId) {
        self.owed.add(session, user);
    }

    /// Somebody is to be told of changes.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// How a user is, and some of the sessions that are to be told, each once; to be called until
    /// there is none.
    pub(super) fn next(&mut self) -> Option<(Presence, Vec<SessionId>)> {
        loop {
            let user = self.changed.front()?.clone();
            if self.is_changed.remove(&user) {
                self.to = self.sessions_of(&user);
                self.in_doubt = false;
            }
            let rest = self.to.len().saturating_sub(SESSIONS_AT_ONCE);
            let mut some = self.to.split_off(rest);
            if self.in_doubt {
                some.retain(|session| self.sees(*session, &user));
            }
            if self.to.is_empty() {
                self.changed.pop_front();
            }
            let state = self.users.get(&user).and_then(|known| known.state.clone());
            if let Some(state) = state.filter(|_| !some.is_empty()) {
                some.iter()
                    .for_each(|session| self.owed.settle(*session, &user));
                return Some((state, some));
            }
        }
    }

    fn sessions_of(&self, user: &UserId) -> Vec<SessionId> {
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
    fn sees(&self, session: SessionId, user: &UserId) -> bool {
        let mut names = self.sessions.get(&session).into_iter().flatten();
        names.any(|name| {
            self.conversations
                .get(name)
                .is_some_and(|watched| watched.users.contains(user))
        })
    }

    /// Sessions that are owed something.
    pub(super) fn debtors(&self) -> Vec<SessionId> {
        self.owed.sessions()
    }

    /// Some of what a session is owed, and which it still may know: at most so many.
    pub(super) fn take_owed(&mut self, session: SessionId, count: usize) -> Vec<Presence> {
        let mut owed = self.owed.take(session);
        let mut taken = Vec::new();
        for user in owed.extract_if(|_| true) {
            let state = self.users.get(&user).and_then(|known| known.state.as_ref());
            // Where its owner has not told yet, it is told to all when it does.
            if let Some(state) = state.filter(|_| self.sees(session, &user)) {
                taken.push(state.clone());
            }
            if taken.len() == count {
                break;
            }
        }
        self.owed.keep(session, owed);
        taken
    }

    /// Somebody is owed something.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whom to ask about from now on, and whom no more.
    pub(super) fn take_asks(&mut self) -> (Vec<UserId>, Vec<UserId>) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|user| self.users.contains_key(user));
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|user| !self.users.contains_key(user));
        (begun, ended)
    }

    /// A user who is watched, and what was told here of them.
    pub(super) fn known(&self, user: &UserId) -> Option<Watched> {
        let known = self.users.get(user)?;
        Some(Watched {
            user: user.clone(),
            online: known.state.as_ref().map(|state| state.online),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const USERS: usize = 4;
    const CONVERSATIONS: usize = 3;

    fn user(index: usize) -> UserId {
        UserId::parse(&format!("u{index}")).expect("a name")
    }

    fn conversation(index: usize) -> ConversationName {
        ConversationName::parse(&format!("c{index}")).expect("a name")
    }

    fn presence(index: usize, online: bool) -> Presence {
        Presence {
            user: user(index),
            online,
            last_seen: None,
        }
    }

    fn watching() -> Watching {
        Watching::new(ShardMap::new(16).expect("a power of two"))
    }

    /// What sessions have heard, and what is so.
    struct World {
        watching: Watching,
        sessions: Vec<SessionId>,
        /// Who may be seen in each conversation.
        seen: Vec<BTreeSet<usize>>,
        /// Which conversations a session watches, and whom it sees there.
        watched: BTreeMap<usize, BTreeSet<usize>>,
        online: [bool; USERS],
        heard: BTreeMap<(usize, usize), bool>,
    }

    impl World {
        fn new() -> Self {
            let sessions = (0..3).map(|_| SessionId::random()).collect();
            let seen = vec![
                BTreeSet::from([0, 1]),
                BTreeSet::from([1, 2]),
                BTreeSet::new(),
            ];
            let (watched, heard) = (BTreeMap::new(), BTreeMap::new());
            Self {
                watching: watching(),
                sessions,
                seen,
                watched,
                online: [false; USERS],
                heard,
            }
        }

        fn sees(&self, session: usize, who: usize) -> bool {
            let names = self.watched.get(&session).into_iter().flatten();
            names
                .into_iter()
                .any(|name| self.seen[*name].contains(&who))
        }

        fn index_of(&self, presence: &Presence) -> usize {
            (0..USERS)
                .find(|index| user(*index) == presence.user)
                .expect("a user")
        }

        fn hear(&mut self, session: SessionId, presence: &Presence) {
            let place = self
                .sessions
                .iter()
                .position(|id| *id == session)
                .expect("a session");
            let who = self.index_of(presence);
            assert!(self.sees(place, who), "{place} is told of {who}");
            self.heard.insert((place, who), presence.online);
        }

        /// Answers what is asked, as owners do.
        fn answer(&mut self) {
            let (begun, ended) = self.watching.take_asks();
            assert!(begun.iter().all(|user| !ended.contains(user)));
            for asked in begun {
                let who = (0..USERS)
                    .find(|index| user(*index) == asked)
                    .expect("a user");
                self.watching
                    .told(Epoch(1), presence(who, self.online[who]));
            }
        }

        /// Gives what has changed; every other session has no room if `is_full`.
        fn give(&mut self, turns: usize, is_full: bool) {
            for _ in 0..turns {
                let Some((presence, to)) = self.watching.next() else {
                    break;
                };
                for session in to {
                    if is_full && session == self.sessions[0] {
                        self.watching.owe(session, &presence.user);
                    } else {
                        self.hear(session, &presence);
                    }
                }
            }
            if !is_full {
                for session in self.watching.debtors() {
                    for presence in self.watching.take_owed(session, 2) {
                        self.hear(session, &presence);
                    }
                }
            }
        }
    }

    #[test]
    fn many_sessions_are_told_in_turns_and_each_once() {
        let mut watching = watching();
        let sessions: Vec<SessionId> = (0..1_000).map(|_| SessionId::random()).collect();
        for session in &sessions {
            let of = vec![
                (conversation(0), vec![user(0)]),
                (conversation(1), vec![user(0)]),
            ];
            watching.watch(*session, of).expect("room");
        }
        assert_eq!(watching.take_asks(), (vec![user(0)], vec![]), "asked once");
        watching.told(Epoch(2), presence(0, true));
        watching.told(Epoch(1), presence(0, false));
        let mut told = Vec::new();
        while let Some((state, to)) = watching.next() {
            assert!(
                state.online && to.len() <= SESSIONS_AT_ONCE,
                "an owner that was replaced is not heard"
            );
            told.extend(to);
        }
        let each: HashSet<_> = told.iter().collect();
        assert_eq!((told.len(), each.len()), (1_000, 1_000));
        let more: Vec<_> = sessions
            .iter()
            .flat_map(|session| watching.take_owed(*session, 10))
            .collect();
        assert!(more.is_empty(), "what was told is not owed");
        sessions.iter().for_each(|session| watching.end(*session));
        assert_eq!(watching.take_asks(), (vec![], vec![user(0)]));
        assert!(
            watching.users.is_empty() && watching.conversations.is_empty() && watching.places == 0
        );
    }

    #[test]
    fn more_than_may_be_kept_is_refused_and_changes_nothing() {
        let mut watching = watching();
        let session = SessionId::random();
        let many = (0..=USERS_MAX).map(user).collect();
        assert_eq!(
            watching.watch(session, vec![(conversation(0), many)]),
            Err(TooMuch)
        );
        assert!(watching.users.is_empty() && watching.sessions.is_empty());
    }

    proptest! {
        /// Whatever happens, and whoever has no room meanwhile: nobody is told of whom they do not
        /// see, and in the end each session knows the newest state of all whom it sees.
        #[test]
        fn each_session_ends_with_the_newest_state_of_those_it_sees(
            steps in prop::collection::vec((0..7_u8, 0..3_usize, 0..USERS, 0..8_u8), 1..80),
        ) {
            let mut world = World::new();
            for (what, place, who, bits) in steps {
                match what {
                    0 => {
                        let names = (0..CONVERSATIONS).filter(|name| bits & (1 << name) != 0);
                        let names: BTreeSet<usize> = names.collect();
                        let of = names.iter().map(|name| {
                            (conversation(*name), world.seen[*name].iter().copied().map(user).collect())
                        });
                        world.watching.watch(world.sessions[place], of.collect()).expect("room");
                        world.watched.insert(place, names);
                    }
                    1 => {
                        world.online[who] = bits % 2 == 0;
                        let state = presence(who, world.online[who]);
                        if world.watching.known(&state.user).is_some() {
                            world.watching.told(Epoch(1), state);
                        }
                    }
                    2 => {
                        world.seen[place].remove(&who);
                        world.watching.left(&user(who), &conversation(place), &[]);
                    }
                    3 => {
                        // Nobody hears of it who does not watch.
                        if world.watched.values().any(|names| names.contains(&place)) {
                            world.seen[place].insert(who);
                        }
                        world.watching.acted(&user(who), &conversation(place));
                    }
                    4 => {
                        world.watching.end(world.sessions[place]);
                        world.watched.remove(&place);
                    }
                    5 => {
                        let name = usize::from(bits) % CONVERSATIONS;
                        let session = world.sessions[place];
                        world.watching.left(&user(9), &conversation(name), &[session]);
                        if let Some(names) = world.watched.get_mut(&place) {
                            names.remove(&name);
                        }
                    }
                    _ => world.give(usize::from(bits), bits % 2 == 0),
                }
                world.answer();
            }
            for _ in 0..10 {
                world.give(100, false);
            }
            for place in 0..world.sessions.len() {
                for who in (0..USERS).filter(|who| world.sees(place, *who)) {
                    prop_assert_eq!(world.heard.get(&(place, who)), Some(&world.online[who]), "{} of {}", place, who);
                }
            }
        }
    }
}
