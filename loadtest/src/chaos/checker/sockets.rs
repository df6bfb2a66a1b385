//! Whether sockets stay open where they are to: a client notices nothing of a node that dies,
//! hangs, or is cut off.

use crate::chaos::checker::Checker;
use crate::chaos::faults::named;
use crate::chaos::history::Micros;
use crate::chaos::history::span::Span;
use crate::chaos::upgrade;

/// Faults that cost sockets: those of routers, and those that clients make themselves.
const MAY_CLOSE: [&str; 4] = ["kill-router", "drop-sockets", "drop-flood", "slow-readers"];
/// A fault is written down once it has begun, and sockets may end late.
const BEFORE: Micros = 5_000_000;
const AFTER: Micros = 20_000_000;
/// What a device says that turns from its socket by its own choice.
const BY_CHOICE: [&str; 4] = [
    "dropped",
    "the load is over",
    "resume was not taken",
    "a frame was not taken",
];
/// The close code of a token that has ended: a node whose clock is ahead says so.
const TOKEN_ENDED: &str = "4401";

/// Sockets that were closed, and when they may be.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Not judged yet: when, which session, and why.
    closed: Vec<(Micros, u64, String)>,
    /// When sockets may close, and which codes alone, if only those.
    excused: Vec<(Micros, Micros, Option<&'static str>)>,
}

impl Checker {
    /// A fault began or ended.
    pub(super) fn fault(&mut self, at: Micros, name: &str, said: &str) {
        self.clocks_were_off |= name.starts_with("clock-");
        let code = match name {
            name if name.starts_with("clock-") => Some(TOKEN_ENDED),
            upgrade::NODE => return,
            // What is not in the list of faults may do anything.
            name if MAY_CLOSE.contains(&name) || named(name).is_none() => None,
            _ => return,
        };
        if said == "ends" {
            for (_, until, _) in self
                .sockets
                .excused
                .iter_mut()
                .filter(|(_, until, _)| *until == Micros::MAX)
            {
                *until = at + AFTER;
            }
        } else {
            self.sockets
                .excused
                .push((at.saturating_sub(BEFORE), Micros::MAX, code));
        }
    }

    /// A device lost its socket, or left it.
    pub(super) fn closed(&mut self, at: Micros, session: u64, why: &str) {
        if !BY_CHOICE.contains(&why) {
            self.sockets.closed.push((at, session, why.to_owned()));
        }
    }

    /// Judges sockets that closed so long ago that it is known what was going on then.
    pub(super) fn judge_sockets(&mut self, at: Micros) {
        let until = at.saturating_sub(BEFORE);
        let due: Vec<_> = self
            .sockets
            .closed
            .extract_if(.., |(closed, _, _)| *closed <= until)
            .collect();
        for (closed, session, why) in due {
            let is_excused = self.sockets.excused.iter().any(|(from, to, code)| {
                (*from..=*to).contains(&closed) && code.is_none_or(|code| code == why)
            });
            if !is_excused {
                let said = format!(
                    "session {session} lost its socket ({why}) though no router and no client \
                     failed"
                );
                self.wrong(
                    closed,
                    "a socket stays open while nodes fail",
                    said,
                    Span::default().and_session(session),
                );
            }
        }
    }
}
