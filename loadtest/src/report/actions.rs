//! The lines of a report on what people did beside sending.

use crate::report::figures::ActionLoad;
use crate::report::table::latency;
use crate::report::wording::errors;

/// How long each kind took.
pub(super) fn latencies(actions: &[ActionLoad]) -> Vec<String> {
    let of = |one: &ActionLoad| latency(&format!("beside it: {}", one.kind), &one.latency);
    actions.iter().map(of).collect()
}

/// What failed, of the kinds of which something did.
pub(super) fn failures(actions: &[ActionLoad]) -> Vec<String> {
    actions
        .iter()
        .filter(|one| !one.errors.is_empty())
        .map(|one| format!("  of {:<10}{}", one.kind, errors(&one.errors)))
        .collect()
}
