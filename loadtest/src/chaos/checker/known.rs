//! Rules that are known not to hold yet: their breaches are told, and not held against a run.

use std::sync::OnceLock;

use crate::output::say;

static KNOWN: OnceLock<Vec<String>> = OnceLock::new();

/// Has breaches of these rules told only. For the whole process; the first call counts.
pub(crate) fn tell_only(rules: &[String]) {
    KNOWN.get_or_init(|| rules.to_vec());
}

/// Whether a breach of this rule is only to be told; tells it then.
pub(super) fn is_told_only(rule: &str, said: &str) -> bool {
    let known = KNOWN.get().is_some_and(|known| known.iter().any(|of| of == rule));
    if known {
        say(&format!("KNOWN, and not held against this run: {rule}: {said}"));
    }
    known
}
