//! `rookery restore`: writes the data folder of a process of a backup, before that process is
//! started for the first time (ADR 21).
//!
//! Invariants: a folder that has anything in it is not touched; nothing starts on a folder whose
//! restore was not finished; what is restored is another cluster than the one that was copied.

pub use run::run;

mod target;

mod begun;

mod run;
