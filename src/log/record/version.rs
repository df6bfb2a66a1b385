//! Which versions of records there are, and what each one brought.

/// Version of the records that this program reads and writes. It is announced with a node's
/// addresses: what a version brought is written only when every node of the cluster reads it, for
/// an older one would put it aside.
///
/// | version | brought |
/// |---|---|
/// | 1 | all that is not named below |
/// | 2 | edits, deletions, keys that are used up, data and mentions of a message (ADR 22) |
/// | 3 | roles, mutes, bans, and data and settings of a conversation (ADR 24) |
/// | 4 | conversations that are closed, and erased in steps (ADR 26) |
/// | 5 | retention of open conversations (ADR 27), and a participant's own view (ADR 28) |
pub(crate) const RECORDS_VERSION: u32 = 5;

/// The version that brought edits, deletions, and data and mentions of messages.
pub(crate) const EDITS_SINCE: u32 = 2;

/// The version that brought roles, mutes, bans, and data and settings of conversations.
pub(crate) const ROLES_SINCE: u32 = 3;

/// The version that brought participants' own views.
pub(crate) const VIEWS_SINCE: u32 = 5;

/// The version that brought conversations that are closed.
pub(crate) const CLOSING_SINCE: u32 = 4;

/// The version that brought the retention of open conversations.
pub(crate) const RETENTION_SINCE: u32 = 5;
