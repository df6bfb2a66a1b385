//! The client contract: the types of REST's bodies, the frames of the WebSocket, the table of paths
//! in [`routes`], what each operation takes and answers in [`operations`], and the OpenAPI document
//! of all that in [`openapi`]. Additive changes only. Encoding and decoding live here; what the
//! fields mean is also written in `docs/api.md`.

pub use conversation::{
    AddBody, ChangeBody, Conversation, ConversationItem, CreateBody, ListItem, PartialItem,
};
pub use frames::{ClientFrame, EventKind, GapReason, OkResult, ReceiptKind, ServerFrame};
pub use limits::{
    BANS_MAX, CLOSE_PARTICIPANTS_MAX, EDITS_MAX, FRAME_BYTES_MAX, LIVE_POSITIONS_MAX, MENTIONS_MAX,
    NAMES_PER_REQUEST_MAX, PARTICIPANTS_MAX, PARTICIPANTS_SHOWN_MAX, REACTION_MAX,
    REASON_BYTES_MAX, RESUME_EVENTS_MAX, RESUME_POSITIONS_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX,
    UNREAD_MAX, WATCHED_MAX,
};
pub use message::{EditBody, Message, MessageCore, ReactionBody, SendBody};
pub use object::JsonObject;
pub use page::{EventsPage, HistoryPage, Page};
pub use participant::{Ban, BanBody, Participant, ParticipantBody, Role};
pub use patch::Patch;
pub use presence::{Presence, PresencePage};
pub use receipt::{Receipt, Watermark};
pub use scanner::OBJECT_BYTES_MAX;
pub use settings::{
    ChangedSettings, EDIT_WINDOW_MAX_S, Settings, SettingsChange, SettingsGiven, Whom,
};

pub mod routes;

mod facts;

pub mod operations;

pub mod headers;

mod limits;

mod participant;

mod patch;

mod settings;

pub mod policy;

mod conversation;

mod message;

mod receipt;

mod presence;

mod page;

mod frames;

mod object;

mod scanner;

mod null;

pub(crate) mod whole;

pub mod upgrade;

pub mod openapi;
