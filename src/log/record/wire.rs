//! The protobuf of a record. Tags are for ever: a field may be added, never re-used or re-typed.
//! The ways between it and the typed [`super::Record`] are in [`super::to_wire`] and
//! [`super::from_wire`].

use bytes::Bytes;

use crate::log::record::wire_closing::{Closed, Erased, Pruned};
use crate::log::record::wire_view::{IndexView, OwnMark, ViewChange};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
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
    #[prost(message, tag = "7")]
    KeyUsed(KeyUsed),
    #[prost(message, tag = "8")]
    Banned(BanChange),
    #[prost(message, tag = "9")]
    Unbanned(BanChange),
    #[prost(message, tag = "10")]
    Pruned(Pruned),
    #[prost(message, tag = "11")]
    Erased(Erased),
    #[prost(message, tag = "14")]
    Viewed(ViewChange),
    #[prost(message, tag = "15")]
    OwnMark(OwnMark),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    #[prost(uint64, tag = "3")]
    pub(super) created: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) key: Option<Key>,
    #[prost(oneof = "Kind", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Key {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(bool, tag = "2")]
    pub(super) stamped: bool,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) fingerprint: Bytes,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "10")]
    Created(Created),
    #[prost(message, tag = "11")]
    Message(Message),
    #[prost(message, tag = "12")]
    Joined(Joined),
    #[prost(message, tag = "13")]
    Left(Left),
    #[prost(message, tag = "14")]
    Edited(Edited),
    #[prost(message, tag = "15")]
    Deleted(Deleted),
    #[prost(message, tag = "16")]
    Role(Role),
    #[prost(message, tag = "17")]
    Updated(Updated),
    #[prost(message, tag = "18")]
    Closed(Closed),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Created {
    #[prost(string, tag = "1")]
    pub(super) by: String,
    #[prost(string, optional, tag = "2")]
    pub(super) title: Option<String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) participants: Vec<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) data: Option<String>,
    /// Those that are not the default ones.
    #[prost(message, optional, tag = "5")]
    pub(super) settings: Option<Settings>,
}

/// Settings that change; each has a message of its own, so that one that stays is told from one
/// that is taken away.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Settings {
    /// 1: all, 2: moderators.
    #[prost(uint32, optional, tag = "1")]
    pub(super) post: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) add: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub(super) edit_window_s: Option<Number>,
    #[prost(bool, optional, tag = "4")]
    pub(super) typing: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) presence: Option<bool>,
    #[prost(message, optional, tag = "6")]
    pub(super) retention_s: Option<Number>,
}

/// A number, or none.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Number {
    #[prost(uint32, optional, tag = "1")]
    pub(super) value: Option<u32>,
}

/// A text, or none.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Text {
    #[prost(string, optional, tag = "1")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Role {
    #[prost(string, tag = "1")]
    pub(super) by: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    /// 1: admin, 2: moderator, 3: member, 4: reader.
    #[prost(uint32, tag = "3")]
    pub(super) role: u32,
    #[prost(uint64, optional, tag = "4")]
    pub(super) muted_until: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Updated {
    #[prost(string, tag = "1")]
    pub(super) by: String,
    #[prost(message, optional, tag = "2")]
    pub(super) title: Option<Text>,
    #[prost(message, optional, tag = "3")]
    pub(super) data: Option<Text>,
    #[prost(message, optional, tag = "4")]
    pub(super) settings: Option<Settings>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BanChange {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(string, tag = "3")]
    pub(super) by: String,
    #[prost(string, optional, tag = "4")]
    pub(super) reason: Option<String>,
    #[prost(uint64, tag = "5")]
    pub(super) at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, tag = "3")]
    pub(super) text: String,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) reply_to: Option<Bytes>,
    #[prost(string, optional, tag = "5")]
    pub(super) data: Option<String>,
    #[prost(string, repeated, tag = "6")]
    pub(super) mentions: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Edited {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) message_id: Bytes,
    #[prost(uint64, tag = "2")]
    pub(super) message_seq: u64,
    #[prost(string, tag = "3")]
    pub(super) by: String,
    #[prost(string, tag = "4")]
    pub(super) text: String,
    #[prost(string, optional, tag = "5")]
    pub(super) data: Option<String>,
    #[prost(string, repeated, tag = "6")]
    pub(super) mentions: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Deleted {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) message_id: Bytes,
    #[prost(uint64, tag = "2")]
    pub(super) message_seq: u64,
    #[prost(string, tag = "3")]
    pub(super) by: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyUsed {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(string, tag = "2")]
    pub(super) sender: String,
    #[prost(uint64, tag = "3")]
    pub(super) message_seq: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) key: Option<Key>,
    #[prost(uint64, tag = "5")]
    pub(super) at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Joined {
    #[prost(string, tag = "1")]
    pub(super) by: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) users: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) readers: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) muted: Vec<Muted>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Muted {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(uint64, tag = "2")]
    pub(super) until: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Left {
    #[prost(string, tag = "1")]
    pub(super) by: String,
    #[prost(string, tag = "2")]
    pub(super) user: String,
    #[prost(string, optional, tag = "3")]
    pub(super) admin: Option<String>,
    #[prost(bool, tag = "4")]
    pub(super) banned: bool,
    #[prost(string, optional, tag = "5")]
    pub(super) reason: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Index {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) conversation: String,
    #[prost(uint64, tag = "3")]
    pub(super) seq: u64,
    #[prost(bool, tag = "4")]
    pub(super) joined: bool,
    #[prost(uint64, tag = "5")]
    pub(super) at: u64,
    #[prost(message, optional, tag = "6")]
    pub(super) create_key: Option<Key>,
    #[prost(message, optional, tag = "7")]
    pub(super) view: Option<IndexView>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OutboxProgress {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(uint32, tag = "2")]
    pub(super) index: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Advances {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(uint64, tag = "2")]
    pub(super) ts: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) advances: Vec<OneAdvance>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OneAdvance {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(uint64, tag = "2")]
    pub(super) delivered: u64,
    #[prost(uint64, tag = "3")]
    pub(super) read: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reaction {
    #[prost(string, tag = "1")]
    pub(super) conversation: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) message_id: Bytes,
    #[prost(string, tag = "3")]
    pub(super) user: String,
    #[prost(uint32, optional, tag = "4")]
    pub(super) reaction: Option<u32>,
    #[prost(uint64, tag = "5")]
    pub(super) ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EpochStart {
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(string, tag = "2")]
    pub(super) node: String,
    #[prost(uint64, tag = "3")]
    pub(super) ts: u64,
}
