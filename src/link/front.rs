//! The front contract: what travels over a link between a router and a node (ADR 7). Fields and variants are only ever
//! added: what a reader does not know it skips, and what an older writer left out has a default.
//!
//! **Invariants.** A session's number is chosen by the router and never used again on its connection. All frames of a
//! session are in order. A handle names a conversation from its [`Down::Known`] to its [`Down::Forgotten`].

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Seq, SessionId};
use crate::problem::{CloseCode, Problem};
use crate::protocol::routes::Operation;

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
        text: Bytes,
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
        /// The client offered the subprotocol `rookery.v1`, which the answer to the upgrade repeats.
        protocol: bool,
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
        /// The text of the WebSocket message.
        text: Bytes,
        /// The event in it, if it is one that is marked as delivered once it is read.
        event: Option<(Handle, Seq)>,
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
}
