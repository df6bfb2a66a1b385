//! A client of the public API: tokens, HTTP connections, sockets. Knows nothing of load, schedules
//! or reports.

pub(crate) mod dial;
pub(crate) mod failure;
pub(crate) mod http;
pub(crate) mod socket;
pub(crate) mod socketio;
pub(crate) mod tokens;
