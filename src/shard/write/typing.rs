//! Pure: who types in the conversations of a shard, and when that is told. It is in no log and in
//! no file: an owner that opens the shard knows nobody who types, and whoever was told of one goes
//! by `until`.
//!
//! **Invariants.** A typist is announced at most once in [`AGAIN_AFTER`] without an end between,
//! and begins at most [`BEGINNINGS_MAX`] times at once, then once a second. An end is announced
//! only of one who was announced, and whose time is not over. There are never more than
//! [`TYPISTS_MAX`] in a conversation, and [`ALL_MAX`] in a shard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::ids::{ConversationName, UserId};

/// One who is announced types for so long, unless they are announced again.
pub(in crate::shard) const TYPING_LASTS: Duration = Duration::from_secs(6);

/// One who goes on typing is announced again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// How often one user may begin at once in one conversation; one more each second.
const BEGINNINGS_MAX: f64 = 4.0;

/// Who is kept of one conversation; others are not announced.
const TYPISTS_MAX: usize = 32;

/// Who is kept of a shard.
const ALL_MAX: usize = 10_000;

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) enum Announce {
    /// They type, for [`TYPING_LASTS`] from now on.
    Types,
    /// They have stopped.
    Stopped,
}

#[derive(Debug)]
struct Typist {
    user: UserId,
    /// When they were announced last. Times are since boot.
    announced: Duration,
    /// Until when they are shown as typing.
    until: Duration,
    /// How often they may begin.
    beginnings: f64,
    /// When that was counted.
    counted: Duration,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(in crate::shard) struct Typists {
    of: HashMap<ConversationName, Vec<Typist>>,
    count: usize,
}

impl Typists {
    /// A participant says that they type, or that they do not any more. What is to be told of it.
    pub(in crate::shard) fn said(
        &mut self,
        conversation: &ConversationName,
        user: &UserId,
        is_on: bool,
        now: Duration,
    ) -> Option<Announce> {
        if is_on {
            return self.begins(conversation, user, now);
        }
        self.ended(conversation, user, now)
            .then_some(Announce::Stopped)
    }

    fn begins(
        &mut self,
        conversation: &ConversationName,
        user: &UserId,
        now: Duration,
    ) -> Option<Announce> {
        let has_room = self.count < ALL_MAX;
        let of = match self.of.entry(conversation.clone()) {
            Entry::Occupied(of) => of.into_mut(),
            Entry::Vacant(_) if !has_room => return None,
            Entry::Vacant(place) => place.insert(Vec::new()),
        };

        let place = match of.iter().position(|typist| typist.user == *user) {
            Some(place) => place,
            None if !has_room || of.len() >= TYPISTS_MAX => return None,
            None => {
                let user = user.clone();
                of.push(Typist {
                    user,
                    announced: now,
                    until: Duration::ZERO,
                    beginnings: BEGINNINGS_MAX,
                    counted: now,
                });
                self.count += 1;
                of.len() - 1
            }
        };
        let typist = of.get_mut(place)?;

        if typist.until > now {
            if now.saturating_sub(typist.announced) < AGAIN_AFTER {
                return None;
            }
        } else if !typist.may_begin(now) {
            return None;
        }

        (typist.announced, typist.until) = (now, now + TYPING_LASTS);
        Some(Announce::Types)
    }

    /// They type no more. True when they were shown as typing until now.
    pub(in crate::shard) fn ended(
        &mut self,
        conversation: &ConversationName,
        user: &UserId,
        now: Duration,
    ) -> bool {
        let mut typists = self.of.get_mut(conversation).into_iter().flatten();
        let Some(typist) = typists.find(|typist| typist.user == *user) else {
            return false;
        };
        // What remains of them is how often they began.
        std::mem::replace(&mut typist.until, Duration::ZERO) > now
    }

    /// Who types in a conversation.
    pub(in crate::shard) fn of(
        &self,
        conversation: &ConversationName,
        now: Duration,
    ) -> Vec<UserId> {
        let typists = self.of.get(conversation).into_iter().flatten();
        typists
            .filter(|typist| typist.until > now)
            .map(|typist| typist.user.clone())
            .collect()
    }

    /// Forgets those whose time is over, and who may begin as often as anybody. To be called now
    /// and then.
    pub(in crate::shard) fn tidy(&mut self, now: Duration) {
        let mut count = 0;
        self.of.retain(|_, typists| {
            typists.retain(|typist| {
                typist.until > now || now.saturating_sub(typist.counted) < TYPING_LASTS
            });
            count += typists.len();
            !typists.is_empty()
        });
        self.count = count;
    }
}

impl Typist {
    fn may_begin(&mut self, now: Duration) -> bool {
        let more = now.saturating_sub(self.counted).as_secs_f64();
        self.beginnings = (self.beginnings + more).min(BEGINNINGS_MAX);
        self.counted = now;
        let may = self.beginnings >= 1.0;
        if may {
            self.beginnings -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conversation(index: usize) -> ConversationName {
        ConversationName::parse(&format!("c{index}")).expect("a name")
    }

    fn user(index: usize) -> UserId {
        UserId::parse(&format!("u{index}")).expect("a name")
    }

    fn at(millis: u64) -> Duration {
        Duration::from_secs(100) + Duration::from_millis(millis)
    }

    #[test]
    fn one_who_goes_on_typing_is_announced_at_once_and_then_every_three_seconds() {
        let (mut typists, c, bob) = (Typists::default(), conversation(0), user(0));
        let mut announced = Vec::new();
        for second in 0..=10 {
            let told = typists.said(&c, &bob, true, at(second * 1_000));
            announced.extend(told.map(|told| (second, told)));
        }
        let expected = [0, 3, 6, 9].map(|second| (second, Announce::Types));
        assert_eq!(announced, expected);
    }

    #[test]
    fn what_is_over_by_a_stop_a_message_or_the_time_is_announced_at_once_again() {
        let (mut typists, c, bob) = (Typists::default(), conversation(0), user(0));
        assert_eq!(
            typists.said(&c, &bob, false, at(0)),
            None,
            "nothing was announced"
        );
        assert_eq!(typists.said(&c, &bob, true, at(0)), Some(Announce::Types));
        assert_eq!(
            typists.said(&c, &bob, false, at(100)),
            Some(Announce::Stopped)
        );

        assert_eq!(typists.said(&c, &bob, false, at(200)), None);
        assert_eq!(typists.said(&c, &bob, true, at(300)), Some(Announce::Types));
        assert!(typists.ended(&c, &bob, at(400)), "a message was sent");
        assert_eq!(typists.said(&c, &bob, true, at(500)), Some(Announce::Types));
        assert_eq!(
            typists.said(&c, &bob, true, at(6_500)),
            Some(Announce::Types),
            "the time was over"
        );
        assert_eq!(
            typists.said(&c, &bob, false, at(12_500)),
            None,
            "it was over again"
        );
    }

    #[test]
    fn one_who_begins_and_stops_without_end_is_told_of_once_a_second() {
        let (mut typists, c, bob) = (Typists::default(), conversation(0), user(0));
        let mut told = 0;
        for step in 0..20_000 {
            told += usize::from(typists.said(&c, &bob, step % 2 == 0, at(step)).is_some());
            typists.tidy(at(step));
        }
        assert!(
            (40..=50).contains(&told),
            "{told} of 20 s, beginnings and ends"
        );
    }

    #[test]
    fn there_are_no_more_typists_than_may_be_kept() {
        let mut typists = Typists::default();
        for (of, who) in (0..400).flat_map(|of| (0..40).map(move |who| (of, who))) {
            typists.said(&conversation(of), &user(who), true, at(0));
        }
        assert!(typists.of.values().all(|of| of.len() <= TYPISTS_MAX));
        assert!(typists.count <= ALL_MAX && typists.of.len() <= ALL_MAX);
        typists.tidy(at(60_000));
        assert!(typists.of.is_empty() && typists.count == 0);
    }

    proptest! {
        /// Whatever is said: nobody is announced twice within 3 s without an end between, an end
        /// follows a beginning that is not over, and whoever hears all knows at each moment who
        /// types.
        #[test]
        fn announcements_alternate_and_are_paced(
            steps in prop::collection::vec((0..2_usize, 0..3_usize, 0..4_u8, 0..4_000_u64), 1..200),
        ) {
            let mut typists = Typists::default();
            let mut shown: HashMap<(usize, usize), (Duration, Duration)> = HashMap::new();
            let mut now = at(0);

            for (of, who, what, pause) in steps {
                now += Duration::from_millis(pause);
                let (c, u) = (conversation(of), user(who));
                let before = shown.get(&(of, who)).filter(|(_, until)| *until > now).copied();
                match what {
                    0 | 1 => match typists.said(&c, &u, true, now) {
                        Some(told) => {
                            prop_assert_eq!(told, Announce::Types);
                            prop_assert!(before.is_none_or(|(announced, _)| now - announced >= AGAIN_AFTER));
                            shown.insert((of, who), (now, now + TYPING_LASTS));
                        }
                        None => prop_assert!(before.is_none_or(|(announced, _)| now - announced < AGAIN_AFTER)),
                    },
                    2 => {
                        let told = typists.said(&c, &u, false, now);
                        prop_assert_eq!(told, before.map(|_| Announce::Stopped));
                        shown.remove(&(of, who));
                    }
                    _ => {
                        prop_assert_eq!(typists.ended(&c, &u, now), before.is_some());
                        shown.remove(&(of, who));
                        typists.tidy(now);
                    }
                }
            }
        }
    }
}
