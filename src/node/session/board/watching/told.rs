//! Pure: how those are who are watched, and which sessions are still to be told. What is kept of a
//! user is their newest state, and what a session is owed is to be told that of some users: so a
//! storm of changes needs no more than those two sets.
//!
//! **Invariants.** A session is told of a user only while it watches a conversation with them.
//! After the last change each session that takes what it is owed knows the newest state.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::cluster::map::ShardMap;
use crate::ids::{ConversationName, Epoch, SessionId, ShardId, UserId};
use crate::node::session::board::watching::watchers::{TooMuch, Watchers};
use crate::protocol::Presence;
use crate::shard::command::Watched;

/// Sessions that are told of one user in one turn.
const SESSIONS_AT_ONCE: usize = 256;

/// See the head of this file.
#[derive(Debug)]
pub(in crate::node::session) struct Watching {
    map: ShardMap,
    watchers: Watchers,
    /// The highest epoch of each shard since it was asked last.
    epochs: HashMap<ShardId, Epoch>,
    /// Users whose state has changed, in that order.
    changed: VecDeque<UserId>,
    is_changed: HashSet<UserId>,
    /// Sessions that are still to be told of the first of them.
    to: Vec<SessionId>,
}

impl Watching {
    /// Nobody is watched.
    pub(in crate::node::session) fn new(map: ShardMap) -> Self {
        Self {
            map,
            watchers: Watchers::new(map),
            epochs: HashMap::new(),
            changed: VecDeque::new(),
            is_changed: HashSet::new(),
            to: Vec::new(),
        }
    }

    /// A session watches these conversations from now on, each with the users that it may see
    /// there, and no others. It is owed the state of each.
    pub(in crate::node::session) fn watch(
        &mut self,
        session: SessionId,
        of: Vec<(ConversationName, Vec<UserId>)>,
    ) -> Result<(), TooMuch> {
        self.watchers.watch(session, of)
    }

    /// A session has ended.
    pub(in crate::node::session) fn end(&mut self, session: SessionId) {
        self.watchers.end(session);
    }

    /// A user has left a conversation: they are not seen by way of it any more, and these sessions
    /// of theirs see nobody there.
    pub(in crate::node::session) fn left(
        &mut self,
        user: &UserId,
        name: &ConversationName,
        sessions: &[SessionId],
    ) {
        self.watchers.left(user, name, sessions);
    }

    /// Nobody is shown in a conversation any more: those who watch it see nobody there.
    pub(in crate::node::session) fn hidden(&mut self, name: &ConversationName) {
        self.watchers.hidden(name);
    }

    /// A user has sent a message: whoever watches the conversation may see them.
    pub(in crate::node::session) fn acted(&mut self, user: &UserId, name: &ConversationName) {
        self.watchers.acted(user, name);
    }

    /// The owner of a shard was asked anew: whoever answers is heard.
    pub(in crate::node::session) fn asked_anew(&mut self, shard: ShardId) {
        self.epochs.remove(&shard);
        self.watchers.begin_again(shard);
    }

    /// What an owner says of users.
    pub(in crate::node::session) fn all_told(&mut self, epoch: Epoch, changes: Vec<Presence>) {
        for presence in changes {
            self.told(epoch, presence);
        }
    }

    /// What an owner says of a user, who may not be watched any more.
    pub(in crate::node::session) fn told(&mut self, epoch: Epoch, presence: Presence) {
        let shard = self.map.shard_of(presence.user.slot());
        let heard = self.epochs.entry(shard).or_insert(epoch);
        if epoch < *heard {
            return;
        }
        *heard = epoch;

        let user = presence.user.clone();
        if self.watchers.hear(presence) && self.is_changed.insert(user.clone()) {
            self.changed.push_back(user);
        }
    }

    /// Somebody is to be told of changes.
    pub(in crate::node::session) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// How a user is, and some of the sessions that are to be told, each once; to be called until
    /// there is none.
    pub(in crate::node::session) fn next(&mut self) -> Option<(Presence, Vec<SessionId>)> {
        loop {
            let user = self.changed.front()?.clone();
            if self.is_changed.remove(&user) {
                self.to = self.watchers.sessions_of(&user);
            }
            let rest = self.to.len().saturating_sub(SESSIONS_AT_ONCE);
            let mut some = self.to.split_off(rest);
            if self.watchers.in_doubt {
                some.retain(|session| self.watchers.sees(*session, &user));
            }
            if self.to.is_empty() {
                self.changed.pop_front();
            }

            let state = self.state_of(&user).cloned();
            if let Some(state) = state.filter(|_| !some.is_empty()) {
                let owed = &mut self.watchers.owed;
                some.iter().for_each(|session| owed.settle(*session, &user));
                return Some((state, some));
            }
        }
    }

    fn state_of(&self, user: &UserId) -> Option<&Presence> {
        self.watchers.user(user)?.state.as_ref()
    }

    /// The session is to be told of the user by itself, when there is room.
    pub(in crate::node::session) fn owe(&mut self, session: SessionId, user: &UserId) {
        self.watchers.owed.add(session, user);
    }

    /// Somebody is owed something.
    pub(in crate::node::session) fn owes(&self) -> bool {
        !self.watchers.owed.is_empty()
    }

    /// Sessions that are owed something.
    pub(in crate::node::session) fn debtors(&self) -> Vec<SessionId> {
        self.watchers.owed.sessions()
    }

    /// Some of what a session is owed, and which it still may know: at most so many.
    pub(in crate::node::session) fn take_owed(
        &mut self,
        session: SessionId,
        count: usize,
    ) -> Vec<Presence> {
        let mut owed = self.watchers.owed.take(session);
        let mut taken = Vec::new();
        for user in owed.extract_if(|_| true) {
            // Where its owner has not told yet, it is told to all when it does.
            let state = self.state_of(&user);
            if let Some(state) = state.filter(|_| self.watchers.sees(session, &user)) {
                taken.push(state.clone());
            }
            if taken.len() == count {
                break;
            }
        }
        self.watchers.owed.keep(session, owed);
        taken
    }

    /// Whom to ask about from now on, and whom no more.
    pub(in crate::node::session) fn take_asks(&mut self) -> (Vec<UserId>, Vec<UserId>) {
        self.watchers.take_asks()
    }

    /// A user who is watched, and what was told here of them.
    pub(in crate::node::session) fn known(&self, user: &UserId) -> Option<Watched> {
        let known = self.watchers.user(user)?;
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
    use crate::node::session::board::watching::watchers::USERS_MAX;

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
        assert!(watching.watchers.is_empty());
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
        assert!(watching.watchers.is_empty());
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
