//! What a good token proves, and why another one is refused.

use crate::ids::UserId;

/// What a good token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user that it names.
    pub user: UserId,
    /// Its `exp`, unix seconds, without leeway.
    pub expires: u64,
}

/// Why a token is refused; the text is for the client and holds nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    pub(super) fn because(text: &str) -> Self {
        Self(text.to_owned())
    }
}
