//! What clients did and what they saw, as records: the only thing that the checker knows. Times are
//! microseconds since the run began, on one monotonic clock.

use serde::{Deserialize, Serialize};

pub(crate) mod item;

pub(crate) mod log;

pub(crate) mod span;

pub(crate) mod store;

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// What a change of a conversation is; users by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// A message: by whom, and of which operation, 0 where nothing of it is shown any more.
    Message { source: u32, op: u64 },
    /// The conversation began, with these.
    Created { users: Vec<u32> },
    /// These came in.
    Joined { users: Vec<u32> },
    /// This one is out.
    Left { user: u32 },
    /// The message there says something else.
    Edited { message: u64 },
    /// The message there says nothing any more.
    Deleted { message: u64 },
    /// What this one may do: whether they only read, and whether they are muted.
    Role {
        user: u32,
        reader: bool,
        muted: bool,
    },
}

/// Whose words a message or an edit is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Words {
    /// Those that it was sent with; or it is a change that has none.
    #[default]
    First,
    /// Those of an edit, by its operation.
    Edit(u64),
    /// None: they are erased.
    Erased,
}

/// A change of a conversation as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Its number in the conversation.
    pub(crate) seq: u64,
    /// Over all that stays as it is: two who see the same see the same digest.
    pub(crate) digest: u64,
    /// What it is.
    pub(crate) what: What,
    /// What it says, of a message and of an edit.
    #[serde(default)]
    pub(crate) words: Words,
    /// Over those words.
    #[serde(default)]
    pub(crate) said: u64,
}

impl Item {
    /// A change without words.
    #[cfg(test)]
    pub(crate) fn plain(seq: u64, digest: u64, what: What) -> Self {
        Self {
            seq,
            digest,
            what,
            words: Words::First,
            said: 0,
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// A message.
    Send,
    /// The conversation itself, with these.
    Create { users: Vec<u32> },
    /// Lets one in.
    Add { user: u32 },
    /// Puts one out, or they leave.
    Remove { user: u32 },
    /// Marks as read up to there.
    Read { seq: u64 },
    /// Sets or takes back a reaction to the message there.
    React { seq: u64, value: Option<u32> },
    /// Says something else in the message there.
    Edit { seq: u64 },
    /// Erases the message there.
    Delete { seq: u64 },
    /// Mutes one, makes them a reader, or takes either back.
    Silence { user: u32, on: bool },
    /// Puts one out, and keeps them out.
    Ban { user: u32 },
    /// Lets one come back.
    Unban { user: u32 },
}

/// What became of it, over all its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Done; a message tells where it is. Clean: no attempt before was of unknown outcome.
    Ok { item: Option<Item>, clean: bool },
    /// Surely not done, by any attempt.
    Failed { code: String },
    /// Done, or not, or later.
    Unknown { code: String },
}

/// One thing that happened, when it was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "lowercase")]
pub(crate) enum Record {
    /// An operation is about to be asked for.
    Begun {
        at: Micros,
        op: u64,
        user: u32,
        conversation: u32,
        act: Act,
    },
    /// What became of it.
    Ended {
        at: Micros,
        op: u64,
        result: Outcome,
    },
    /// It is sent by a frame of this session, after all that was sent there before.
    Framed { at: Micros, op: u64, session: u64 },
    /// Another operation asks for something else under the same key, or under the same name: one of
    /// them at most is done.
    Rivals { at: Micros, op: u64, other: u64 },
    /// The same key once more was answered with this message.
    Again { at: Micros, op: u64, item: Item },
    /// A page of all changes after a seq; `end` when it says that there are no more.
    Page {
        read: Read,
        after: u64,
        items: Vec<Item>,
        end: bool,
    },
    /// The newest messages, rising.
    Newest { read: Read, items: Vec<Item> },
    /// Messages that were asked for by their ids, or by who sent them.
    Some { read: Read, items: Vec<Item> },
    /// The conversation as such.
    Shown {
        read: Read,
        last: u64,
        users: Vec<u32>,
    },
    /// Watermarks: user, delivered, read.
    Marks {
        read: Read,
        marks: Vec<(u32, u64, u64)>,
    },
    /// One's own reaction to the message there.
    Reaction {
        read: Read,
        seq: u64,
        value: Option<u32>,
    },
    /// A read was refused: the user does not participate.
    Refused { read: Read },
    /// All conversations of a user, as they were told.
    Listed {
        begun: Micros,
        at: Micros,
        user: u32,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stale: bool,
        conversations: Vec<u32>,
    },
    /// A session began, with these positions.
    Opened {
        at: Micros,
        session: u64,
        user: u32,
        positions: Vec<(u32, u64)>,
    },
    /// All its conversations are subscribed.
    Ready { at: Micros, session: u64 },
    /// It takes nothing from its socket from now on: what it gets late is its own doing.
    Deafened { at: Micros, session: u64 },
    /// It was sent these.
    Frames {
        at: Micros,
        session: u64,
        conversation: u32,
        items: Vec<Item>,
    },
    /// It was told that this span is not sent.
    Gap {
        at: Micros,
        session: u64,
        conversation: u32,
        from: u64,
        to: u64,
        reason: String,
    },
    /// It is caught up to there.
    Live {
        at: Micros,
        session: u64,
        positions: Vec<(u32, u64)>,
    },
    /// It ended.
    Closed {
        at: Micros,
        session: u64,
        why: String,
    },
    /// A fault began, ended, or did something in between.
    Fault {
        at: Micros,
        name: String,
        said: String,
    },
    /// A machine is gone for good: nothing new can be written in shards that lack a second copy
    /// until another is made, so users whose shard is one are not told of new stays.
    Gone { at: Micros },
    /// It is back.
    Back { at: Micros },
    /// A backup is about to begin: what is known by now is to be in it.
    Backup { at: Micros },
    /// A page of all changes after a seq, of what was restored of that backup; `end` when it says
    /// that there are no more.
    Restored {
        at: Micros,
        conversation: u32,
        after: u64,
        items: Vec<Item>,
        end: bool,
    },
    /// What a user has not read of it, when all is quiet.
    Counted {
        at: Micros,
        user: u32,
        conversation: u32,
        unread: u64,
    },
    /// The conversation has this many changes, when all is quiet.
    Final {
        at: Micros,
        conversation: u32,
        last: u64,
    },
    /// Something is wrong that no other record shows.
    Wrong {
        at: Micros,
        rule: String,
        conversation: Option<u32>,
        said: String,
    },
}

/// A read, what it was of, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    /// When it was asked for.
    pub(crate) begun: Micros,
    /// When it was answered.
    pub(crate) at: Micros,
    /// Who asked.
    pub(crate) user: u32,
    /// Of which conversation.
    pub(crate) conversation: u32,
    /// Marked as possibly old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stale: bool,
}

impl Record {
    /// When it was known.
    pub(crate) fn at(&self) -> Micros {
        match self {
            Self::Begun { at, .. }
            | Self::Ended { at, .. }
            | Self::Framed { at, .. }
            | Self::Rivals { at, .. }
            | Self::Again { at, .. }
            | Self::Listed { at, .. }
            | Self::Opened { at, .. }
            | Self::Ready { at, .. }
            | Self::Deafened { at, .. }
            | Self::Frames { at, .. }
            | Self::Gap { at, .. }
            | Self::Live { at, .. }
            | Self::Closed { at, .. }
            | Self::Fault { at, .. }
            | Self::Gone { at }
            | Self::Back { at }
            | Self::Backup { at }
            | Self::Restored { at, .. }
            | Self::Counted { at, .. }
            | Self::Final { at, .. }
            | Self::Wrong { at, .. } => *at,
            Self::Page { read, .. }
            | Self::Newest { read, .. }
            | Self::Some { read, .. }
            | Self::Shown { read, .. }
            | Self::Marks { read, .. }
            | Self::Reaction { read, .. }
            | Self::Refused { read } => read.at,
        }
    }
}
