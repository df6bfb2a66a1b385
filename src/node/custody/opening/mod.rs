//! Keeps every shard of which the table names this node as it should be: one task a shard
//! ([`keeper`]) that owns it or stands by for it, as its row and its control record say, for as
//! long as the node lives.
//!
//! At most [`OPENING_MAX`](common::OPENING_MAX) shards are being opened at once; takeovers have
//! permits of their own and wait for none of those.

pub(in crate::node) use common::Ways;
pub(in crate::node) use opener::Opener;

mod opener;

mod common;

mod keeper;

mod tries;

mod standing;

mod handing;

mod gifts;

mod giving;

mod turns;

mod leaving;

mod surplus;

mod files;
