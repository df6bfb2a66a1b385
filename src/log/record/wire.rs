//! The protobuf of a record, and the way between it and the typed [`super::Record`]. Tags are for
//! ever: a field may be added, never re-used or re-typed.

use std::sync::Arc;

use bytes::Bytes;

use super::{Advance, IndexChange, KeyUse, OutboxPosition};
use crate::ids::{ConversationName, Epoch, MessageId, NodeId, Offset, Seq, UserId};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Body {
    #[prost(message, tag = "1")]
    Event(Event),
    #[prost(message, tag = "2")]
    Index(Index),
    #[prost(message, tag = "3")]
    OutboxProgress(OutboxProgress),
    #[prost(message, tag = "4")]
    Advances(Advances),
    #[prost(message, tag = "5")]
    Reaction(Reaction),
    #[prost(message, tag = "6")]
    EpochStart(EpochStart),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "1")]
    conversation: String,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint64, tag = "3")]
    created: u64,
    #[prost(message, optional, tag = "4")]
    key: Option<Key>,
    #[prost(oneof = "Kind", tags = "10, 11, 12, 13")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Key {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bool, tag = "2")]
    stamped: bool,
    #[prost(bytes = "bytes", tag = "3")]
    fingerprint: Bytes,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "10")]
    Created(Created),
    #[prost(message, tag = "11")]
    Message(Message),
    #[prost(message, tag = "12")]
    Joined(Joined),
    #[prost(message, tag = "13")]
    Left(Left),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Created {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(string, optional, tag = "2")]
    title: Option<String>,
    #[prost(string, repeated, tag = "3")]
    participants: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    text: String,
    #[prost(bytes = "bytes", optional, tag = "4")]
    reply_to: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Joined {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(string, repeated, tag = "2")]
    users: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Left {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(string, optional, tag = "3")]
    admin: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Index {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    conversation: String,
    #[prost(uint64, tag = "3")]
    seq: u64,
    #[prost(bool, tag = "4")]
    joined: bool,
    #[prost(uint64, tag = "5")]
    at: u64,
    #[prost(message, optional, tag = "6")]
    create_key: Option<Key>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OutboxProgress {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint32, tag = "2")]
    index: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Advances {
    #[prost(string, tag = "1")]
    conversation: String,
    #[prost(uint64, tag = "2")]
    ts: u64,
    #[prost(message, repeated, tag = "3")]
    advances: Vec<OneAdvance>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OneAdvance {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(uint64, tag = "2")]
    delivered: u64,
    #[prost(uint64, tag = "3")]
    read: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reaction {
    #[prost(string, tag = "1")]
    conversation: String,
    #[prost(bytes = "bytes", tag = "2")]
    message_id: Bytes,
    #[prost(string, tag = "3")]
    user: String,
    #[prost(uint32, optional, tag = "4")]
    reaction: Option<u32>,
    #[prost(uint64, tag = "5")]
    ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EpochStart {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    ts: u64,
}

// ---- typed → wire
// -------------------------------------------------------------------------------------------------

fn id_bytes(id: &MessageId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn names(users: &[UserId]) -> Vec<String> {
    users.iter().map(UserId::to_string).collect()
}

fn wire_key(key: &KeyUse) -> Key {
    Key {
        key: key.key.to_string(),
        stamped: key.stamped,
        fingerprint: Bytes::copy_from_slice(&key.fingerprint),
    }
}

impl From<&super::Record> for Record {
    fn from(record: &super::Record) -> Self {
        let body = match record {
            super::Record::Event(event) => Some(Body::Event(wire_event(event))),
            super::Record::Index(change) => Some(Body::Index(Index {
                user: change.user.to_string(),
                conversation: change.conversation.to_string(),
                seq: change.seq.0,
                joined: change.joined,
                at: change.at,
                create_key: change.create_key.as_ref().map(wire_key),
            })),
            super::Record::OutboxProgress { upto } => Some(Body::OutboxProgress(OutboxProgress {
                offset: upto.offset.0,
                index: upto.index,
            })),
            super::Record::Advances {
                conversation,
                ts,
                advances,
            } => Some(Body::Advances(Advances {
                conversation: conversation.to_string(),
                ts: *ts,
                advances: advances.iter().map(wire_advance).collect(),
            })),
            super::Record::Reaction {
                conversation,
                message_id,
                user,
                reaction,
                ts,
            } => Some(Body::Reaction(Reaction {
                conversation: conversation.to_string(),
                message_id: id_bytes(message_id),
                user: user.to_string(),
                reaction: *reaction,
                ts: *ts,
            })),
            super::Record::EpochStart { epoch, node, ts } => Some(Body::EpochStart(EpochStart {
                epoch: epoch.0,
                node: node.to_string(),
                ts: *ts,
            })),
            super::Record::Unreadable { .. } => None,
        };
        Self { body }
    }
}

fn wire_advance(advance: &Advance) -> OneAdvance {
    OneAdvance {
        user: advance.user.to_string(),
        delivered: advance.delivered.0,
        read: advance.read.0,
    }
}

fn wire_event(event: &super::Event) -> Event {
    let kind = match &event.kind {
        super::EventKind::Created {
            by,
            title,
            participants,
        } => Kind::Created(Created {
            by: by.to_string(),
            title: title.as_deref().map(str::to_owned),
            participants: names(participants),
        }),
        super::EventKind::Message {
            id,
            source,
            text,
            reply_to,
        } => Kind::Message(Message {
            id: id_bytes(id),
            source: source.to_string(),
            text: text.as_ref().to_owned(),
            reply_to: reply_to.as_ref().map(id_bytes),
        }),
        super::EventKind::Joined { by, users } => Kind::Joined(Joined {
            by: by.to_string(),
            users: names(users),
        }),
        super::EventKind::Left { by, user, admin } => Kind::Left(Left {
            by: by.to_string(),
            user: user.to_string(),
            admin: admin.as_ref().map(UserId::to_string),
        }),
    };
    Event {
        conversation: event.conversation.to_string(),
        seq: event.seq.0,
        created: event.created,
        key: event.key.as_ref().map(wire_key),
        kind: Some(kind),
    }
}

// ---- wire → typed
// -------------------------------------------------------------------------------------------------

type Bad = &'static str;

fn user(text: &str) -> Result<UserId, Bad> {
    UserId::parse(text).map_err(|_wrong| "a user's name breaks the rules for names")
}

fn users(texts: &[String]) -> Result<Vec<UserId>, Bad> {
    texts.iter().map(|text| user(text)).collect()
}

fn conversation(text: &str) -> Result<ConversationName, Bad> {
    ConversationName::parse(text)
        .map_err(|_wrong| "a conversation's name breaks the rules for names")
}

fn message_id(bytes: &[u8]) -> Result<MessageId, Bad> {
    let uuid = uuid::Uuid::from_slice(bytes).map_err(|_wrong| "a message id is not 16 bytes")?;
    MessageId::from_uuid(uuid).ok_or("a message id has another version")
}

fn typed_key(key: Key) -> Result<KeyUse, Bad> {
    let fingerprint = key
        .fingerprint
        .as_ref()
        .try_into()
        .map_err(|_wrong| "a fingerprint is not 16 bytes")?;
    Ok(KeyUse {
        key: Arc::from(key.key),
        stamped: key.stamped,
        fingerprint,
    })
}

impl TryFrom<Record> for super::Record {
    type Error = Bad;

    fn try_from(record: Record) -> Result<Self, Bad> {
        Ok(
            match record
                .body
                .ok_or("a kind of record that this version does not know")?
            {
                Body::Event(event) => Self::Event(Arc::new(typed_event(event)?)),
                Body::Index(change) => Self::Index(Arc::new(IndexChange {
                    user: user(&change.user)?,
                    conversation: conversation(&change.conversation)?,
                    seq: Seq(change.seq),
                    joined: change.joined,
                    at: change.at,
                    create_key: change.create_key.map(typed_key).transpose()?,
                })),
                Body::OutboxProgress(progress) => Self::OutboxProgress {
                    upto: OutboxPosition {
                        offset: Offset(progress.offset),
                        index: progress.index,
                    },
                },
                Body::Advances(set) => Self::Advances {
                    conversation: conversation(&set.conversation)?,
                    ts: set.ts,
                    advances: set
                        .advances
                        .iter()
                        .map(typed_advance)
                        .collect::<Result<_, _>>()?,
                },
                Body::Reaction(reaction) => Self::Reaction {
                    conversation: conversation(&reaction.conversation)?,
                    message_id: message_id(&reaction.message_id)?,
                    user: user(&reaction.user)?,
                    reaction: reaction.reaction,
                    ts: reaction.ts,
                },
                Body::EpochStart(start) => Self::EpochStart {
                    epoch: Epoch(start.epoch),
                    node: NodeId::from(start.node.as_str()),
                    ts: start.ts,
                },
            },
        )
    }
}

fn typed_advance(advance: &OneAdvance) -> Result<Advance, Bad> {
    Ok(Advance {
        user: user(&advance.user)?,
        delivered: Seq(advance.delivered),
        read: Seq(advance.read),
    })
}

fn typed_event(event: Event) -> Result<super::Event, Bad> {
    let kind = match event
        .kind
        .ok_or("a kind of event that this version does not know")?
    {
        Kind::Created(created) => super::EventKind::Created {
            by: user(&created.by)?,
            title: created.title.map(Arc::from),
            participants: users(&created.participants)?,
        },
        Kind::Message(message) => super::EventKind::Message {
            id: message_id(&message.id)?,
            source: user(&message.source)?,
            text: Arc::from(message.text),
            reply_to: message.reply_to.as_deref().map(message_id).transpose()?,
        },
        Kind::Joined(joined) => super::EventKind::Joined {
            by: user(&joined.by)?,
            users: users(&joined.users)?,
        },
        Kind::Left(left) => super::EventKind::Left {
            by: user(&left.by)?,
            user: user(&left.user)?,
            admin: left.admin.as_deref().map(user).transpose()?,
        },
    };
    Ok(super::Event {
        conversation: conversation(&event.conversation)?,
        seq: Seq(event.seq),
        created: event.created,
        key: event.key.map(typed_key).transpose()?,
        kind,
    })
}
