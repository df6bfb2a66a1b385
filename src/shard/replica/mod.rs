//! The life of one replica: opened as the owner or following as a standby, what it shares with the
//! others, and how it ends.

pub(super) mod open;

mod start;

pub(super) mod restore;

pub(super) mod standby;

pub(super) mod sharing;

pub mod witnesses;

pub(super) mod ends;

pub(super) mod orphans;
