//! Pure: which users of a shard are online, who watches them, and when they were seen last. A user
//! is online while a node is subscribed to their index, and for [`GRACE`] after the last one is
//! not: who comes back within that was never away.
//!
//! **Invariants.** What is told of a user is the newest state. Nobody is told of as offline before
//! [`GRACE`] has passed since the last subscription of theirs ended, or since the shard was opened.
//! What is kept is bounded by the users that nodes are subscribed to, that left within [`GRACE`],
//! and by [`WATCHED_MAX`] and [`ROWS_MAX`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::ids::UserId;
use crate::protocol::Presence;
use crate::shard::command::Watched;
use crate::shard::write::subscriptions::SubscriberId;

/// A user stays online for so long without a session.
pub(in crate::shard) const GRACE: Duration = Duration::from_secs(30);

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_secs(1);

/// Changes in one push.
const CHANGES_AT_ONCE: usize = 256;

/// Users that are looked at by one call, so that the loop gets back to writes; the others are when
/// it is called again.
const USERS_AT_ONCE: usize = 1_024;

/// How often rows are given out to be written.
const WRITE_EVERY: Duration = Duration::from_secs(2);

/// How often it is written again when somebody was seen who is online.
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Users of a shard that others watch.
const WATCHED_MAX: usize = 100_000;

/// Rows that wait to be written; more are shed.
const ROWS_MAX: usize = 65_536;

/// So many goings that do not count any more are kept at least, before they are looked through.
const LEAVING_SPARE: usize = 1_024;

/// Who was online when an owner was lost was written down at most so long before, in milliseconds:
/// rounded down to the minute, every [`REFRESH_EVERY`], and looked at every [`GRACE`].
pub(in crate::shard) const FRESH_MS: u64 = 420_000;

/// One minute, in milliseconds.
const MINUTE: u64 = 60_000;

/// A moment: since boot, and in unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::shard) struct Moment {
    /// Since boot.
    pub(in crate::shard) now: Duration,
    /// Unix milliseconds.
    pub(in crate::shard) ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A node is subscribed. When that was last given out to be written.
    Here(Duration),
    /// None is any more.
    Leaving(Duration),
}

/// Users and when they were seen last, in unix milliseconds.
pub(in crate::shard) type Rows = HashMap<UserId, u64>;

/// See the head of this file.
#[derive(Debug)]
pub(in crate::shard) struct Presences {
    opened: Moment,
    users: HashMap<UserId, State>,
    /// Those who leave, in the order of their going; some have come back.
    leaving: VecDeque<(Moment, UserId)>,
    watchers: HashMap<UserId, Vec<SubscriberId>>,
    /// What watchers are to be told.
    changed: HashMap<UserId, Presence>,
    /// When everything was told that had changed.
    told: Duration,
    /// To be written.
    rows: Rows,
    /// Being written, or written a moment ago.
    writing: Rows,
    wrote: Duration,
    refreshed: Duration,
    shed: u64,
}

impl Presences {
    /// Nobody is known to be online; the shard is opened now.
    pub(in crate::shard) fn new(opened: Moment) -> Self {
        Self {
            opened,
            users: HashMap::new(),
            leaving: VecDeque::new(),
            watchers: HashMap::new(),
            changed: HashMap::new(),
            told: opened.now,
            rows: Rows::new(),
            writing: Rows::new(),
            wrote: opened.now,
            refreshed: opened.now,
            shed: 0,
        }
    }

    /// A node has subscribed to the user's index.
    pub(in crate::shard) fn came(&mut self, user: &UserId, at: Moment) {
        let before = self.users.insert(user.clone(), State::Here(at.now));
        if before.is_none() {
            self.change(user, true, None);
        }
        if !matches!(before, Some(State::Here(_))) {
            self.row(user, at.ms);
        }
    }

    /// No node is subscribed to the user's index any more.
    pub(in crate::shard) fn went(&mut self, user: &UserId, at: Moment) {
        if let Some(state @ State::Here(_)) = self.users.get_mut(user) {
            *state = State::Leaving(at.now);
            self.leaving.push_back((at, user.clone()));
        }
        if self.leaving.len() > 2 * self.users.len() + LEAVING_SPARE {
            // Some come and go without end: only their last going counts.
            let users = &self.users;
            self.leaving
                .retain(|(went, who)| users.get(who) == Some(&State::Leaving(went.now)));
        }
    }

    /// A node watches a user. How they are, as far as is known without the file: offline, never
    /// seen, is to be looked up there. `None` when too many are watched.
    pub(in crate::shard) fn watch(
        &mut self,
        by: SubscriberId,
        watched: &Watched,
        at: Moment,
    ) -> Option<Presence> {
        let count = self.watchers.len();
        let of = match self.watchers.entry(watched.user.clone()) {
            Entry::Occupied(of) => of.into_mut(),
            Entry::Vacant(_) if count >= WATCHED_MAX => return None,
            Entry::Vacant(place) => place.insert(Vec::new()),
        };
        if !of.contains(&by) {
            of.push(by);
        }
        self.believe(watched, at);
        Some(self.of(&watched.user))
    }

    /// What another node was told before this owner opened the shard holds until whoever has the
    /// user had time to subscribe.
    fn believe(&mut self, watched: &Watched, at: Moment) {
        if watched.online == Some(true)
            && self.is_young(at)
            && !self.users.contains_key(&watched.user)
        {
            self.users
                .insert(watched.user.clone(), State::Leaving(self.opened.now));
            self.leaving.push_front((self.opened, watched.user.clone()));
        }
    }

    /// Those who have a session may not have been told of yet: their nodes subscribe anew.
    pub(in crate::shard) fn is_young(&self, at: Moment) -> bool {
        at.now < self.opened.now + GRACE
    }

    /// How a user is, as far as is known without the file.
    pub(in crate::shard) fn of(&self, user: &UserId) -> Presence {
        let online = self.users.contains_key(user);
        let row = self.rows.get(user).or_else(|| self.writing.get(user));
        Presence {
            user: user.clone(),
            online,
            last_seen: row.filter(|_| !online).copied(),
        }
    }

    /// How many users are online.
    pub(in crate::shard) fn online(&self) -> usize {
        self.users.len()
    }

    /// A node watches these users no more.
    pub(in crate::shard) fn unwatch(&mut self, by: SubscriberId, users: &[UserId]) {
        for user in users {
            if let Entry::Occupied(mut of) = self.watchers.entry(user.clone()) {
                of.get_mut().retain(|watcher| *watcher != by);
                if of.get().is_empty() {
                    of.remove();
                    self.changed.remove(user);
                }
            }
        }
    }

    /// A node is gone, and watches nobody any more.
    pub(in crate::shard) fn forget(&mut self, watcher: SubscriberId) {
        self.watchers.retain(|_, of| {
            of.retain(|by| *by != watcher);
            !of.is_empty()
        });
        self.changed
            .retain(|user, _| self.watchers.contains_key(user));
    }

    /// Time has passed: who left for good is offline, and who is there was seen. To be called now
    /// and then.
    pub(in crate::shard) fn pass(&mut self, at: Moment) {
        for _ in 0..USERS_AT_ONCE {
            let is_due = |(went, _): &mut (Moment, UserId)| went.now + GRACE <= at.now;
            let Some((went, user)) = self.leaving.pop_front_if(is_due) else {
                break;
            };
            if self.users.get(&user) == Some(&State::Leaving(went.now)) {
                self.users.remove(&user);
                let seen = self.row(&user, went.ms);
                self.change(&user, false, Some(seen));
            }
        }
        if at.now.saturating_sub(self.refreshed) >= GRACE {
            self.refreshed = at.now;
            self.refresh(at);
        }
    }

    fn refresh(&mut self, at: Moment) {
        let mut due = Vec::new();
        for (user, state) in &mut self.users {
            if let State::Here(written) = state
                && at.now.saturating_sub(*written) >= REFRESH_EVERY
            {
                *written = at.now;
                due.push(user.clone());
            }
        }
        for user in due {
            self.row(&user, at.ms);
        }
    }

    fn change(&mut self, user: &UserId, online: bool, last_seen: Option<u64>) {
        if self.watchers.contains_key(user) {
            self.changed.insert(
                user.clone(),
                Presence {
                    user: user.clone(),
                    online,
                    last_seen,
                },
            );
        }
    }

    /// They were seen then: to the minute.
    fn row(&mut self, user: &UserId, ms: u64) -> u64 {
        let seen = ms - ms % MINUTE;
        if self.rows.len() < ROWS_MAX || self.rows.contains_key(user) {
            self.rows.insert(user.clone(), seen);
        } else {
            self.shed += 1;
        }
        seen
    }

    /// What is to be told to each watching node, once a second, in parts. Of very much, the rest by
    /// the next calls.
    pub(in crate::shard) fn take_changes(
        &mut self,
        now: Duration,
    ) -> Vec<(SubscriberId, Vec<Presence>)> {
        if self.changed.is_empty() || now.saturating_sub(self.told) < GATHER {
            return Vec::new();
        }
        let some: Vec<(UserId, Presence)> = if self.changed.len() <= USERS_AT_ONCE {
            self.told = now;
            self.changed.drain().collect()
        } else {
            let users: Vec<UserId> = self.changed.keys().take(USERS_AT_ONCE).cloned().collect();
            users
                .iter()
                .filter_map(|user| self.changed.remove_entry(user))
                .collect()
        };

        let mut to: HashMap<SubscriberId, Vec<Presence>> = HashMap::new();
        for (user, presence) in some {
            for watcher in self.watchers.get(&user).into_iter().flatten() {
                to.entry(*watcher).or_default().push(presence.clone());
            }
        }
        let parts = |(by, all): (SubscriberId, Vec<Presence>)| {
            all.chunks(CHANGES_AT_ONCE)
                .map(|part| (by, part.to_vec()))
                .collect::<Vec<_>>()
        };
        to.into_iter().flat_map(parts).collect()
    }

    /// Changes that could not be told to somebody: they are told again, unless there are newer
    /// ones.
    pub(in crate::shard) fn missed(&mut self, changes: Vec<Presence>) {
        for presence in changes {
            if self.watchers.contains_key(&presence.user) {
                self.changed
                    .entry(presence.user.clone())
                    .or_insert(presence);
            }
        }
    }

    /// What is to be written now, if anything, and how many rows were shed.
    pub(in crate::shard) fn take_rows(
        &mut self,
        now: Duration,
    ) -> Option<(Vec<(UserId, u64)>, u64)> {
        if self.rows.is_empty() || now.saturating_sub(self.wrote) < WRITE_EVERY {
            return None;
        }
        self.wrote = now;
        Some((self.take_all_rows(), std::mem::take(&mut self.shed)))
    }

    /// Whatever is to be written, before its time: the shard changes hands, or ends here.
    pub(in crate::shard) fn take_all_rows(&mut self) -> Vec<(UserId, u64)> {
        self.writing = std::mem::take(&mut self.rows);
        self.writing
            .iter()
            .map(|(user, seen)| (user.clone(), *seen))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;
    use crate::shard::write::subscriptions::Subscriber;

    /// Unix milliseconds at which the tests begin: in the middle of a minute.
    const BEGIN_MS: u64 = 1_700_000_000_000 - 1_700_000_000_000 % MINUTE + 30_000;

    static WATCHER: LazyLock<SubscriberId> =
        LazyLock::new(|| Subscriber::new(mpsc::channel(1).0).id());

    fn at(millis: u64) -> Moment {
        Moment {
            now: Duration::from_secs(1_000) + Duration::from_millis(millis),
            ms: BEGIN_MS + millis,
        }
    }

    fn user(index: usize) -> UserId {
        UserId::parse(&format!("u{index}")).expect("a name")
    }

    fn watched(index: usize, online: bool) -> Watched {
        Watched {
            user: user(index),
            online: Some(online),
        }
    }

    /// Passes the time to there, second by second, and gives what was told on the way.
    fn pass(presences: &mut Presences, from: u64, to: u64) -> Vec<(u64, Presence)> {
        let mut told = Vec::new();
        for millis in (from..=to).step_by(1_000) {
            presences.pass(at(millis));
            let changes = presences.take_changes(at(millis).now);
            told.extend(
                changes
                    .into_iter()
                    .flat_map(|(_, all)| all)
                    .map(|presence| (millis, presence)),
            );
        }
        told
    }

    #[test]
    fn who_comes_back_within_half_a_minute_was_never_away() {
        let mut presences = Presences::new(at(0));
        presences.came(&user(0), at(0));
        assert!(
            presences
                .watch(*WATCHER, &watched(0, false), at(0))
                .expect("room")
                .online
        );

        presences.went(&user(0), at(1_000));
        presences.came(&user(0), at(30_500));
        presences.went(&user(0), at(40_000));
        assert!(pass(&mut presences, 0, 69_000).is_empty());

        let told = pass(&mut presences, 70_000, 80_000);
        let last_seen = Some(BEGIN_MS + 30_000);

        assert_eq!(
            told,
            [(
                70_000,
                Presence {
                    user: user(0),
                    online: false,
                    last_seen
                }
            )],
            "to the minute"
        );

        presences.came(&user(0), at(81_000));
        let back = pass(&mut presences, 82_000, 90_000);

        assert_eq!(
            back,
            [(
                82_000,
                Presence {
                    user: user(0),
                    online: true,
                    last_seen: None
                }
            )]
        );
    }

    #[test]
    fn a_new_owner_takes_nobody_for_gone_before_they_had_time_to_come_back() {
        let mut presences = Presences::new(at(0));
        for (index, online) in [(0, true), (1, true), (2, false)] {
            let told = presences
                .watch(*WATCHER, &watched(index, online), at(1_000))
                .expect("room");
            assert_eq!(told.online, online);
        }

        presences.came(&user(0), at(3_000));
        let told = pass(&mut presences, 4_000, 60_000);
        let last_seen = Some(BEGIN_MS - 30_000);

        assert_eq!(
            told,
            [(
                30_000,
                Presence {
                    user: user(1),
                    online: false,
                    last_seen
                }
            )],
            "and the first is here"
        );

        let late = presences
            .watch(*WATCHER, &watched(3, true), at(61_000))
            .expect("room");
        assert!(!late.online, "by now they would be here");
    }

    #[test]
    fn a_storm_of_comings_and_goings_is_told_once_a_second_in_its_newest_state() {
        let mut presences = Presences::new(at(0));
        let count = 10_000;
        for index in 0..count {
            presences
                .watch(*WATCHER, &watched(index, false), at(0))
                .expect("room");
        }

        for round in 0..5 {
            (0..count).for_each(|index| presences.came(&user(index), at(round * 100)));
            (0..count).for_each(|index| presences.went(&user(index), at(round * 100 + 50)));
        }

        let mut told = Vec::new();
        for calls in 0..count.div_ceil(USERS_AT_ONCE) {
            let parts = presences.take_changes(at(1_000 + 10 * calls as u64).now);
            assert!(
                parts
                    .iter()
                    .all(|(_, changes)| changes.len() <= CHANGES_AT_ONCE)
            );
            let some: Vec<_> = parts.into_iter().flat_map(|(_, changes)| changes).collect();
            assert!(some.len() <= USERS_AT_ONCE, "the loop gets back to writes");
            told.extend(some);
        }

        let each: std::collections::HashSet<_> =
            told.iter().map(|presence| &presence.user).collect();
        assert!(
            told.len() == count
                && each.len() == count
                && told.iter().all(|presence| presence.online)
        );
        assert!(presences.take_changes(at(1_500).now).is_empty());

        presences.unwatch(*WATCHER, &[user(0)]);
        presences.pass(at(60_000));
        assert!(presences.users.len() >= count - USERS_AT_ONCE);

        while !presences.leaving.is_empty() {
            presences.pass(at(60_000));
        }

        assert!(presences.users.is_empty(), "nothing is left of them");
        presences.forget(*WATCHER);
        assert!(presences.watchers.is_empty() && presences.take_changes(at(61_000).now).is_empty());
    }

    #[test]
    fn rows_are_given_out_in_rounds_and_again_for_those_who_stay() {
        let mut presences = Presences::new(at(0));
        presences.came(&user(0), at(0));
        assert!(
            presences.take_rows(at(1_500).now).is_none(),
            "it is too early"
        );
        let (rows, shed) = presences.take_rows(at(2_000).now).expect("rows");
        assert_eq!((rows, shed), (vec![(user(0), BEGIN_MS - 30_000)], 0));
        let mut rounds = 0;
        for second in 3..=620 {
            presences.pass(at(second * 1_000));
            rounds += usize::from(presences.take_rows(at(second * 1_000).now).is_some());
        }
        assert_eq!(rounds, 2, "of ten minutes");
    }

    proptest! {
        /// Whatever happens, whoever watches ends with what is so; and nobody was told of as
        /// offline within the grace of their last session.
        #[test]
        fn watchers_end_with_what_is_so(
            steps in prop::collection::vec((0..3_usize, 0..4_u8, 0..20_000_u64), 1..60),
        ) {
            let mut presences = Presences::new(at(0));
            let mut shown: HashMap<UserId, bool> = HashMap::new();
            let mut here: HashMap<UserId, u64> = HashMap::new();
            let (mut millis, mut heard) = (0, Vec::new());

            for (who, what, pause) in steps {
                heard.extend(pass(&mut presences, millis, millis + pause));
                millis += pause;
                match what {
                    0 | 1 => {
                        presences.came(&user(who), at(millis));
                        here.insert(user(who), u64::MAX);
                    }
                    2 => {
                        presences.went(&user(who), at(millis));
                        here.entry(user(who)).and_modify(|until| *until = millis.min(*until));
                    }
                    _ => {
                        let known = shown.get(&user(who)).copied().unwrap_or_default();
                        let told = presences.watch(*WATCHER, &watched(who, known), at(millis)).expect("room");
                        shown.insert(user(who), told.online);
                    }
                }
                for (when, presence) in heard.drain(..) {
                    let until = here.get(&presence.user).copied().unwrap_or_default();
                    prop_assert!(presence.online || until.saturating_add(30_000) <= when || until == u64::MAX);
                    shown.entry(presence.user).and_modify(|online| *online = presence.online);
                }
            }

            for (_, presence) in pass(&mut presences, millis, millis + 40_000) {
                shown.entry(presence.user).and_modify(|online| *online = presence.online);
            }

            for (user, online) in shown {
                prop_assert_eq!(online, here.get(&user) == Some(&u64::MAX), "{}", user);
            }
        }
    }
}
