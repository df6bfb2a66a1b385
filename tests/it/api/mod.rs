//! The client contract (`docs/api.md`), as one client sees it.

mod auth;
mod closing;
mod conversation_list;
mod conversations;
mod delivered;
mod direct;
mod edges;
mod edits;
mod errors;
mod events;
mod frames;
mod history;
mod joining;
mod keys;
mod message_keys;
mod messages;
mod openapi;
mod participants;
mod presence;
mod reactions;
mod receipts;
mod resume;
mod roles;
mod socket_tokens;
mod typing;
mod websocket;
