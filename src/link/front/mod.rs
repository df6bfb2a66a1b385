//! The front contract: what travels over a link between a router and a node (ADR 7). Fields and
//! variants are only ever added: what a reader does not know it skips, and what an older writer
//! left out has a default.
//!
//! **Invariants.** A session's number is chosen by the router and never used again on its
//! connection. All frames of a session are in order. A handle names a conversation from its
//! [`Down::Known`] to its [`Down::Forgotten`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, NodeId, Seq, SessionId};
use crate::link::ROUTERS_SINCE;
use crate::link::codec::raw;
use crate::link::front::attach::{Attach, Repeat, Stage, Stand, Tells};
use crate::link::front::carry::Since;
use crate::problem::{CloseCode, Problem};

pub mod attach;
pub mod calls;
mod carry;
pub mod client;
pub mod queue;
mod request;
mod rest;
pub mod server;

#[cfg(test)]
mod tests;

pub use rest::{Call, Key, Part, Reply};

/// Bytes of a body in one part of a [`Reply`].
pub const PART_BYTES_MAX: usize = 64 << 10;

/// What a frame takes beside the texts in it, about.
const FRAME_WEIGHT: usize = 64;

/// Names a session on one connection of a link.
pub type SessionNumber = u64;

/// Names a request on one connection of a link.
pub type CallNumber = u64;

/// Stands for the name of a conversation on one connection of a link.
pub type Handle = u32;

/// From a router to a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Up {
    /// A REST request.
    Call(Call),
    /// A session begins. Answered by [`Down::Opened`] or [`Down::Refused`].
    Open(Open),
    /// A whole text message of the session's client.
    Said {
        /// Whose.
        session: SessionNumber,
        /// UTF-8, at most [`FRAME_BYTES_MAX`](crate::protocol::FRAME_BYTES_MAX).
        #[serde(with = "raw")]
        text: Bytes,
        /// Its number among the messages of the session, from 1 on; 0 from a router that does not
        /// follow its sessions.
        #[serde(default)]
        number: u64,
        /// For what may be carried out once only and has no key of the client's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Whether it is said again.
        #[serde(default, skip_serializing_if = "is_first")]
        repeat: Repeat,
    },
    /// Bytes of [`Down::Deliver`] that the sockets took since this was said last.
    Taken(Vec<(SessionNumber, u32)>),
    /// What clients have surely read, by conversations.
    Read(Vec<(SessionNumber, Vec<(Handle, Seq)>)>),
    /// The client's socket has ended, or is closed by the router.
    Gone(SessionNumber),
}

/// From a node to a router.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Down {
    /// The answer to [`Up::Call`], or its next part.
    Reply(Reply),
    /// The session is live, or closed at once.
    Opened {
        /// Which.
        session: SessionNumber,
        /// Its name for the client and for logs.
        id: SessionId,
        /// The client offered the subprotocol `rookery.v1`, which the answer to the upgrade
        /// repeats.
        protocol: bool,
        /// What the node allows it.
        #[serde(default)]
        terms: Terms,
        /// How far it is; none from a node that does not tell what another one would need.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
    },
    /// There is no session.
    Refused {
        /// Which.
        session: SessionNumber,
        /// Why.
        why: Refusal,
    },
    /// One frame for these sessions.
    Deliver {
        /// Whom.
        to: Vec<SessionNumber>,
        /// Whom too, though they need no delivered mark: it is their own message, or no message.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        quiet: Vec<SessionNumber>,
        /// The text of the WebSocket message.
        #[serde(with = "raw")]
        text: Bytes,
        /// The event in it: all sessions stand after it from here on, and those of `to` have read
        /// it once they have read the frame.
        event: Option<(Handle, Seq)>,
        /// What it says of the session beside that.
        #[serde(default, skip_serializing_if = "Tells::is_nothing")]
        tells: Tells,
    },
    /// Bytes of [`Up::Said`] that are worked off.
    Room(Vec<(SessionNumber, u32)>),
    /// From now on this handle stands for this conversation.
    Known {
        /// The handle.
        handle: Handle,
        /// What it stands for.
        conversation: ConversationName,
    },
    /// From now on this handle stands for nothing.
    Forgotten(Handle),
    /// The session ends after what was delivered.
    Close {
        /// Which.
        session: SessionNumber,
        /// How.
        code: CloseCode,
    },
    /// What another node would need of a session that is followed: what was not said with a frame
    /// of its own.
    Stands {
        /// Which.
        session: SessionNumber,
        /// How far it is, if that has changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// How it stands in conversations that are live on this link.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        at: Vec<(Handle, Stand)>,
        /// Conversations that its user is not in, with the seq up to which their stays are known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        out: Vec<(ConversationName, Seq)>,
    },
    /// A message was worked on, and has no answer.
    Answered {
        /// Whose.
        session: SessionNumber,
        /// Which: what its answer would tell.
        tells: Tells,
    },
    /// The session has a newer token.
    Token {
        /// Which.
        session: SessionNumber,
        /// The token.
        token: String,
    },
    /// This node holds the session no more, and another one is to go on with it.
    Move(SessionNumber),
}

/// A session is to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Open {
    /// Its number, chosen by the router.
    pub session: SessionNumber,
    /// What is left of the time for it, in milliseconds.
    pub deadline_ms: u64,
    /// Version of the table by which the router chose this node.
    #[serde(default)]
    pub table_version: u64,
    /// Milliseconds since the router read the table in its store last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_age_ms: Option<u64>,
    /// Names the upgrade in logs and in a refusal.
    pub request_id: String,
    /// What stands after the question mark, as it was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// What the client sent in `Authorization`.
    #[serde(default)]
    pub authorization: Authorization,
    /// The subprotocols that the client offered, in their order.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// Why the handshake is none, to be told after what the node refuses before that.
    #[serde(default)]
    pub handshake: Option<Problem>,
    /// The router keeps what another node would need to go on with the session.
    #[serde(default)]
    pub follows: bool,
    /// The session goes on here: its client has its `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
}

/// What a node allows a session: its own settings, so that a router has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Bytes that may be on their way to the client and not taken.
    pub window: u32,
    /// A ping at least this often, in milliseconds.
    pub heartbeat_ms: u32,
    /// A ping for delivered marks at most this often, in milliseconds; they are told to the node as
    /// often.
    pub marks_ms: u32,
    /// A socket that takes nothing for so long is closed, in milliseconds.
    pub write_timeout_ms: u32,
    /// Frames of the client for each second, sustained.
    pub frames_per_second: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            window: 1 << 20,
            heartbeat_ms: 25_000,
            marks_ms: 250,
            write_timeout_ms: 10_000,
            frames_per_second: 100,
        }
    }
}

impl Terms {
    /// Bytes of the client's messages that may wait for the node, and of answers that may wait for
    /// the client.
    #[must_use]
    pub fn half(&self) -> usize {
        usize::try_from(self.window / 2)
            .unwrap_or(usize::MAX)
            .max(1)
    }
}

/// What a frame of so many bytes counts for, at both ends: some more than its text, so that a flood
/// of tiny ones is bounded too.
#[must_use]
pub fn cost(text: usize) -> u32 {
    u32::try_from(text.saturating_add(FRAME_WEIGHT)).unwrap_or(u32::MAX)
}

/// An `Authorization` header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authorization {
    /// There is none.
    #[default]
    None,
    /// A bearer token.
    Bearer(String),
    /// Anything else.
    Malformed,
}

/// Why there is no session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Refusal {
    /// For the client, in the place of its upgrade.
    Problem(Problem),
    /// This node does not own the user's shard, and did nothing.
    Elsewhere {
        /// Who owns it by the table of `version`, if that is not this node.
        owner: Option<NodeId>,
        /// Of the node's table.
        version: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
fn is_first(repeat: &Repeat) -> bool {
    *repeat == Repeat::First
}

impl Since for Up {
    fn since(&self) -> u16 {
        if let Self::Call(call) = self {
            call.since()
        } else {
            ROUTERS_SINCE
        }
    }
}

impl Since for Down {
    fn since(&self) -> u16 {
        // A node says nothing newer to a router that does not know it.
        ROUTERS_SINCE
    }
}

impl Up {
    /// About how many bytes it takes on a link, never much less.
    #[must_use]
    pub fn weight(&self) -> usize {
        let len_of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let more = match self {
            Self::Call(call) => {
                let key = match &call.key {
                    Key::Client(key) | Key::Stamped(key) => key.len(),
                    Key::None | Key::Malformed => 0,
                };
                let texts = call.request_id.len()
                    + call.query.len()
                    + len_of(&call.first)
                    + len_of(&call.second);
                4 * FRAME_WEIGHT + texts + len_of(&call.token) + key + call.body.len()
            }
            Self::Open(open) => {
                let protocols = open
                    .protocols
                    .iter()
                    .map(|offer| offer.len() + 5)
                    .sum::<usize>();
                let token = match &open.authorization {
                    Authorization::Bearer(token) => token.len(),
                    Authorization::None | Authorization::Malformed => 0,
                };
                let detail = open
                    .handshake
                    .as_ref()
                    .map_or(0, |problem| problem.detail.len() + FRAME_WEIGHT);
                let stands = open.attach.as_ref().map_or(0, |attach| {
                    attach
                        .stands
                        .iter()
                        .map(|(name, _)| name.as_str().len() + 16)
                        .sum::<usize>()
                        + FRAME_WEIGHT
                });
                4 * FRAME_WEIGHT
                    + open.request_id.len()
                    + open.query.len()
                    + protocols
                    + token
                    + detail
                    + stands
            }
            Self::Said { text, key, .. } => text.len() + len_of(key),
            Self::Taken(of) => of.len() * 16,
            Self::Read(of) => of.iter().map(|(_, marks)| 16 + marks.len() * 16).sum(),
            Self::Gone(_) => 0,
        };
        FRAME_WEIGHT + more
    }
}

impl Down {
    /// About how many bytes it takes on a link, never much less.
    #[must_use]
    pub fn weight(&self) -> usize {
        let more = match self {
            Self::Reply(reply) => match &reply.part {
                Part::Head { headers, body, .. } => {
                    headers
                        .iter()
                        .map(|(name, value)| name.len() + value.len() + 8)
                        .sum::<usize>()
                        + body.len()
                }
                Part::Body { body, .. } => body.len(),
                Part::Elsewhere { .. } => FRAME_WEIGHT,
            },
            Self::Refused {
                why: Refusal::Problem(problem),
                ..
            } => FRAME_WEIGHT + problem.detail.len(),
            Self::Deliver {
                to,
                quiet,
                text,
                tells,
                ..
            } => {
                let live = if let Tells::Live(handles) = tells {
                    handles.len() * 5
                } else {
                    0
                };
                (to.len() + quiet.len()) * 9 + text.len() + live
            }
            Self::Room(of) => of.len() * 16,
            Self::Known { conversation, .. } => conversation.as_str().len(),
            Self::Opened { .. } => FRAME_WEIGHT,
            Self::Stands { at, out, .. } => {
                at.len() * 16
                    + out
                        .iter()
                        .map(|(name, _)| name.as_str().len() + 16)
                        .sum::<usize>()
            }
            Self::Token { token, .. } => token.len(),
            Self::Refused { .. }
            | Self::Forgotten(_)
            | Self::Close { .. }
            | Self::Answered { .. }
            | Self::Move(_) => 0,
        };
        FRAME_WEIGHT + more
    }
}
