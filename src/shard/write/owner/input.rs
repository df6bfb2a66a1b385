//! What comes into the loop and what goes out: commands, questions, look-ups brought back, waiters
//! for a commit.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::ids::{ConversationName, MessageId, Offset, Seq, UserId};
use crate::log::PerStream;
use crate::log::record::{Event, OutboxPosition, Tail};
use crate::problem::Problem;
use crate::protocol::policy::Action;
use crate::protocol::{Conversation, Page, Participant};
use crate::shard::command::{Delivered, Done, Present, ShardError, Typing, Watched};
use crate::shard::file::store::{
    HeadRow, HeldMessage, KeyRow, Located, Marks, StoreError, UsedKey,
};
use crate::shard::replicas::Following;
use crate::shard::write::fate::Fate;
use crate::shard::write::head::Head;
use crate::shard::write::owner::write::Write;
use crate::shard::write::subscriptions::{Subscriber, SubscriberId};

/// A write with its caller.
#[derive(Debug)]
pub(in crate::shard) struct Asked {
    pub write: Write,
    pub deadline: Instant,
    pub fate: Fate,
    pub answer: oneshot::Sender<Result<Accepted, ShardError>>,
    /// Its place in the order of arrival; given by the loop.
    pub turn: u64,
}

impl Asked {
    /// Someone still waits for it.
    pub(super) fn has_caller(&self) -> bool {
        self.fate.is_open() && !self.answer.is_closed()
    }
}

/// What the loop answers to a write, after its commit.
#[derive(Debug)]
pub(in crate::shard) enum Accepted {
    /// As it stands.
    Done(Done),
    /// The key was used before: answer this message.
    SentAgain {
        conversation: ConversationName,
        seq: Seq,
    },
    /// The message was edited, or says what it was to say: answer it.
    Edited {
        conversation: ConversationName,
        seq: Seq,
    },
    /// The outbox has `users` rows of the record at `offset`, the caller's first.
    Created {
        view: Conversation,
        replayed: bool,
        offset: Offset,
        users: u32,
    },
    /// Likewise, for added or removed participants.
    Changed {
        done: Done,
        offset: Offset,
        users: u32,
    },
}

/// What a reader wants beside the proof that they may read.
#[derive(Debug, Clone)]
pub(in crate::shard) enum Want {
    /// The conversation itself.
    View,
    /// A page of its participants.
    Participants { after: Option<UserId>, limit: u32 },
    /// Its committed tail in memory and the offsets to wait for.
    Tail,
    /// Likewise, of one who may do that.
    May(Action),
}

/// A reader's ticket: what the loop knows that SQLite may not have yet.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct Ticket {
    pub view: Option<Conversation>,
    pub participants: Option<Page<Participant>>,
    /// Committed events that may not be applied yet, ascending; dense from SQLite's last seq on.
    pub tail: Vec<Arc<Event>>,
    /// Committed last seq.
    pub last_seq: Seq,
    /// Seq of the reader's latest join.
    pub joined: Seq,
    /// Offsets that touched the conversation, by stream; 0 when applied.
    pub touched: PerStream<Offset>,
    /// Offset of the last reaction there.
    pub reaction: Offset,
    /// Offset of the last record that closed a conversation of the shard.
    pub closings: Offset,
}

/// How a subscribing user stands in a conversation.
#[derive(Debug)]
pub(in crate::shard) enum Admission {
    Participant(Ticket),
    /// A participant whose removal is not committed yet; since when they are in, the head has
    /// forgotten.
    Leaving(Ticket),
    /// The conversation is closed; its last event for one who took part then.
    Closed(Option<Arc<Event>>),
    /// No participant; their own `left` may be in the tail, else in SQLite.
    Stranger(Ticket),
}

/// A head in memory of which the file has everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) enum Settled {
    /// There is no such conversation.
    Absent,
    /// As it stands.
    Head(Box<Head>),
}

/// What comes into the loop.
#[derive(Debug)]
pub(in crate::shard) enum Input {
    Write(Asked),
    Delivered(Vec<Delivered>),
    Begin {
        conversation: ConversationName,
        reader: UserId,
        want: Want,
        answer: oneshot::Sender<Result<Ticket, Problem>>,
    },
    Locate {
        id: MessageId,
        answer: oneshot::Sender<Option<Located>>,
    },
    /// What of a conversation is committed, at once: also while the head waits for something.
    Tail {
        conversation: ConversationName,
        answer: oneshot::Sender<Ticket>,
    },
    Touched {
        conversations: Vec<ConversationName>,
        user: Option<UserId>,
        answer: oneshot::Sender<PerStream<Offset>>,
    },
    Subscribe {
        subscriber: Subscriber,
        conversation: ConversationName,
        user: UserId,
        answer: oneshot::Sender<Result<Admission, Problem>>,
    },
    Unsubscribe(SubscriberId, Vec<(ConversationName, UserId)>),
    SubscribeIndex {
        subscriber: Subscriber,
        user: UserId,
        answer: oneshot::Sender<Offset>,
    },
    UnsubscribeIndex(SubscriberId, UserId),
    Typing(Typing, oneshot::Sender<Result<(), Problem>>),
    /// How users of this shard are; with `by` that node watches them from now on.
    Presence {
        by: Option<Subscriber>,
        users: Vec<Watched>,
        /// Also whether somebody may be online of whom nobody has told yet.
        answer: oneshot::Sender<Result<(Present, bool), Problem>>,
    },
    Unwatch(SubscriberId, Vec<UserId>),
    /// The head of a conversation, if it is in memory and the file has everything of it.
    Settled(ConversationName, oneshot::Sender<Option<Settled>>),
    /// Such a head is dropped.
    Refill(ConversationName),
    Forget(SubscriberId),
    OutboxDelivered(OutboxPosition),
    /// Keys that clients used before the shard was opened; `last`: there are no more.
    UsedKeys {
        keys: Vec<UsedKey>,
        last: bool,
    },
    /// Where the streams are committed, at least as far as anything was answered: an answer is
    /// given a moment before others can see the tail.
    Committed(oneshot::Sender<PerStream<Tail>>),
    /// Decide nothing, and say where the streams end when nothing is on its way.
    Hold(oneshot::Sender<PerStream<Tail>>),
    /// Decide again.
    Release,
    /// The shard was given to another node. The marks that were gathered for it are given back.
    Given(oneshot::Sender<Vec<Delivered>>),
    Close,
    /// A renewal says that another token is current.
    Taken,
    /// Its file, or what the log has for it, will not mend; another replica is to go on.
    Unfit(Following),
    /// How many wait for a commit.
    #[cfg(test)]
    Waiting(oneshot::Sender<usize>),
    /// How many writes are parked.
    #[cfg(test)]
    Parked(oneshot::Sender<usize>),
    /// How many conversations are in memory.
    #[cfg(test)]
    Heads(oneshot::Sender<usize>),
}

/// What a look-up brought.
#[derive(Debug)]
pub(in crate::shard) enum Looked {
    Head(Option<HeadRow>),
    Marks(Vec<Marks>),
    Key(Option<KeyRow>),
    At(Option<Located>),
    Held(Option<HeldMessage>),
    Reaction(Option<u32>),
    Later(bool),
}

impl Looked {
    /// Where a message is, when that was asked.
    pub(super) fn at(self) -> Option<Located> {
        match self {
            Self::At(at) => at,
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(in crate::shard) struct Completion {
    /// Whose look-up it was; `None`: where a message is was asked, for a write that waits for that.
    pub(super) conversation: Option<ConversationName>,
    /// Number of the look-up.
    pub(super) lookup: u64,
    pub(super) result: Result<Looked, StoreError>,
}

/// Waits for a commit.
#[derive(Debug)]
pub(in crate::shard) enum Waiter {
    /// Has a record of its own.
    Write(oneshot::Sender<Result<Accepted, ShardError>>, Box<Accepted>),
    /// Has none: a refusal, or the answer of an earlier write. It rests on what is not committed
    /// yet; when that is taken back it is decided anew.
    Rests(Box<Asked>, Box<Result<Accepted, Problem>>),
    /// Not decided before: it would be in the other stream, and not be taken back with what it
    /// rests on.
    Later(Box<Asked>),
    Ticket {
        conversation: ConversationName,
        reader: UserId,
        want: Want,
        answer: oneshot::Sender<Result<Ticket, Problem>>,
        outcome: Box<Result<Ticket, Problem>>,
    },
    /// To be asked again then: whether the user participates hangs on what is not committed yet.
    Subscribe {
        subscriber: Subscriber,
        conversation: ConversationName,
        user: UserId,
        answer: oneshot::Sender<Result<Admission, Problem>>,
    },
}

impl Waiter {
    /// No one waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Write(answer, _) => answer.is_closed(),
            Self::Rests(asked, _) | Self::Later(asked) => asked.answer.is_closed(),
            Self::Ticket { answer, .. } => answer.is_closed(),
            Self::Subscribe { answer, .. } => answer.is_closed(),
        }
    }
}
