//! Gathers every setting: flags, `ROOKERY_*` environment, a `.env` file in the working folder,
//! defaults, in that order of precedence. Nothing else reads the environment.
//!
//! Each flag `--some-thing` is also the variable `ROOKERY_SOME_THING`. Secrets have no flag, so
//! that they never show in a list of processes: they come from the environment or from a file, and
//! no type here shows them. The URLs of Redis may hold a password, so they may come from a file as
//! well.

pub use invocation::Invocation;
pub use refusal::Refused;

mod invocation;

mod command_line;

mod refusal;

pub(crate) mod secrets;

pub mod settings;

pub(crate) mod run;

pub(crate) mod clients;

pub(crate) mod serving;

pub(crate) mod cluster;

pub(crate) mod ask;

pub(crate) mod backup;

pub(crate) mod check;

mod values;

#[cfg(test)]
mod tests;
