//! How long sessions wait for what others know already, and whether they are told every stay as a
//! whole.

use crate::chaos::checker::Checker;
use crate::chaos::checker::session::Jump;
use crate::chaos::history::Micros;
use crate::chaos::history::span::Span;

/// Longest that a session may be without a change that anybody was shown, from the moment on at
/// which both were there.
pub(crate) const DEAF_MAX: Micros = 30_000_000;
/// How often it is looked whether one is.
const LOOK_EVERY: Micros = 1_000_000;

impl Checker {
    /// A change came to a session, which had not seen it before that.
    pub(super) fn heard(&mut self, at: Micros, number: u64, conversation: u32, seq: u64) {
        let Some(session) = self
            .sessions
            .get(&number)
            .filter(|session| !session.excused)
        else {
            return;
        };

        let Some(line) = self.lines.get(&conversation) else {
            return;
        };
        let Some(seen) = line.seen(seq) else { return };
        let began = line
            .stay_of(session.user, seq)
            .and_then(|from| line.seen(from));
        let Some(since) = self.told_since(began, seen) else {
            return;
        };

        let waited = at.saturating_sub(since.max(session.opened));
        self.deafest = self.deafest.max(waited);
        if waited > DEAF_MAX {
            self.deaf(at, number, (conversation, seq), waited);
        }
    }

    /// Looks at all sessions, now and then, as time goes by.
    pub(super) fn look(&mut self, at: Micros) {
        if at < self.looked + LOOK_EVERY {
            return;
        }

        self.looked = at;
        self.judge_sockets(at);
        let mut longest: Vec<(u64, (u32, u64), Micros)> = Vec::new();

        for (number, session) in self.sessions.iter().filter(|(_, session)| !session.excused) {
            let behind = session.positions().filter_map(|(conversation, seq)| {
                let line = self.lines.get(&conversation)?;
                line.is_in(session.user, seq + 1).then_some(())?;
                Some(((conversation, seq + 1), line.seen(seq + 1)?))
            });
            let untold = self.lines.iter().filter_map(|(conversation, line)| {
                let (from, seen) = line.untold(session, *conversation)?;
                Some(((*conversation, from), self.told_since(Some(seen), seen)?))
            });
            let oldest = behind.chain(untold).min_by_key(|(_, seen)| *seen);
            if let Some((what, seen)) = oldest {
                longest.push((*number, what, at.saturating_sub(seen.max(session.opened))));
            }
        }

        for (number, what, waited) in longest {
            self.deafest = self.deafest.max(waited);
            if waited > DEAF_MAX {
                self.deaf(at, number, what, waited);
            }
        }
    }

    /// From when on a session may be held to a change that others saw at `seen`, of a stay that
    /// they saw begin at `began`; none when it may not be yet. That a stay began is told by the
    /// user's own shard, which may take no writes while a machine is gone for good.
    fn told_since(&self, began: Option<Micros>, seen: Micros) -> Option<Micros> {
        match (self.gone, began) {
            (Some(gone), Some(began)) if began >= gone => self.back.map(|back| back.max(seen)),
            _ => Some(seen),
        }
    }

    fn deaf(&mut self, at: Micros, number: u64, (conversation, seq): (u32, u64), waited: Micros) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };

        // Once is enough.
        session.excused = true;

        let user = session.user;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let seconds = waited as f64 / 1e6;
        let said = format!(
            "session {number} of u{user} was without seq {seq} of c{conversation} for {seconds:.1} \
             s, and others had it"
        );

        self.wrong(
            at,
            "no session is deaf for long",
            said,
            Span::at(conversation, seq).and_session(number),
        );
    }

    /// The longest that a session waited for a change, since this was asked last.
    pub(crate) fn deafest(&mut self) -> Micros {
        std::mem::take(&mut self.deafest)
    }

    /// A session went on after a jump: what it passed over is judged when all is known.
    pub(super) fn jumped(&mut self, number: u64, conversation: u32, jump: Option<Jump>) {
        let Some(user) = self.sessions.get(&number).map(|session| session.user) else {
            return;
        };
        if let Some(jump) = jump {
            self.line(conversation).jumps.push((number, user, jump));
        }
    }

    /// All of a conversation is known: no session passed over a stay.
    pub(super) fn judge_stays(&mut self, at: Micros, conversation: u32) {
        for (number, user, jump) in std::mem::take(&mut self.line(conversation).jumps) {
            let Some((from, to)) = self.line(conversation).stay_within(user, jump) else {
                continue;
            };
            let until = jump.until;
            let said = format!(
                "session {number} of u{user} goes on in c{conversation} before seq {until}, and \
                 was not told of the stay from seq {from} to {to:?}"
            );
            let span = Span::at(conversation, from).and_session(number);
            self.wrong(at, "a session gets the whole of each stay", said, span);
        }
    }
}
