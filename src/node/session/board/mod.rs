//! Who is subscribed to what on this node, and every push handed to those it is for. Synchronous
//! and without I/O: inputs are pushes, answers and session changes; frames go over the links to
//! routers, and what has to be asked of owners gathers in [`Work`](work::Work). It lives under one
//! lock, held for one input at a time.
//!
//! Invariants: a cursor is fed by pushes only while live (I9); a user who left has no live cursor
//! after their own `left` (I10); every conversation of a user with sessions is either subscribed or
//! being asked for.

pub(super) use interests::Board;

mod interests;

pub(super) mod entries;

pub(super) mod state;

mod sessions;
pub(super) mod work;

mod indexes;

mod resuming;

mod cursors;

mod progress;
mod pushes;

mod deliver;

mod told_receipts;

mod membership;

mod answers;

mod advance;

mod spans;

mod fetched;
mod standing;

mod handing;

mod attaching;
pub(super) mod watching;
