//! What becomes of a breach of a rule: it is kept, or told only when the rule is known not to hold
//! yet.

use std::sync::OnceLock;

use crate::chaos::checker::{Checker, KEPT_MAX, Violation};
use crate::chaos::history::Micros;
use crate::chaos::history::span::Span;
use crate::output::say;

static KNOWN: OnceLock<Vec<String>> = OnceLock::new();

/// Has breaches of these rules told only. For the whole process; the first call counts.
pub(crate) fn tell_only(rules: &[String]) {
    KNOWN.get_or_init(|| rules.to_vec());
}

/// Whether a breach of this rule is only to be told; tells it then.
fn is_told_only(rule: &str, said: &str) -> bool {
    let known = KNOWN
        .get()
        .is_some_and(|known| known.iter().any(|of| of == rule));
    if known {
        say(&format!(
            "KNOWN, and not held against this run: {rule}: {said}"
        ));
    }
    known
}

impl Checker {
    /// A breach of a rule.
    pub(super) fn wrong(&mut self, at: Micros, rule: &str, said: String, span: Span) {
        if is_told_only(rule, &said) {
            return;
        }
        self.counts.violations += 1;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(Violation {
                at,
                rule: rule.to_owned(),
                said,
                span,
            });
        }
    }
}
