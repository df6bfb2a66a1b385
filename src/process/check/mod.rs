//! `rookery check`: whether the replicas of a running cluster hold the same, and whether what is
//! kept in several places says the same (ADR 25); with `--repair` what can be derived again is
//! mended.

pub use run::run;

mod replicas;

mod audit;

mod run;
