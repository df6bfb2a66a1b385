//! How long, how large and how many: the limits of the client contract.

/// Longest text of a message, in bytes of UTF-8.
pub(crate) const TEXT_BYTES_MAX: usize = 16_384;
/// Most mentions of a message.
pub(crate) const MENTIONS_MAX: usize = 50;
/// Most edits of a message.
pub(crate) const EDITS_MAX: u32 = 1_000;
/// Longest title of a conversation, in bytes of UTF-8.
pub(crate) const TITLE_BYTES_MAX: usize = 256;
/// Longest reason of a ban, in bytes of UTF-8.
pub(crate) const REASON_BYTES_MAX: usize = 256;
/// Most bans of one conversation.
pub(crate) const BANS_MAX: usize = 10_000;
/// Largest request body and WebSocket message, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 128 * 1024;
/// Most names in one request that creates a conversation or adds participants.
pub(crate) const NAMES_PER_REQUEST_MAX: usize = 1_000;
/// Most participants of one conversation.
pub(crate) const PARTICIPANTS_MAX: usize = 10_000;
/// How many participants are shown inside a Conversation and a `created` event.
pub(crate) const PARTICIPANTS_SHOWN_MAX: usize = 100;
/// Largest reaction: the last Unicode code point.
pub(crate) const REACTION_MAX: u32 = 1_114_111;
/// `unread` counts no further than this.
pub(crate) const UNREAD_MAX: u32 = 1_000;
/// Largest `pinned`.
pub(crate) const PINNED_MAX: u32 = 2_147_483_647;
/// Missed events of one conversation that a resume sends; older ones become a `gap`.
pub(crate) const RESUME_EVENTS_MAX: u64 = 1_000;
/// Positions in one `resume` frame.
pub(crate) const RESUME_POSITIONS_MAX: usize = 500;
/// Positions in one `live` frame.
pub(crate) const LIVE_POSITIONS_MAX: usize = 200;
/// Nobody is told of typing and presence in a conversation with more participants than this.
pub(crate) const CLOSE_PARTICIPANTS_MAX: usize = 250;
/// Conversations that a session watches at once.
pub(crate) const WATCHED_MAX: usize = 20;
