//! The close codes of a WebSocket.

use serde::{Deserialize, Serialize};

/// Why a session is closed: code and reason of the Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// 1001: the process ends.
    GoingAway,
    /// 1003: a binary frame came.
    UnsupportedData,
    /// 1009: a frame or message over the limit, or a fragmented flood.
    TooBig,
    /// 1012: the node drains; reconnect after the told delay.
    ServiceRestart,
    /// 1013: overloaded; back off.
    TryAgainLater,
    /// 4400: the WebSocket protocol was broken.
    ProtocolError,
    /// 4401: token expired or refused.
    Unauthorized,
    /// 4420: the socket took nothing for 10 s.
    SlowConsumer,
    /// 4429: too many sessions or frames.
    TooMany,
}

impl CloseCode {
    /// Every code there is.
    pub const ALL: [Self; 9] = [
        Self::GoingAway,
        Self::UnsupportedData,
        Self::TooBig,
        Self::ServiceRestart,
        Self::TryAgainLater,
        Self::ProtocolError,
        Self::Unauthorized,
        Self::SlowConsumer,
        Self::TooMany,
    ];

    /// Number and reason text of the Close frame.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str) {
        match self {
            Self::GoingAway => (1001, "going away"),
            Self::UnsupportedData => (1003, "binary frames are not accepted"),
            Self::TooBig => (1009, "frame too large"),
            Self::ServiceRestart => (1012, "service restart"),
            Self::TryAgainLater => (1013, "overloaded"),
            Self::ProtocolError => (4400, "protocol error"),
            Self::Unauthorized => (4401, "unauthorized"),
            Self::SlowConsumer => (4420, "slow consumer"),
            Self::TooMany => (4429, "too many"),
        }
    }
}
