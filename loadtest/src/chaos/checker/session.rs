//! One session: each conversation's changes in order, each once, from its position on, and no hole
//! that is not told; each stay as a whole; its sends in the order sent; and how long it waits for
//! what others know.

use std::collections::{BTreeMap, HashMap};

use crate::chaos::history::{Item, Micros, What};

/// A socket of a user.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) user: u32,
    /// When it began.
    pub(crate) opened: Micros,
    /// Since when all its conversations are subscribed.
    pub(crate) ready: Option<Micros>,
    /// What it gets late is its own doing, or was told already.
    pub(crate) excused: bool,
    positions: HashMap<u32, Position>,
    /// When it was last told that a conversation is not theirs.
    refused: HashMap<u32, Micros>,
    /// Where its sends of each conversation were appended, in the order sent.
    appended: HashMap<u32, BTreeMap<u64, u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    seq: u64,
    /// The user was told that they are out.
    left: bool,
}

/// A session went on in a conversation after it had been out, or for the first time: no stay may be
/// in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    /// From after this seq,
    pub(crate) after: u64,
    /// up to right before this one.
    pub(crate) until: u64,
    /// Only stays that began after this moment are its own; 0 for all.
    pub(crate) began_after: Micros,
}

impl Session {
    /// With the positions that it resumed from.
    pub(crate) fn new(user: u32, opened: Micros, positions: &[(u32, u64)]) -> Self {
        let at = |&(conversation, seq): &(u32, u64)| (conversation, Position { seq, left: false });
        Self {
            user,
            opened,
            ready: None,
            excused: false,
            positions: positions.iter().map(at).collect(),
            refused: HashMap::new(),
            appended: HashMap::new(),
        }
    }

    /// One more change: what was passed over, if anything may have been; an error says what is
    /// wrong with it.
    pub(crate) fn take(
        &mut self,
        conversation: u32,
        item: &Item,
    ) -> (Option<Jump>, Result<(), String>) {
        let left = matches!(item.what, What::Left { user } if user == self.user);
        let enters = matches!(&item.what, What::Joined { users } if users.contains(&self.user));
        let before = self.positions.insert(
            conversation,
            Position {
                seq: item.seq,
                left,
            },
        );
        let Some(before) = before else {
            return (self.jump(conversation, None, item.seq), Ok(()));
        };

        match item.seq {
            seq if seq == before.seq + 1 => (None, Ok(())),
            // What happened while they were out is not theirs; live starts with their own joined.
            seq if enters && before.left && seq > before.seq => {
                (self.jump(conversation, Some(before.seq), seq), Ok(()))
            }
            seq if seq <= before.seq => {
                (None, Err(format!("seq {seq} again, after {}", before.seq)))
            }
            seq => (
                None,
                Err(format!(
                    "seq {seq} after {}: a hole without a gap",
                    before.seq
                )),
            ),
        }
    }

    fn jump(&self, conversation: u32, left: Option<u64>, until: u64) -> Option<Jump> {
        let refused = self.refused.get(&conversation).copied();
        match (left, self.ready) {
            // A refusal takes the position away: what it was told since then, it was told.
            (Some(after), _) => Some(Jump {
                after,
                until,
                began_after: 0,
            }),
            // Where it began is not known, but since when: what was there before is none of its
            // own.
            (None, Some(ready)) => Some(Jump {
                after: 0,
                until,
                began_after: ready.max(refused.unwrap_or(0)),
            }),
            (None, None) => None,
        }
    }

    /// A span that is not sent.
    pub(crate) fn gap(
        &mut self,
        at: Micros,
        conversation: u32,
        (from, to): (u64, u64),
        reason: &str,
    ) -> Result<(), String> {
        if reason == "not_participant" {
            self.refused.insert(conversation, at);
            self.positions.remove(&conversation);
            return Ok(());
        }

        let Some(position) = self.positions.get_mut(&conversation) else {
            // Up to there it was told that something is missing.
            self.positions.insert(
                conversation,
                Position {
                    seq: to,
                    left: false,
                },
            );
            return Ok(());
        };
        let expected = position.seq + 1;

        // What it saw does not hold: it goes on from where that begins.
        position.seq = if reason == "replaced" {
            from.saturating_sub(1)
        } else {
            to
        };

        if reason != "replaced" && from != expected {
            Err(format!("a gap from {from}, and the next is {expected}"))
        } else {
            Ok(())
        }
    }

    /// Caught up to there: what was passed over, if anything may have been.
    pub(crate) fn live(
        &mut self,
        conversation: u32,
        seq: u64,
    ) -> (Option<Jump>, Result<(), String>) {
        let Some(position) = self.positions.get(&conversation).copied() else {
            self.positions
                .insert(conversation, Position { seq, left: false });
            return (self.jump(conversation, None, seq + 1), Ok(()));
        };

        if position.seq == seq {
            return (None, Ok(()));
        }

        // The user is out, or in again: they are told where it goes on.
        if position.left && seq > position.seq {
            self.positions
                .insert(conversation, Position { seq, left: false });
            return (self.jump(conversation, Some(position.seq), seq + 1), Ok(()));
        }

        (
            None,
            Err(format!(
                "live at {seq}, and the last sent is {}",
                position.seq
            )),
        )
    }

    /// Where it stands in a conversation, and whether it was told that they are out.
    pub(crate) fn position(&self, conversation: u32) -> Option<(u64, bool)> {
        self.positions
            .get(&conversation)
            .map(|position| (position.seq, position.left))
    }

    /// When it was last told that a conversation is not theirs.
    pub(crate) fn refused(&self, conversation: u32) -> Option<Micros> {
        self.refused.get(&conversation).copied()
    }

    /// Where it stands in all of them.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (u32, u64)> {
        let told = self.positions.iter().filter(|(_, position)| !position.left);
        told.map(|(conversation, position)| (*conversation, position.seq))
    }

    /// One of its sends was acknowledged; an error names the one that it changed places with.
    pub(crate) fn appended(&mut self, conversation: u32, op: u64, seq: u64) -> Result<(), String> {
        let sends = self.appended.entry(conversation).or_default();
        let earlier = sends
            .range(..op)
            .next_back()
            .map(|(before, at)| (*before, *at));
        let later = sends.range(op..).next().map(|(after, at)| (*after, *at));

        sends.insert(op, seq);
        match (earlier, later) {
            (Some((before, at)), _) if at >= seq => Err(format!(
                "op-{op} is at seq {seq}, and op-{before}, sent before it, at {at}"
            )),
            (_, Some((after, at))) if at <= seq => Err(format!(
                "op-{op} is at seq {seq}, and op-{after}, sent after it, at {at}"
            )),
            _ => Ok(()),
        }
    }
}
