//! Commands, queries, and their answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, IdempotencyKey, MessageId, Offset, Seq, UserId};
use crate::log::record::{Event, EventKind, Fingerprint, IndexChange};
use crate::problem::Problem;
use crate::protocol::{
    Conversation, ConversationItem, JsonObject, Message, MessageCore, Participant,
};
use crate::shard::command::audit::{AuditAsk, AuditTold};
use crate::shard::command::writes::{
    Add, Ban, Close, Create, Delete, Delivered, Edit, MarkRead, React, Remove, Send, SetOwnMark,
    SetParticipant, SetView, Typing, Unban, Update,
};
use crate::shard::push::IndexItem;

/// A write. Each is decided by the shard's owner against the head, and answered after its commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Create a conversation. Goes to the conversation's shard. Answer: [`Done::Created`].
    Create(Create),
    /// Write a message. Answer: [`Done::Sent`].
    Send(Send),
    /// Change what a message says. Answer: [`Done::Edited`].
    Edit(Edit),
    /// Delete a message. Answer: [`Done::Deleted`].
    Delete(Delete),
    /// Add participants. Answer: [`Done::Added`].
    Add(Add),
    /// Remove a participant, or leave. Answer: [`Done::Removed`].
    Remove(Remove),
    /// Change a conversation. Since version 8 of the peer contract. Answer: [`Done::Updated`].
    Update(Update),
    /// Delete a conversation. Since version 10 of the peer contract. Answer: [`Done::Closed`].
    Close(Close),
    /// Change what a participant may do. Since version 8 of the peer contract. Answer:
    /// [`Done::Set`].
    SetParticipant(SetParticipant),
    /// Ban a user. Since version 8 of the peer contract. Answer: [`Done::Banned`].
    Ban(Ban),
    /// End a ban. Since version 8 of the peer contract. Answer: [`Done::Banned`].
    Unban(Unban),
    /// Change what a participant set for themselves alone. Since version 11 of the peer contract.
    /// Answer: [`Done::Marked`].
    View(SetView),
    /// Set up to where a participant counts as having read. Since version 11 of the peer contract.
    /// Answer: [`Done::Marked`].
    OwnMark(SetOwnMark),
    /// Move the read watermark of a participant to a message. Answer: [`Done::Marked`].
    MarkRead(MarkRead),
    /// Set or take back a reaction. Answer: [`Done::Marked`].
    React(React),
    /// Move delivered watermarks. Automatic, so it may be shed: answered at once, before any
    /// commit; what names no participant or does not advance is ignored. Answer: [`Done::Marked`].
    Delivered(Vec<Delivered>),
    /// Tell the others of a conversation that a participant types. No write: nothing of it is
    /// logged, and it may be dropped. Since version 7 of the peer contract. Answer:
    /// [`Done::Typed`].
    Typing(Typing),
    /// Change users' indexes. Goes to the users' shard (all of one shard). Answer after the commit
    /// of all: [`Done::Indexed`].
    Index(Vec<IndexChange>),
    /// Write a message again that a replica has and the log lost (see `shard::replica::orphans`):
    /// with its old id, time and key, and a new seq. Without effect when its conversation has that
    /// id or that key already, or its author is no participant now. Answer: [`Done::Resubmitted`].
    Resubmit(Arc<Event>),
}

/// Answer to a command that was accepted, at the commit level (but for [`Command::Delivered`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Done {
    /// The conversation. Answered when the index record of its creator is committed too.
    Created {
        /// As it is now.
        conversation: Conversation,
        /// True when the key had made it before.
        replayed: bool,
    },
    /// The message.
    Sent {
        /// As it is now.
        message: Message,
        /// True when the key had made it before.
        replayed: bool,
    },
    /// The message, as it is now.
    Edited(Message),
    /// The message is deleted.
    Deleted,
    /// The conversation with its new participants, whose indexes are committed too (or soon will
    /// be).
    Added(Conversation),
    /// The user is no participant any more; their index is committed too (or soon will be).
    Removed,
    /// The conversation as it is now.
    Updated(Conversation),
    /// The conversation is deleted; the list of whoever did it has it no more (or soon will not).
    Closed,
    /// The participant as they are now.
    Set(Participant),
    /// The user is banned, or is not any more, as was asked; one who took part is removed.
    Banned,
    /// The mark holds.
    Marked,
    /// All index changes hold.
    Indexed,
    /// The message is in the history; true when it was put there now. Or it has no place there any
    /// more.
    Resubmitted(bool),
    /// It is allowed; whether anybody is told is not said.
    Typed,
}

/// The fields of a message that are the same for every reader, of an event that is one.
#[must_use]
pub(crate) fn core_of(event: &Event) -> Option<MessageCore> {
    let EventKind::Message {
        id,
        source,
        text,
        reply_to,
        data,
        mentions,
        since,
    } = &event.kind
    else {
        return None;
    };
    let deleted_by = since.as_ref().and_then(|since| since.deleted_by.clone());

    Some(MessageCore {
        id: *id,
        conversation: event.conversation.clone(),
        seq: event.seq,
        source: source.clone(),
        text: text.as_ref().to_owned(),
        reply_to: *reply_to,
        created: event.created,
        edited: since.as_ref().and_then(|since| since.edited),
        deleted: deleted_by.is_some(),
        data: data.clone().map(JsonObject::stored),
        mentions: mentions.clone(),
        deleted_by,
    })
}

/// A read. Strict: it sees everything acknowledged before it began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Query {
    /// Answer: [`Found::Conversation`].
    Conversation {
        name: ConversationName,
        reader: UserId,
    },
    /// Participants by name. Answer: [`Found::Participants`].
    Participants {
        name: ConversationName,
        reader: UserId,
        after: Option<UserId>,
        limit: u32,
    },
    /// Answer: [`Found::History`].
    History(HistoryQuery),
    /// Events after a seq, dense. Answer: [`Found::Events`].
    Events {
        name: ConversationName,
        reader: UserId,
        after: Seq,
        limit: u32,
    },
    /// Watermarks by name. Answer: [`Found::Watermarks`].
    Watermarks {
        name: ConversationName,
        reader: UserId,
        after: Option<UserId>,
        limit: u32,
    },
    /// Answer: [`Found::Message`].
    Message { id: MessageId, reader: UserId },
    /// Receipts of a message, for its sender, by name. Answer: [`Found::Receipts`].
    Receipts {
        id: MessageId,
        reader: UserId,
        after: Option<UserId>,
        limit: u32,
    },
    /// Reactions to a message, by the name of who reacted. Since version 9 of the peer contract.
    /// Answer: [`Found::Reactions`].
    Reactions {
        id: MessageId,
        reader: UserId,
        after: Option<UserId>,
        limit: u32,
    },
    /// What the list of conversations shows, for names that are all of this shard; in the order
    /// asked, `None` where the reader is no participant (any more). Answer: [`Found::Summaries`].
    Summaries {
        names: Vec<ConversationName>,
        reader: UserId,
    },
    /// At most so many of a user's list: what they pinned in their order, then the newest joined
    /// first; behind the place of the last item of the page before. `archived`: only of those that
    /// they put away, or of the others. Answer: [`Found::Index`].
    Index {
        user: UserId,
        after: Option<ListPlace>,
        archived: Option<bool>,
        limit: u32,
    },
    /// What a user created under an idempotency key in the last 24 h. Answer: [`Found::CreateKey`].
    CreateKey { user: UserId, key: IdempotencyKey },
    /// Who is banned, by name, for those who may ban. Since version 8 of the peer contract. Answer:
    /// [`Found::Bans`].
    Bans {
        name: ConversationName,
        reader: UserId,
        after: Option<UserId>,
        limit: u32,
    },
    /// Whose presence the reader may know: participants who have sent, read or reacted since they
    /// joined, by name. Since version 7 of the peer contract. Answer: [`Found::Acquainted`].
    Acquainted {
        name: ConversationName,
        reader: UserId,
    },
    /// What an audit compares. Since version 9 of the peer contract. Answer: [`Found::Audit`].
    Audit(AuditAsk),
}

/// Which page of a history, nearest to a seq.
#[expect(
    clippy::enum_variant_names,
    reason = "each is named like its parameter in the client contract"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Around {
    /// The newest page.
    Newest,
    /// The oldest page.
    Oldest,
    /// Nearest below this seq, exclusive.
    Before(Seq),
    /// Nearest above this seq, exclusive.
    After(Seq),
    /// Nearest on both sides of this seq, inclusive.
    Around(Seq),
}

/// A page of messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HistoryQuery {
    pub conversation: ConversationName,
    pub reader: UserId,
    pub around: Around,
    /// Sorts the page: ascending by seq, or descending.
    pub ascending: bool,
    pub limit: u32,
    pub source: Option<UserId>,
    pub reply_to: Option<MessageId>,
}

/// Answer to a read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Found {
    Conversation(Conversation),
    Participants(crate::protocol::Page<Participant>),
    History(crate::protocol::HistoryPage),
    Events {
        items: Vec<Arc<Event>>,
        next: Option<Seq>,
        /// Everything up to there is gone: they begin behind it.
        #[serde(default)]
        pruned: Seq,
    },
    Watermarks(crate::protocol::Page<crate::protocol::Watermark>),
    Message(Message),
    Receipts(crate::protocol::Page<crate::protocol::Receipt>),
    Reactions(crate::protocol::Page<crate::protocol::Reaction>),
    Summaries(Vec<Option<ConversationItem>>),
    Index(Vec<Listed>),
    CreateKey(Option<CreateKeyUse>),
    Acquainted(Vec<UserId>),
    Bans(crate::protocol::Page<crate::protocol::Ban>),
    Audit(AuditTold),
}

/// A place in a user's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListPlace {
    /// Their order of those that they pinned; all others are behind these.
    pub pinned: Option<u32>,
    /// Offset of the index record.
    pub version: Offset,
}

/// A conversation in a user's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// The membership.
    pub item: IndexItem,
    /// Their order of those that they pinned.
    pub pinned: Option<u32>,
    /// They put it away.
    pub archived: bool,
}

impl Listed {
    /// Where it stands in the order of joining.
    pub(crate) fn place(&self) -> ListPlace {
        ListPlace {
            pinned: self.pinned,
            version: self.item.version,
        }
    }
}

/// What a key created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateKeyUse {
    /// The conversation.
    pub name: ConversationName,
    /// Of the request that created it.
    pub fingerprint: Fingerprint,
}

/// Interest of a node in one conversation, on behalf of one of its users.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Interest {
    /// Which conversation.
    pub conversation: ConversationName,
    /// For whom; must be a participant.
    pub user: UserId,
    /// Also return what came after this seq.
    pub after: Option<Seq>,
    /// At most so many events; the caller asks again from the last one.
    pub limit: u32,
    /// Also tell whether a membership of the user ended after this seq, before the one that stands.
    #[serde(default)]
    pub since: Option<Seq>,
}

/// Answer to an [`Interest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Subscribed {
    /// From now on every event after `tail` is pushed.
    Live {
        /// Committed tail of the conversation at the moment of subscribing.
        tail: Seq,
        /// Seq at which the user joined last.
        joined: Seq,
        /// Events from `after + 1`, dense, up to `tail` unless the limit cut them. Empty without
        /// `after`, or when `after` is at or past the tail.
        events: Vec<Arc<Event>>,
        /// Seq of the user's last `left`, if that is after the `since` that was asked for.
        #[serde(default)]
        departed: Option<Seq>,
        /// Everything up to there is gone, as far as that was looked for: the events begin behind
        /// it. 0 of an owner that does not know it.
        #[serde(default)]
        pruned: Seq,
    },
    /// The user left or was removed at `left`; nothing is pushed for them. Only given when `after`
    /// lies within their last membership, so that they can be told up to their own `left`.
    Ended {
        /// Seq of their `left`.
        left: Seq,
        /// Events from `after + 1`, dense, up to `left` unless the limit cut them.
        events: Vec<Arc<Event>>,
        /// Seq of the user's last `left` before that membership, if it is after the `since` that
        /// was asked for.
        #[serde(default)]
        departed: Option<Seq>,
        /// Everything up to there is gone, as far as that was looked for: the events begin behind
        /// it. 0 of an owner that does not know it.
        #[serde(default)]
        pruned: Seq,
    },
    /// The conversation was deleted when the user took part in it; this is its last event, and what
    /// was before it is gone. Since version 10 of the peer contract.
    Closed {
        /// The `closed` event.
        event: Arc<Event>,
    },
    /// Not a participant, or no such conversation: the caller cannot tell which.
    NotParticipant,
    /// Not now; ask again.
    Failed(Problem),
}

/// Why a shard did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum ShardError {
    /// Refused, or not possible now; for the client.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Surely nothing was done: this node does not own the shard (any more). Ask the owner.
    #[error("not the owner of the shard")]
    NotOwner,
}
