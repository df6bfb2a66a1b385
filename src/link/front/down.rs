//! What a node says to a router.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationName, Seq, SessionId};
use crate::link::ROUTERS_SINCE;
use crate::link::codec::raw;
use crate::link::front::attach::{Stage, Stand, Tells};
use crate::link::front::carry::Since;
use crate::link::front::numbers::{Handle, SessionNumber};
use crate::link::front::open::{Refusal, Terms};
use crate::link::front::rest::{Part, Reply};
use crate::link::front::weight::FRAME_WEIGHT;
use crate::problem::CloseCode;

/// From a node to a router.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Down {
    /// The answer to [`Up::Call`](crate::link::front::Up::Call), or its next part.
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
    /// Bytes of [`Up::Said`](crate::link::front::Up::Said) that are worked off.
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

impl Since for Down {
    fn since(&self) -> u16 {
        // A node says nothing newer to a router that does not know it.
        ROUTERS_SINCE
    }
}
