//! What all who do something in a run have in common.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::failure::{Failure, Fault};
use crate::client::http::Ask;
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

impl Run {
    /// Makes a request in a user's name, with the token that `ask` is given; the body of its
    /// answer, which must be a success.
    pub(crate) async fn succeed(
        &self,
        user: usize,
        ask: impl FnOnce(Arc<str>) -> Ask,
    ) -> Result<Bytes, Failure> {
        let unsent = |detail: String| Failure::transport(Fault::Connect, detail);
        let name = self.workload.user(user).map_err(unsent)?;
        let token = self.target.tokens.of(name).await.map_err(unsent)?;
        let pool = self.target.pool(user).map_err(unsent)?;
        pool.succeed(&ask(token)).await
    }
}
