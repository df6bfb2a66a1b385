//! The life of one replica: opened as the owner or following as a standby, what it shares with the
//! others, and how it ends.

pub(super) mod open;

pub(super) mod way;

mod check;

mod claims;

mod start;

pub(super) mod restore;

pub(super) mod standby;

mod watcher;

pub(super) mod sharing;

pub(crate) mod witnesses;

pub(super) mod ends;

pub(super) mod orphans;
