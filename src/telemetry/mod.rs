//! Metrics: what they are called, how code tells them, and what gathers them.

mod catalog;
mod handles;
mod recorder;

pub(crate) use catalog::*;
pub(crate) use handles::Gauge;
pub(crate) use recorder::{LogFormat, UPKEEP_EVERY, install};
