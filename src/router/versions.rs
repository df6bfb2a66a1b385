//! What is asked of no node before every node knows it.

use std::time::Duration;

use crate::problem::Problem;
use crate::protocol::routes::Operation;
use crate::router::directory::Directory;

/// When something is asked for again that not every node knows yet.
const UPGRADE_AFTER: Duration = Duration::from_secs(5);

/// Refuses what not every node knows yet: one of an older version could not even read it.
///
/// # Errors
/// `unavailable`.
pub(super) fn all_know(directory: &Directory, operation: Operation) -> Result<(), Problem> {
    let needed = operation.records();
    let is_known = || {
        directory
            .table()
            .is_some_and(|table| table.records() >= needed)
    };
    if needed <= 1 || is_known() {
        return Ok(());
    }
    let detail = "not every node of the cluster runs a version that knows this; nothing was \
                  written, retry later";
    Err(Problem {
        retry_after: Some(UPGRADE_AFTER),
        ..Problem::unavailable(detail)
    })
}
