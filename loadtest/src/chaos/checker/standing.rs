//! What participants may do: nothing of one who is muted, or only reads, is after the change that
//! said so, and nobody comes back who was kept out.

use std::collections::HashMap;

use crate::chaos::checker::Checker;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Micros, What};

/// The rules that these break.
const SILENT: &str = "nothing from one who may not send";
const KEPT_OUT: &str = "who is banned does not come back";

/// What one participant may do after what is folded.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    reader: bool,
    muted: bool,
}

/// What is known of a ban, as far as answers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ban {
    /// In force since then.
    Since(Micros),
    /// It was asked for, or its end was, and nothing is sure.
    Open,
    /// An attempt of unknown outcome may be done at any time.
    Never,
}

/// Standings of one conversation, and its bans.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    users: HashMap<u32, Standing>,
    bans: HashMap<u32, Ban>,
    /// Whose silence was asked for at any time.
    silenced: HashMap<u32, Micros>,
}

impl Standings {
    /// The next change in order; true when it is by one who may not send.
    pub(crate) fn fold(&mut self, what: &What) -> bool {
        match what {
            What::Message { source, .. } => {
                let standing = self.users.get(source);
                standing.is_some_and(|standing| standing.reader || standing.muted)
            }
            What::Role {
                user,
                reader,
                muted,
            } => {
                let (reader, muted) = (*reader, *muted);
                self.users.insert(*user, Standing { reader, muted });
                false
            }
            // They are added by the admin here, and so as members; a mute stays.
            What::Joined { users } => {
                for user in users {
                    self.users.entry(*user).or_default().reader = false;
                }
                false
            }
            _ => false,
        }
    }

    /// Somebody's silence is asked for.
    pub(crate) fn silence_begins(&mut self, at: Micros, user: u32) {
        self.silenced.entry(user).or_insert(at);
    }

    /// A ban, or the end of one, is asked for.
    pub(crate) fn ban_begins(&mut self, user: u32) {
        let ban = self.bans.entry(user).or_insert(Ban::Open);
        if *ban != Ban::Never {
            *ban = Ban::Open;
        }
    }

    /// It is done.
    pub(crate) fn ban_done(&mut self, at: Micros, user: u32, is_on: bool, clean: bool) {
        let ban = self.bans.entry(user).or_insert(Ban::Open);
        *ban = match *ban {
            Ban::Open if clean && is_on => Ban::Since(at),
            Ban::Open if clean => Ban::Open,
            _ => Ban::Never,
        };
    }

    fn is_banned_before(&self, user: u32, begun: Micros) -> bool {
        matches!(self.bans.get(&user), Some(Ban::Since(since)) if *since < begun)
    }
}

impl Checker {
    /// A message that is in the order, and that its source might not send.
    pub(super) fn silent_spoke(&mut self, at: Micros, conversation: u32, source: u32, seq: u64) {
        let said =
            format!("u{source} was muted or a reader in c{conversation}, and seq {seq} is theirs");
        self.wrong(at, SILENT, said, Span::at(conversation, seq));
    }

    /// Somebody was let in who was surely kept out since before that was asked for.
    pub(super) fn entered(&mut self, at: Micros, (user, conversation): (u32, u32), begun: Micros) {
        let standings = &self.line(conversation).standings;
        if standings.is_banned_before(user, begun) {
            let said = format!("u{user} was banned from c{conversation}, and was let in");
            self.wrong(at, KEPT_OUT, said, Span::of(conversation));
        }
    }

    /// Somebody was refused because of what they may do.
    pub(super) fn refused_as_silent(
        &mut self,
        at: Micros,
        (user, conversation): (u32, u32),
        code: &str,
    ) {
        let standings = &self.line(conversation).standings;
        if !standings.silenced.contains_key(&user) {
            let said = format!(
                "u{user} was refused as {code} in c{conversation}, and nobody asked for it"
            );
            let rule = "a refusal rests on a change that is in the history";
            self.wrong(at, rule, said, Span::of(conversation));
        }
    }
}
