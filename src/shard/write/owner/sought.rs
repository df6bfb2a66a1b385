//! Writes that name a message by its id alone, and wait until it is known in which conversation it
//! is.

use std::collections::VecDeque;

use crate::ids::ConversationName;
use crate::shard::file::store::StoreError;
use crate::shard::write::owner::input::Asked;

/// Writes whose message is sought, in their order.
#[derive(Debug, Default)]
pub(super) struct Sought(pub(super) VecDeque<Seeking>);

/// One of them.
#[derive(Debug)]
pub(super) struct Seeking {
    pub(super) asked: Asked,
    /// Number of its look-up.
    pub(super) lookup: u64,
    pub(super) found: Option<Result<Option<ConversationName>, StoreError>>,
}
