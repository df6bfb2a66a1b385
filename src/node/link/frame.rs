//! The peer contract: what travels over a link, as MessagePack with named fields. Fields and variants are only ever
//! added: what a reader does not know it skips, what an older writer left out has a default. A new variant is sent only
//! to a peer whose version, told when the link is opened, knows it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Offset, ShardId, UserId};
use crate::protocol::ConversationItem;
use crate::shard::IndexPage;
use crate::shard::command::{Command, Done, Found, Freshness, Interest, Push, Query, ShardError, Subscribed};
use crate::shard::log::record::{Event, EventKind};

/// Version of the peer contract that this build speaks.
pub const PEER_VERSION: u16 = 1;

/// Oldest version that this build still understands.
pub const PEER_VERSION_MIN: u16 = 1;

/// Largest frame, in bytes. A larger one is neither sent nor read: the request fails, the link lives on.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Bytes of events in one answer to [`Body::Subscribe`]; the rest is cut as if by the interest's limit.
pub const EVENT_BYTES_MAX: usize = 8 << 20;

/// One frame. `B` is the body of a request, owned or borrowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Frame<B = Body> {
    /// From the node that opened the link.
    Request(Request<B>),
    /// To the node that opened the link, in any order.
    Answer(Answer),
    /// To the node that opened the link: pushes of its subscriptions, per shard in the order of their commits.
    Pushes(Vec<Push>),
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request<B = Body> {
    /// Names the request on this link; its answer carries it.
    pub id: u64,
    /// What is left of the request's budget, in milliseconds.
    pub deadline_ms: u64,
    /// Version of the table by which the requester chose this node.
    #[serde(default)]
    pub table_version: u64,
    /// What is asked.
    pub body: B,
}

/// The answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// Of which request.
    pub id: u64,
    /// Version of the table that the answering node follows: with `NotOwner`, the hint where to look.
    #[serde(default)]
    pub table_version: u64,
    /// What became of it.
    pub result: Result<Outcome, ShardError>,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are those of ShardHandle's methods")]
pub enum Body {
    /// Execute a command. Answer: [`Outcome::Done`].
    Execute { shard: ShardId, command: Command },
    /// Read. Answer: [`Outcome::Found`].
    Query { shard: ShardId, query: Query },
    /// Summaries of conversations of several shards. Answer: [`Outcome::Summaries`].
    Summaries { reader: UserId, parts: Vec<(ShardId, Vec<ConversationName>)> },
    /// Subscribe to conversations of several shards. Answer: [`Outcome::Subscribed`].
    Subscribe { parts: Vec<(ShardId, Vec<Interest>)> },
    /// End interests. Answer: [`Outcome::Ended`].
    Unsubscribe { parts: Vec<(ShardId, Vec<(ConversationName, UserId)>)> },
    /// Subscribe to a user's index. Answer: [`Outcome::IndexPage`].
    SubscribeIndex { shard: ShardId, user: UserId, after: Offset, limit: u32 },
    /// End interest in a user's index. Answer: [`Outcome::Ended`].
    UnsubscribeIndex { shard: ShardId, user: UserId },
}

/// What became of a request that was served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Outcome {
    /// Of [`Body::Execute`].
    Done(Done),
    /// Of [`Body::Query`].
    Found(Found, Freshness),
    /// Of [`Body::Summaries`]: one for each part, in their order.
    Summaries(Vec<Result<Vec<Option<ConversationItem>>, ShardError>>),
    /// Of [`Body::Subscribe`]: one for each part, in their order.
    Subscribed(Vec<Result<Vec<Subscribed>, ShardError>>),
    /// Of [`Body::SubscribeIndex`].
    IndexPage(IndexPage),
    /// Of [`Body::Unsubscribe`] and [`Body::UnsubscribeIndex`].
    Ended,
}

/// A frame that cannot be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Over [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// Not of this contract.
    #[error("not a frame of the peer contract: {0}")]
    Malformed(String),
}

/// A value as MessagePack with named fields.
///
/// # Errors
/// [`FrameError::TooLarge`], or a value that has no form in MessagePack.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = rmp_serde::to_vec_named(value).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if bytes.len() < FRAME_BYTES_MAX { Ok(bytes) } else { Err(FrameError::TooLarge(bytes.len())) }
}

/// The value in these bytes; unknown fields are skipped.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    rmp_serde::from_slice(bytes).map_err(|error| FrameError::Malformed(error.to_string()))
}

/// About how many bytes an event takes on a link, never much less.
#[must_use]
pub fn event_weight(event: &Event) -> usize {
    let names = |users: &[UserId]| users.iter().map(|user| user.as_str().len() + 4).sum::<usize>();
    let kind = match &event.kind {
        EventKind::Created { participants, title, .. } => names(participants) + title.as_ref().map_or(0, |t| t.len()),
        EventKind::Message { text, .. } => text.len(),
        EventKind::Joined { users, .. } => names(users),
        EventKind::Left { .. } => 256,
    };
    kind + 512
}

/// About how many bytes a push takes on a link, never much less.
#[must_use]
pub fn push_weight(push: &Push) -> usize {
    match push {
        Push::Event { event, .. } => event_weight(event),
        Push::Watermark { targets, .. } => targets.iter().map(|user| user.as_str().len() + 4).sum::<usize>() + 512,
        Push::Reaction { .. } | Push::Index { .. } | Push::Resubscribe { .. } => 512,
    }
}

/// Cuts the events of an answer to [`Body::Subscribe`] so that it fits a frame. What is cut looks as if the interest's
/// limit had cut it, so the subscriber asks again from where it stands.
pub fn cut_events(parts: &mut [Result<Vec<Subscribed>, ShardError>]) {
    let mut left = EVENT_BYTES_MAX;
    for subscribed in parts.iter_mut().flatten().flatten() {
        if let Subscribed::Live { events, .. } | Subscribed::Ended { events, .. } = subscribed {
            let fits = events.iter().take_while(|event| {
                let weight = event_weight(event);
                let room = left.checked_sub(weight);
                left = room.unwrap_or(0);
                room.is_some()
            });
            let keep = fits.count();
            events.truncate(keep);
        }
    }
}
