//! What a router says to a node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::Seq;
use crate::link::ROUTERS_SINCE;
use crate::link::codec::raw;
use crate::link::front::attach::Repeat;
use crate::link::front::carry::Since;
use crate::link::front::numbers::{Handle, SessionNumber};
use crate::link::front::open::{Authorization, Open};
use crate::link::front::rest::{Call, Key};
use crate::link::front::weight::FRAME_WEIGHT;

/// From a router to a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Up {
    /// A REST request.
    Call(Call),
    /// A session begins. Answered by [`Down::Opened`](crate::link::front::Down::Opened) or
    /// [`Down::Refused`](crate::link::front::Down::Refused).
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
    /// Bytes of [`Down::Deliver`](crate::link::front::Down::Deliver) that the sockets took since
    /// this was said last.
    Taken(Vec<(SessionNumber, u32)>),
    /// What clients have surely read, by conversations.
    Read(Vec<(SessionNumber, Vec<(Handle, Seq)>)>),
    /// The client's socket has ended, or is closed by the router.
    Gone(SessionNumber),
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

impl Since for Up {
    fn since(&self) -> u16 {
        if let Self::Call(call) = self {
            call.since()
        } else {
            ROUTERS_SINCE
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
fn is_first(repeat: &Repeat) -> bool {
    *repeat == Repeat::First
}
