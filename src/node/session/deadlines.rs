//! Pure: when sessions end, or begin without their resume, without a task or a timer for each.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::auth::LEEWAY;
use crate::ids::SessionId;

/// What is due for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Its resume has not come.
    Begin,
    /// A drain closes it.
    Close,
    /// It goes with the shard of its user.
    Home,
}

/// See the head of this file. A few entries for each session; those of one that is gone mean
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Ends of tokens, in unix seconds.
    tokens: BTreeSet<(u64, SessionId)>,
    others: BTreeSet<(Instant, SessionId, Due)>,
}

impl Deadlines {
    /// The session's token ends then.
    pub(super) fn token(&mut self, session: SessionId, ends: u64) {
        self.tokens.insert((ends, session));
    }

    /// The end of a token is of no interest any more: the session is gone, or has a newer one.
    pub(super) fn forget_token(&mut self, session: SessionId, ends: u64) {
        self.tokens.remove(&(ends, session));
    }

    /// Something is due for the session then.
    pub(super) fn at(&mut self, at: Instant, session: SessionId, due: Due) {
        self.others.insert((at, session, due));
    }

    /// Takes out the sessions whose tokens have ended by this second.
    pub(super) fn take_ended(&mut self, second: u64) -> Vec<SessionId> {
        let mut ended = Vec::new();
        while let Some((_, session)) = self
            .tokens
            .first()
            .filter(|(ends, _)| *ends <= second)
            .copied()
        {
            self.tokens.pop_first();
            ended.push(session);
        }
        ended
    }

    /// Takes out what is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(SessionId, Due)> {
        let mut all = Vec::new();
        while let Some((_, session, due)) =
            self.others.first().filter(|(at, _, _)| *at <= now).copied()
        {
            self.others.pop_first();
            all.push((session, due));
        }
        all
    }
}

/// The unix second in which a token's session ends.
pub(super) fn ends(expires: u64) -> u64 {
    expires.saturating_add(LEEWAY.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_once_and_in_its_time() {
        let (start, one, two) = (Instant::now(), SessionId::random(), SessionId::random());
        let mut deadlines = Deadlines::default();
        deadlines.at(start + Duration::from_secs(2), one, Due::Close);
        deadlines.at(start + Duration::from_secs(1), two, Due::Begin);

        assert!(deadlines.take_due(start).is_empty());
        assert_eq!(
            deadlines.take_due(start + Duration::from_secs(1)),
            [(two, Due::Begin)]
        );
        assert_eq!(
            deadlines.take_due(start + Duration::from_secs(9)),
            [(one, Due::Close)]
        );
        assert!(
            deadlines
                .take_due(start + Duration::from_secs(9))
                .is_empty()
        );
    }

    #[test]
    fn a_newer_token_takes_the_place_of_the_one_before() {
        let session = SessionId::random();
        let mut deadlines = Deadlines::default();
        deadlines.token(session, 100);
        assert!(deadlines.take_ended(99).is_empty());
        deadlines.forget_token(session, 100);
        deadlines.token(session, 200);
        assert!(deadlines.take_ended(150).is_empty());
        assert_eq!(deadlines.take_ended(200), [session]);
        assert!(deadlines.take_ended(201).is_empty());
    }
}
