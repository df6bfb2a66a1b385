//! `rookery cluster`: asks the operations port of a running cluster how it stands, or to change,
//! and prints the answer for people or for programs.

pub use ask::run;

pub(in crate::process) use asker::{first, key_of, understood, whole};
pub(in crate::process) use who::who;

pub(in crate::process) mod call;

mod who;

mod asker;

mod show;

mod drain;

mod ask;
