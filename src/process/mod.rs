//! What every kind of process shares: logs, metrics, runtime, signals, ports, the operations port,
//! the ready file; and the lives of `rookery node` and `rookery router`. The one-process cluster is
//! `dev`.
//!
//! Invariants: a process that cannot start ends with one clear line; the first signal begins a
//! stop, which takes at most [`STOP_MAX`]; the second one ends the process at once.

pub use life::STOP_MAX;

pub(crate) use keys::{cluster_key, shared_verifier};
pub(crate) use life::{CLOSE_SHARE, Running, live, on_this_thread, run, within};
pub(crate) use ports::{bind, serve_operations, write_ready};

mod life;

mod signals;

mod ports;

mod keys;

pub(crate) mod files;

mod advertise;

pub(crate) mod front;

mod subject;

pub mod node;

pub mod router;

pub mod cluster;

pub mod backup;

pub mod restore;

pub mod check;
