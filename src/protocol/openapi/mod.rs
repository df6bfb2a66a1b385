//! The client contract as an OpenAPI 3.1 document, made of the same tables and types that requests
//! are checked by: `rookery openapi` prints it, a router serves it, `docs/openapi.json` is a copy
//! that a test keeps fresh.
//!
//! What OpenAPI cannot say stands in `docs/api.md`: the order of checks, what the frames of a
//! WebSocket mean.

pub use document::{json, pretty};

mod document;

mod operation;

mod headers;

mod schemas;

mod plain;

mod examples;

#[cfg(test)]
mod tests;
