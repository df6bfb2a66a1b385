//! One session: each conversation's changes in order, each once, from its position on, and no hole that is not told.

use std::collections::HashMap;

use crate::chaos::history::{Item, Micros, What};

/// A socket of a user.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) user: u32,
    /// When it began.
    pub(crate) opened: Micros,
    positions: HashMap<u32, Position>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    seq: u64,
    /// He was told that he is out.
    left: bool,
}

impl Session {
    /// With the positions that it resumed from.
    pub(crate) fn new(user: u32, opened: Micros, positions: &[(u32, u64)]) -> Self {
        let at = |&(conversation, seq): &(u32, u64)| (conversation, Position { seq, left: false });
        Self { user, opened, positions: positions.iter().map(at).collect() }
    }

    /// One more change; an error says what is wrong with it.
    pub(crate) fn take(&mut self, conversation: u32, item: &Item) -> Result<(), String> {
        let left = matches!(item.what, What::Left { user } if user == self.user);
        let enters = matches!(&item.what, What::Joined { users } if users.contains(&self.user));
        let before = self.positions.insert(conversation, Position { seq: item.seq, left });
        let Some(before) = before else { return Ok(()) };
        match item.seq {
            seq if seq == before.seq + 1 => Ok(()),
            // What happened while he was out is not his; live starts with his own joined.
            seq if enters && before.left && seq > before.seq => Ok(()),
            seq if seq <= before.seq => Err(format!("seq {seq} again, after {}", before.seq)),
            seq => Err(format!("seq {seq} after {}: a hole without a gap", before.seq)),
        }
    }

    /// A span that is not sent.
    pub(crate) fn gap(&mut self, conversation: u32, (from, to): (u64, u64), reason: &str) -> Result<(), String> {
        let Some(position) = self.positions.get_mut(&conversation) else { return Ok(()) };
        if reason == "not_participant" {
            self.positions.remove(&conversation);
            return Ok(());
        }
        let expected = position.seq + 1;
        // What it saw does not hold: it goes on from where that begins.
        position.seq = if reason == "replaced" { from.saturating_sub(1) } else { to };
        if reason != "replaced" && from != expected {
            Err(format!("a gap from {from}, and the next is {expected}"))
        } else {
            Ok(())
        }
    }

    /// Caught up to there.
    pub(crate) fn live(&mut self, conversation: u32, seq: u64) -> Result<(), String> {
        let position = self.positions.entry(conversation).or_insert(Position { seq, left: false });
        if position.seq == seq {
            return Ok(());
        }
        let error = format!("live at {seq}, and the last sent is {}", position.seq);
        // He is out, or in again: he is told where it goes on.
        if position.left && seq > position.seq {
            *position = Position { seq, left: false };
            return Ok(());
        }
        Err(error)
    }
}
