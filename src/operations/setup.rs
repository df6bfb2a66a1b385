//! What the port serves from.

use std::fmt;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::operations::subject::Subject;
use crate::watchdog::Watchdog;

/// What the port serves from.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Knows whether the loops move.
    pub watchdog: Watchdog,
    /// The process.
    pub subject: Arc<dyn Subject>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
