//! The checker: takes records in the order in which they were known and says what no correct
//! cluster can do. Pure; each record costs constant time but for its items, and a message costs
//! about a hundred bytes of memory for the whole run.

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use crate::chaos::checker::counts::Counts;
use crate::chaos::checker::line::Line;
use crate::chaos::checker::operations::Operations;
use crate::chaos::checker::session::Session;
use crate::chaos::checker::sockets::Sockets;
use crate::chaos::history::span::Span;
use crate::chaos::history::{Micros, Record};

mod answers;
mod changes;
mod counts;
mod deafness;
mod floor;
mod frames;
pub(crate) mod known;
mod line;
mod operations;
mod reads;
mod refusals;
mod refused;
mod restored;
mod session;
mod sockets;
mod standing;
mod sure;
mod unread;
mod words;

#[cfg(test)]
mod tests;

/// Violations that are kept; more are only counted.
const KEPT_MAX: usize = 50;

/// Something that must not happen.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// When it was known.
    pub(crate) at: Micros,
    /// Which promise.
    pub(crate) rule: String,
    /// What happened.
    pub(crate) said: String,
    /// Where to look.
    pub(crate) span: Span,
}

/// What is known, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    lines: BTreeMap<u32, Line>,
    operations: Operations,
    sessions: HashMap<u64, Session>,
    /// Operations that were sent by frame, with their sessions.
    framed: HashMap<u64, u64>,
    /// Operations of which one at most may be done, and those of them that were refused for the
    /// other.
    rivals: HashMap<u64, u64>,
    conflicts: HashSet<u64>,
    /// When it was last looked whether sessions are deaf, and the longest that one was since that
    /// was asked last.
    looked: Micros,
    deafest: Micros,
    /// Whose sockets were closed, and when they may be.
    sockets: Sockets,
    /// When a machine was lost for good the last time, and when it came back, if it did.
    gone: Option<Micros>,
    back: Option<Micros>,
    /// A node's clock was put ahead or back.
    clocks_were_off: bool,
    /// Up to where each conversation was known when the last backup began.
    backed_up: HashMap<u32, u64>,
    /// What is wrong, the first of it.
    pub(crate) violations: Vec<Violation>,
    /// What was counted.
    pub(crate) counts: Counts,
}

impl Checker {
    /// One more record.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of record")]
    pub(crate) fn take(&mut self, record: &Record) {
        self.look(record.at());
        match record {
            Record::Begun {
                at,
                op,
                user,
                conversation,
                act,
            } => {
                self.begin(*op, (*at, *user, *conversation), act.clone());
            }
            Record::Ended { at, op, result } => self.end(*at, *op, result),
            Record::Framed { op, session, .. } => drop(self.framed.insert(*op, *session)),
            Record::Rivals { op, other, .. } => self.pair(*op, *other),
            Record::Again { at, op, item } => {
                if let Some(conversation) = self
                    .operations
                    .get(*op)
                    .map(|operation| operation.conversation)
                {
                    self.see(*at, conversation, item);
                }
            }
            Record::Page {
                read,
                after,
                items,
                end,
            } => self.page(*read, *after, items, *end),
            Record::Newest { read, items } => self.newest(*read, items),
            Record::Some { read, items } => self.some(*read, items),
            Record::Shown { read, last, users } => self.shown(*read, *last, users),
            Record::Marks { read, marks } => self.marks(*read, marks),
            Record::Reaction { read, seq, value } => self.reaction(*read, *seq, *value),
            Record::Refused { read } => {
                self.refused_as_stranger(read.at, (read.user, read.conversation), read.begun);
            }
            Record::Listed {
                begun,
                at,
                user,
                stale: false,
                conversations,
            } => {
                self.listed((*begun, *at), *user, conversations);
            }
            Record::Listed { .. } => self.counts.stale += 1,
            Record::Opened {
                at,
                session,
                user,
                positions,
            } => {
                self.sessions
                    .insert(*session, Session::new(*user, *at, positions));
            }
            Record::Ready { at, session } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.ready.get_or_insert(*at);
                }
            }
            Record::Deafened { session, .. } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.excused = true;
                }
            }
            Record::Frames {
                at,
                session,
                conversation,
                items,
            } => self.frames(*at, *session, *conversation, items),
            Record::Gap {
                at,
                session,
                conversation,
                from,
                to,
                reason,
            } => {
                self.gap(*at, (*session, *conversation), (*from, *to), reason);
            }
            Record::Live {
                at,
                session,
                positions,
            } => self.live(*at, *session, positions),
            Record::Closed { at, session, why } => {
                self.closed(*at, *session, why);
                self.sessions.remove(session);
            }
            Record::Counted {
                at,
                user,
                conversation,
                unread,
            } => self.counted(*at, (*user, *conversation), *unread),
            Record::Final {
                at,
                conversation,
                last,
            } => self.finish(*at, *conversation, *last),
            Record::Fault { at, name, said } => self.fault(*at, name, said),
            Record::Backup { .. } => self.backup_begins(),
            Record::Restored {
                at,
                conversation,
                after,
                items,
                end,
            } => self.restored((*at, *conversation), *after, items, *end),
            Record::Gone { at } => (self.gone, self.back) = (Some(*at), None),
            Record::Back { at } => self.back = Some(*at),
            Record::Wrong {
                at,
                rule,
                conversation,
                said,
            } => {
                let span = conversation.map_or_else(Span::default, Span::of);
                self.wrong(*at, rule, said.clone(), span);
            }
        }
    }

    fn line(&mut self, conversation: u32) -> &mut Line {
        self.lines.entry(conversation).or_default()
    }

    /// Who participates in a conversation by its changes.
    pub(crate) fn members(&self, conversation: u32) -> Vec<u32> {
        self.lines
            .get(&conversation)
            .map(Line::members)
            .unwrap_or_default()
    }

    /// Whether a node's clock was ever put ahead or back: then what nodes say of the time of
    /// something is not when it was.
    pub(crate) fn clocks_were_off(&self) -> bool {
        self.clocks_were_off
    }

    /// All conversations that anybody saw anything of.
    pub(crate) fn conversations(&self) -> Vec<u32> {
        self.lines
            .iter()
            .filter(|(_, line)| line.last() > 0)
            .map(|(number, _)| *number)
            .collect()
    }

    /// The highest seq that anybody saw.
    pub(crate) fn last(&self, conversation: u32) -> u64 {
        self.lines.get(&conversation).map_or(0, Line::last)
    }
}
