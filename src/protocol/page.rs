//! Pages: of lists, of the history of a conversation, and of its changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::Seq;
use crate::protocol::conversation::ListItem;
use crate::protocol::frames;
use crate::protocol::message::Message;

/// A page with an opaque cursor to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(crate) struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; null when there is none.
    pub next: Option<String>,
    /// Some items are not whole; absent when all are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A page of the caller's conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PageOfConversationItem")]
pub(crate) struct ListPage {
    /// What is on it.
    pub items: Vec<ListItem>,
    /// What to give as `after` for the next page; null when there is none.
    pub next: Option<String>,
    /// Some items are not whole; absent when all are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// On the first page: how many messages are unread in all of the caller's conversations, of
    /// each at most 1,000; null when they have more than 2,000, or an owner did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub unread_total: Option<Option<u32>>,
    /// On the first page: the server's clock, in unix milliseconds, to be given as `changed_since`
    /// later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub now: Option<u64>,
}

/// A page of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HistoryPage {
    /// The messages, in the order asked for.
    pub items: Vec<Message>,
    /// The lowest seq given if there are older matches, else null.
    pub before: Option<Seq>,
    /// The highest seq given if there are newer matches, else null.
    pub after: Option<Seq>,
}

/// A page of a conversation's changes: the objects of the `message` and `event` frames, dense by
/// seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EventsPage")]
pub(crate) struct EventsPage<T = Value> {
    /// The changes, oldest first.
    #[schemars(schema_with = "frames::committed_frames")]
    pub items: Vec<T>,
    /// What to give as `after` for the next page; null when there is none.
    pub next: Option<Seq>,
}
