//! Rookery: a real-time messaging backend. The modules in the order in which a message meets them:
//!
//! [`router`] picks the shard and forwards → [`node`] verifies the token and holds sessions →
//! [`shard`] decides, appends to the [`log`], commits, pushes, and applies to SQLite. [`cluster`]
//! says which node that is. The leaves below them know nothing of each other's neighbours.

pub mod auth;

pub(crate) mod backoff;

pub mod clock;
pub mod ids;

pub(crate) mod problem;
pub use protocol::openapi;

pub(crate) mod protocol;

pub(crate) mod connections;
pub mod output;
pub(crate) mod telemetry;

pub(crate) mod files;
pub(crate) mod sqlite;
pub mod watchdog;

pub mod link;

pub mod router;

pub mod node;

pub(crate) mod shard;

pub mod cluster;

pub mod log;

pub(crate) mod operations;

pub mod process;

pub mod dev;

pub mod config;
