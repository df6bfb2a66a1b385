//! What sessions are told: each change once and in order, and gaps only where one is needed.

use crate::chaos::checker::Checker;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Item, Micros};

/// Events that a resume sends; a gap for less is not needed.
const RESUME_EVENTS: u64 = 1_000;

impl Checker {
    /// A session was sent these changes.
    pub(super) fn frames(&mut self, at: Micros, number: u64, conversation: u32, items: &[Item]) {
        self.counts.frames += u64::try_from(items.len()).unwrap_or(0);
        for item in items {
            self.see(at, conversation, item);
            self.heard(at, number, conversation, item.seq);
            let Some(session) = self.sessions.get_mut(&number) else {
                return;
            };
            let (user, opened) = (session.user, session.opened);
            let (jump, taken) = session.take(conversation, item);
            self.jumped(number, conversation, jump);
            let how = "sent to a session";
            self.words_shown((opened, at), conversation, std::slice::from_ref(item), how);
            if let Err(error) = taken {
                let said = format!("session {number} of u{user}, c{conversation}: {error}");
                let span = Span::at(conversation, item.seq).and_session(number);
                self.wrong(at, "sessions see each change once, in order", said, span);
            }
            self.line(conversation).sent(user, item.seq, at);
        }
    }

    /// A session was told that it will not get this span here.
    pub(super) fn gap(
        &mut self,
        at: Micros,
        (number, conversation): (u64, u32),
        (from, to): (u64, u64),
        reason: &str,
    ) {
        self.counts.gaps += 1;
        self.counts.replaced += u64::from(reason == "replaced");

        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let (user, opened) = (session.user, session.opened);
        let told = session.gap(at, conversation, (from, to), reason);
        let sure = self
            .line(conversation)
            .sure
            .get(&user)
            .copied()
            .unwrap_or_default();
        let wrong = match reason {
            "not_participant" if sure.in_before(opened) => Some("the user participates".to_owned()),
            // The part that is not sent may be short; what is missed together is not.
            "too_far"
                if self.line(conversation).last().saturating_sub(from) + 1 < RESUME_EVENTS =>
            {
                Some("so few are sent".to_owned())
            }
            // What anybody was shown stays: there is nothing that it could be replaced by.
            "replaced" => Some("what it had seen stands".to_owned()),
            _ => told.err(),
        };

        if let Some(error) = wrong {
            let said = format!(
                "session {number} of u{user}, c{conversation}: gap {from} to {to} {reason}: {error}"
            );
            let span = Span::of(conversation).and_session(number);
            self.wrong(at, "sessions see each change once, in order", said, span);
        }
    }

    /// A session was told up to where it has everything.
    pub(super) fn live(&mut self, at: Micros, number: u64, positions: &[(u32, u64)]) {
        for &(conversation, seq) in positions {
            let Some(session) = self.sessions.get_mut(&number) else {
                return;
            };
            let user = session.user;
            let (jump, told) = session.live(conversation, seq);
            self.jumped(number, conversation, jump);
            if let Err(error) = told {
                let said = format!("session {number} of u{user}, c{conversation}: {error}");
                let span = Span::of(conversation).and_session(number);
                self.wrong(at, "sessions see each change once, in order", said, span);
            }
        }
    }
}
