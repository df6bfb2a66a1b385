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

pub mod secrets;

pub mod settings;

pub mod run;

pub mod clients;

pub mod serving;

pub mod cluster;

pub mod ask;

pub mod backup;

pub mod check;

mod values;

#[cfg(test)]
mod tests;
