//! What all who do something in a run have in common.

use std::sync::Arc;

use crate::load::ledger::Ledger;
use crate::load::recorder::Recorder;
use crate::load::workload::Workload;
use crate::target::Target;

/// Whom it is done to, and where it is written down.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) target: Arc<Target>,
    pub(crate) workload: Arc<Workload>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) ledger: Arc<Ledger>,
}
