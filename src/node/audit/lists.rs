//! A membership beside the row of the user's index: whether they agree, and which change makes them
//! agree. Pure.

use std::fmt;

use crate::ids::Seq;
use crate::log::record::IndexChange;
use crate::shard::command::{Moment, Pair, Row, Stand};

/// Both sides of a pair, as they were read: the conversation first, then the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) pair: Pair,
    pub(super) stand: Stand,
    pub(super) row: Option<Row>,
}

/// How a row is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The user is in, and their list lacks the conversation.
    Lacking,
    /// The user is in, and their list has it as of an earlier event than their join.
    Older,
    /// The user is not in, and their list has it.
    Surplus,
    /// Their list has a conversation that does not exist.
    Invented,
    /// The row is as of an event that the conversation has not.
    Ahead,
}

impl Look {
    /// What is wrong with the row, if anything is. A list lacks a conversation alike where the row
    /// says *out* and where there is none.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let Some(last) = self.stand.last else {
            return self
                .row
                .filter(|row| row.joined)
                .map(|_invented| Wrong::Invented);
        };
        match (self.stand.joined, self.row) {
            (_, Some(row)) if row.seq > last.seq => Some(Wrong::Ahead),
            (Some(_), None) => Some(Wrong::Lacking),
            (Some(_), Some(row)) if !row.joined => Some(Wrong::Lacking),
            (Some(joined), Some(row)) => (row.seq < joined.seq).then_some(Wrong::Older),
            (None, Some(row)) => row.joined.then_some(Wrong::Surplus),
            (None, None) => None,
        }
    }

    /// The change that makes the index say what is so: with the seq of the join, or, where the row
    /// that stands would win over that, as of the conversation's last event. `None` where no true
    /// statement is newer than the row.
    pub(super) fn mending(&self) -> Option<IndexChange> {
        let held = self.row.map_or(Seq(0), |row| row.seq);
        let newer = |moment: Option<Moment>| moment.filter(|moment| moment.seq > held);
        let Moment { seq, at } = newer(self.stand.joined).or_else(|| newer(self.stand.last))?;
        Some(IndexChange {
            user: self.pair.user.clone(),
            conversation: self.pair.conversation.clone(),
            seq,
            joined: self.stand.joined.is_some(),
            at,
            create_key: None,
            view: None,
        })
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { user, conversation } = &self.pair;
        let seq = |moment: Option<Moment>| moment.map_or(Seq(0), |moment| moment.seq);
        let (joined, last) = (seq(self.stand.joined), seq(self.stand.last));
        let row = self.row.map_or(Seq(0), |row| row.seq);
        match self.wrong() {
            Some(Wrong::Lacking) => write!(
                f,
                "the list of {user} lacks {conversation}, where they take part since seq {joined}"
            ),
            Some(Wrong::Older) => write!(
                f,
                "the list of {user} has {conversation} as of seq {row}, where they take part since seq {joined}"
            ),
            Some(Wrong::Surplus) => write!(
                f,
                "the list of {user} has {conversation}, where they take no part"
            ),
            Some(Wrong::Invented) => write!(
                f,
                "the list of {user} has {conversation}, which does not exist"
            ),
            Some(Wrong::Ahead) => write!(
                f,
                "the list of {user} has a row for {conversation} as of seq {row}, and that ends at seq {last}"
            ),
            None => write!(f, "the list of {user} is right about {conversation}"),
        }
    }
}
