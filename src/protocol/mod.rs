//! The client contract: the types of REST's bodies, the frames of the WebSocket, the table of paths
//! in [`routes`], what each operation takes and answers in [`operations`], and the OpenAPI document
//! of all that in [`openapi`]. Additive changes only. Encoding and decoding live here; what the
//! fields mean is also written in `docs/api.md`.

pub(crate) use conversation::{
    AddBody, ChangeBody, Changed, Conversation, ConversationItem, CreateBody, DirectBody, ListItem,
    OwnView, PartialItem, ViewBody,
};
pub(crate) use event::EventKind;
pub(crate) use frames::{ClientFrame, GapReason, OkResult, ReceiptKind, ServerFrame};
pub(crate) use limits::{
    BANS_MAX, CLOSE_PARTICIPANTS_MAX, EDITS_MAX, FRAME_BYTES_MAX, LIVE_POSITIONS_MAX, MENTIONS_MAX,
    NAMES_PER_REQUEST_MAX, PARTICIPANTS_MAX, PARTICIPANTS_SHOWN_MAX, REACTION_MAX,
    REASON_BYTES_MAX, RESUME_EVENTS_MAX, RESUME_POSITIONS_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX,
    UNREAD_MAX, WATCHED_MAX,
};
pub(crate) use message::{EditBody, Message, MessageCore, ReactionBody, SendBody};
pub(crate) use object::JsonObject;
pub(crate) use page::{EventsPage, HistoryPage, ListPage, Page};
pub(crate) use participant::{Ban, BanBody, Participant, ParticipantBody, Role};
pub(crate) use patch::Patch;
pub(crate) use presence::{Presence, PresencePage};
pub(crate) use receipt::{Reaction, Receipt, Watermark};
pub(crate) use retention::Retention;
pub(crate) use settings::{ChangedSettings, Settings, SettingsChange, SettingsGiven, Whom};

pub(crate) mod direct;

pub(crate) mod routes;

mod facts;

pub(crate) mod operations;

pub(crate) mod headers;

mod limits;

mod participant;

mod patch;

mod settings;

mod retention;

pub(crate) mod policy;

mod conversation;

mod message;

mod receipt;

mod presence;

mod page;

mod event;

mod frames;

mod object;

mod scanner;

mod null;

pub(crate) mod whole;

pub(crate) mod upgrade;

pub mod openapi;
