//! Open-loop load: when to send, sending, listening, what was measured, and whether everything
//! arrived.

mod audit;
mod heard;
pub(crate) mod history;
pub(crate) mod ledger;
pub(crate) mod listener;
pub(crate) mod mix;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod pacer;
pub(crate) mod recorder;
pub(crate) mod rig;
mod run;
pub(crate) mod sampler;
pub(crate) mod schedule;
pub(crate) mod sender;
pub(crate) mod snapshot;
pub(crate) mod tally;
pub(crate) mod text;
pub(crate) mod workload;
