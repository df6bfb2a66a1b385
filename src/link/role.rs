//! What the one that dials is.

use crate::link::version::{PEER_VERSION_MIN, ROUTERS_SINCE};

/// What the one that dials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A node: it speaks the peer contract.
    Node,
    /// A router: it speaks the front contract.
    Router,
}

impl Role {
    /// The oldest version that it speaks.
    #[must_use]
    pub fn oldest(self) -> u16 {
        match self {
            Self::Node => PEER_VERSION_MIN,
            Self::Router => ROUTERS_SINCE,
        }
    }

    /// As it is said and proven.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Router => "router",
        }
    }

    /// The role with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Node, Self::Router]
            .into_iter()
            .find(|role| role.word() == word)
    }
}
