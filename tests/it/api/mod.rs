//! The client contract (`docs/api.md`), as one client sees it.

mod auth;
mod conversations;
mod edges;
mod edits;
mod errors;
mod events;
mod history;
mod keys;
mod messages;
mod openapi;
mod participants;
mod receipts;
mod resume;
mod websocket;
