//! What several operations have in common: pages, and answers without a body.

use crate::protocol::facts::form::{Kind, Parameter, Success};

pub(super) const NO_CONTENT: &[Success] = &[Success::new(
    204,
    "Done, also when there was nothing to do.",
    None,
)];

pub(super) const REPEATED: &str =
    "The same request was made before under this key: what it made then, as it is now.";

/// Page of messages, events or conversations.
pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Limit {
        default: 50,
        max: 200,
    },
    about: "Items of the page.",
};
/// Page of participants, watermarks, receipts, reactions or bans.
pub(super) const LIMIT_OF_USERS: Parameter = Parameter {
    name: "limit",
    kind: Kind::Limit {
        default: 100,
        max: 1_000,
    },
    about: "Items of the page.",
};
pub(super) const AFTER_USER: Parameter = Parameter {
    name: "after",
    kind: Kind::User,
    about: "The page after this user: `next` of the page before.",
};
