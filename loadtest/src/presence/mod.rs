//! A storm of presence: sessions that end all at once, and are told of as offline half a minute
//! later. What it costs the server to tell each watcher of each, and what becomes of messages
//! meanwhile.

mod made;
mod sockets;
mod storm;
mod talking;
mod watching;

pub(crate) use storm::{Options, run};
