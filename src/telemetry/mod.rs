//! Metrics: what they are called, how code tells them, and what gathers them.

mod catalog;
mod handles;
mod recorder;

pub use catalog::*;
pub use handles::{Counter, Gauge, Histogram, Labels};
pub use recorder::{InstallError, LogFormat, UPKEEP_EVERY, describe_all, install};
