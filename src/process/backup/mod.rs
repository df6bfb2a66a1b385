//! `rookery backup`: copies every shard of what runs into a folder, and looks at such a folder (ADR
//! 21).
//!
//! Invariants: a folder has the backup that its manifest names, whole, at any moment, whatever
//! becomes of the process that makes the next one; everything that was acknowledged before a backup
//! began is in it.

pub use run::run;

pub(in crate::process) mod manifest;

pub(in crate::process) mod verify;

mod asked;

mod copy;

mod folder;

mod run;
