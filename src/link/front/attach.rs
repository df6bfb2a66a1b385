//! What a router keeps of a session so that another node can go on with it (ADR 7). Fields and
//! variants are only ever added.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Seq, SessionId};
use crate::link::front::Handle;

/// Conversations kept for one session, those that its user has left included. A session with more
/// is not attached.
pub(crate) const STANDS_MAX: usize = 5_000;

/// The kind of a [`Stand`] is in the bits above its seq.
const KIND_SHIFT: u32 = 60;
const SEQ_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// How far a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It waits for its resume: no cursor is set.
    Waits,
    /// No cursor is set yet, and none waits for a resume.
    Begun,
    /// Its cursors are set, and `ready` is due.
    Placed,
    /// `ready` was told.
    Ready,
    /// It is in more conversations than are kept: it is not attached.
    TooMany,
}

/// How a session stands in one conversation, in one number: a [`Standing`] with its seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stand(u64);

/// What a [`Stand`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything up to `seq` was shown.
    At {
        /// Last seq shown, or passed by a gap.
        seq: Seq,
        /// The client named it in its resume, and was not told `live` yet.
        named: bool,
    },
    /// Everything up to `seq` was shown or passed; of what follows only what lies within the user's
    /// stays is shown.
    Within {
        /// Last seq shown or passed.
        seq: Seq,
        /// `seq` lies within a stay.
        inside: bool,
    },
    /// The user is not in it, and their stays are known up to `seq`.
    Out {
        /// Up to here.
        seq: Seq,
    },
    /// It begins at the tail, which is not known yet.
    Tail,
}

impl From<Standing> for Stand {
    fn from(standing: Standing) -> Self {
        let (kind, seq) = match standing {
            Standing::At { seq, named: false } => (0, seq),
            Standing::At { seq, named: true } => (1, seq),
            Standing::Within { seq, inside: false } => (2, seq),
            Standing::Within { seq, inside: true } => (3, seq),
            Standing::Out { seq } => (4, seq),
            Standing::Tail => (5, Seq(0)),
        };
        Self(kind << KIND_SHIFT | seq.0 & SEQ_MASK)
    }
}

impl Stand {
    /// What it says.
    #[must_use]
    pub fn standing(self) -> Standing {
        let seq = Seq(self.0 & SEQ_MASK);
        match self.0 >> KIND_SHIFT {
            1 => Standing::At { seq, named: true },
            2 => Standing::Within { seq, inside: false },
            3 => Standing::Within { seq, inside: true },
            4 => Standing::Out { seq },
            5 => Standing::Tail,
            _ => Standing::At { seq, named: false },
        }
    }

    /// The same after an event with this seq was shown.
    #[must_use]
    pub fn shown(self, seq: Seq) -> Self {
        match self.standing() {
            Standing::At { named, .. } => Standing::At { seq, named }.into(),
            Standing::Within { inside, .. } => Standing::Within { seq, inside }.into(),
            Standing::Out { .. } | Standing::Tail => Self::at(seq),
        }
    }

    /// The same after `live` was told.
    #[must_use]
    pub fn announced(self) -> Self {
        match self.standing() {
            Standing::At { seq, .. } => Self::at(seq),
            _ => self,
        }
    }

    /// Everything up to `seq` was shown.
    #[must_use]
    pub fn at(seq: Seq) -> Self {
        Standing::At { seq, named: false }.into()
    }
}

/// A session that another node held goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attach {
    /// Its name for the client and for logs, which it keeps.
    pub id: SessionId,
    /// How far it was.
    pub stage: Stage,
    /// How it stands in each conversation that it knows.
    pub stands: Vec<(ConversationName, Stand)>,
    /// How many messages come first that were said to another node.
    #[serde(default)]
    pub again: usize,
}

/// How a message of a client comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeat {
    /// For the first time.
    #[default]
    First,
    /// It was said to another node, which may have carried it out.
    Again,
    /// Likewise, and it was answered: it is not answered again.
    Silent,
}

/// What a frame for a client says of its session, beside the event that it carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tells {
    /// Nothing.
    #[default]
    Nothing,
    /// It answers the message of this number.
    Answer(u64),
    /// Likewise; it is a part of a resume, and is kept until the cursors are set
    /// ([`Stage::Placed`]).
    Part(u64),
    /// Likewise; with it a resume is given up, and no part of it is kept any more.
    GivenUp(u64),
    /// It is `ready`.
    Ready,
    /// It is `live`, for these.
    Live(Vec<Handle>),
    /// It answers the message of this number, which is kept until this is told of another one: the
    /// session watches by it. Since version 7.
    Watch(u64),
    /// The session stands so in the conversation of the frame's event from here on.
    Stand(Stand),
}

impl Tells {
    /// It tells nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_is_read_as_it_was_written() {
        for seq in [0, 1, 1 << 53].map(Seq) {
            let all = [
                Standing::At { seq, named: false },
                Standing::At { seq, named: true },
                Standing::Within { seq, inside: false },
                Standing::Within { seq, inside: true },
                Standing::Out { seq },
            ];
            for standing in all {
                assert_eq!(Stand::from(standing).standing(), standing);
            }
        }
        assert_eq!(Stand::from(Standing::Tail).standing(), Standing::Tail);
    }

    #[test]
    fn an_event_moves_a_session_on_and_live_is_told_once() {
        let named = Stand::from(Standing::At {
            seq: Seq(4),
            named: true,
        });

        assert_eq!(
            named.shown(Seq(5)).standing(),
            Standing::At {
                seq: Seq(5),
                named: true
            }
        );
        assert_eq!(named.shown(Seq(5)).announced(), Stand::at(Seq(5)));

        let within = Stand::from(Standing::Within {
            seq: Seq(4),
            inside: true,
        });

        assert_eq!(
            within.shown(Seq(6)).standing(),
            Standing::Within {
                seq: Seq(6),
                inside: true
            }
        );
        assert_eq!(
            Stand::from(Standing::Out { seq: Seq(9) }).shown(Seq(12)),
            Stand::at(Seq(12))
        );
        assert_eq!(Stand::from(Standing::Tail).shown(Seq(3)), Stand::at(Seq(3)));
    }
}
