//! Pieces of work: each is asked of one conversation, and waits there for its turn.

use tokio::sync::oneshot;

use crate::ids::{Seq, UserId};
use crate::problem::Problem;
use crate::shard::file::store::{HeldMessage, KeyRow, Located};
use crate::shard::write::owner::input::{Admission, Asked, Looked, Ticket, Want};
use crate::shard::write::subscriptions::Subscriber;

/// One thing asked of a conversation, waiting for its turn.
#[derive(Debug)]
pub(in crate::shard) struct Work {
    pub(super) kind: WorkKind,
    pub(super) facts: Facts,
    /// Number of the look-up that is under way for it; 0: none.
    pub(super) lookup: u64,
}

/// Look-ups already made for a piece of work: `None` where none was made.
#[derive(Debug, Default)]
pub(in crate::shard) struct Facts {
    /// What the key made before, if anything.
    pub(super) key: Option<Option<KeyRow>>,
    /// Where the message replied to is, if it exists.
    pub(super) reply_to: Option<Option<Located>>,
    /// The message that is to be changed, if it exists.
    pub(super) held: Option<Option<HeldMessage>>,
    /// How the user reacted before to the message, if they did.
    pub(super) reaction: Option<Option<u32>>,
    /// Whether a later message of the same socket was written.
    pub(super) later: Option<bool>,
}

impl Facts {
    /// Takes in what a look-up brought.
    pub(super) fn note(&mut self, looked: Looked) {
        match looked {
            Looked::Key(row) => self.key = Some(row),
            Looked::At(at) => self.reply_to = Some(at),
            Looked::Held(message) => self.held = Some(message),
            Looked::Reaction(reaction) => self.reaction = Some(reaction),
            Looked::Later(is_used) => self.later = Some(is_used),
            // They are of the conversation.
            Looked::Head(_) | Looked::Marks(_) => {}
        }
    }
}

/// One piece of work.
#[derive(Debug)]
pub(in crate::shard) enum WorkKind {
    Write(Asked),
    Delivered(Vec<(UserId, Seq)>),
    Begin {
        reader: UserId,
        want: Want,
        answer: oneshot::Sender<Result<Ticket, Problem>>,
    },
    Subscribe {
        subscriber: Subscriber,
        user: UserId,
        answer: oneshot::Sender<Result<Admission, Problem>>,
    },
    Typing {
        user: UserId,
        on: bool,
        answer: oneshot::Sender<Result<(), Problem>>,
    },
}

impl WorkKind {
    /// Someone still waits for it.
    pub(super) fn has_caller(&self) -> bool {
        match self {
            Self::Write(asked) => asked.has_caller(),
            Self::Delivered(_) => true,
            Self::Begin { answer, .. } => !answer.is_closed(),
            Self::Subscribe { answer, .. } => !answer.is_closed(),
            Self::Typing { answer, .. } => !answer.is_closed(),
        }
    }
}
