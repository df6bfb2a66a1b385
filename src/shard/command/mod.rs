//! The domain's words: what can be asked of a shard and what it answers. Everything here can travel
//! over a link, so fields are only ever added, with a default.

mod audit;

mod writes;

mod words;

pub(crate) use self::audit::{AuditAsk, AuditTold, Differing, Moment, Pair, Row, Stand};
pub(crate) use self::words::{
    Around, Command, CreateKeyUse, Done, Found, HistoryQuery, Interest, ListPlace, Listed, Query,
    ShardError, Subscribed, core_of,
};
pub(crate) use self::writes::{
    Add, Ban, Close, Create, Delete, Delivered, Edit, MarkRead, React, Remove, Send, SetOwnMark,
    SetParticipant, SetView, Typing, Unban, Update,
};
pub(crate) use crate::log::lease::Freshness;
pub(crate) use crate::protocol::Patch;
pub(crate) use crate::shard::push::{IndexItem, Present, Push, Unread, Watched};
