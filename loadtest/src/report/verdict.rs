//! From figures to sentences: what broke a promise, and what makes the figures doubtful.

use crate::report::Verdict;
use crate::report::figures::{Audit, Load};

/// More sends than this share started late: the figures are also of the client.
const LATE_SHARE: f64 = 0.01;
/// When more than one in so many late sends waited for others in flight, that is why they were
/// late.
const HELD_OF_LATE: u64 = 20;

impl Verdict {
    /// Of a run.
    pub(crate) fn of(audit: &Audit, mut warnings: Vec<String>) -> Self {
        let faults = faults_of(audit);
        warn_of(audit, &mut warnings);
        let mut told = std::collections::BTreeSet::new();
        warnings.retain(|warning| told.insert(warning.clone()));
        Self {
            passed: faults.is_empty(),
            faults,
            warnings,
        }
    }
}

/// What broke a promise.
fn faults_of(audit: &Audit) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |count: u64, what: &str| {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    };

    fault(
        audit.history_missing,
        "acknowledged messages are not in the history (lost)",
    );
    fault(
        audit.history_doubled,
        "messages are in the history more than once (doubled)",
    );
    fault(
        audit.history_moved,
        "messages are in the history under another seq than was acknowledged (order)",
    );

    fault(
        audit.history_not_dense,
        "places in the history where seq does not go on by one (order)",
    );
    fault(
        audit.history_unwritten,
        "messages are in the history though the answer said that nothing was written",
    );
    fault(
        audit.history_undeleted,
        "messages are in the history with their text though the answer said that they are deleted",
    );
    fault(
        audit.missing,
        "deliveries never reached their session (lost)",
    );

    fault(
        audit.doubled,
        "deliveries reached a session again (doubled)",
    );
    fault(
        audit.out_of_order,
        "deliveries reached a session after a later one (order)",
    );
    fault(
        audit.taken_back,
        "times something was taken back that a session had seen",
    );

    if audit.acknowledged > 0 && !audit.history_read {
        faults.push(
            "the history could not be read back: what was acknowledged is not proven to be there"
                .to_owned(),
        );
    }

    faults
}

/// Adds what is allowed, and makes the figures doubtful.
fn warn_of(audit: &Audit, warnings: &mut Vec<String>) {
    let mut warn = |count: u64, what: &str| {
        if count > 0 {
            warnings.push(format!("{count} {what}"));
        }
    };
    let closes = audit.closes.iter().map(|close| close.count).sum();
    warn(
        closes,
        "sockets ended before the run did (they went on where they left off)",
    );
    warn(audit.told_gaps, "deliveries were replaced by `gap` frames");
    warn(
        audit.history_unknown,
        "sends without a clear answer are in the history (allowed)",
    );
}

/// What makes the figures of a rate doubtful.
pub(crate) fn doubts(load: &Load) -> Vec<String> {
    let mut doubts = Vec::new();
    let share = |count: u64| {
        super::figures::float(count) / super::figures::float(load.sends.scheduled.max(1))
    };

    if share(load.sends.late) > LATE_SHARE {
        // One that waits makes all late that are due meanwhile, though they need not wait
        // themselves.
        let cause = if load.sends.held * HELD_OF_LATE > load.sends.late {
            "because too many were in flight (--in-flight): the server is slower than the rate"
        } else {
            "because this client did not keep up: give it more processor, or a lower rate"
        };
        doubts.push(format!(
            "{:.1} % of the sends started more than 5 ms late (99 % within {:.1} ms), {cause}; the \
             latencies include that",
            share(load.sends.late) * 100.0,
            load.sends.lateness.p99_ms,
        ));
    }

    if load.sends.accepted == 0 && load.sends.scheduled > 0 {
        doubts.push("no send was accepted: there are no figures".to_owned());
    }

    if load.sends.unsent > 0 {
        doubts.push(format!(
            "{} sends were given up, because too many were in flight to the end",
            load.sends.unsent
        ));
    }

    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::{Close, Sends};

    fn audit() -> Audit {
        Audit {
            acknowledged: 10,
            history_read: true,
            ..Audit::default()
        }
    }

    #[test]
    fn a_clean_run_passes_without_a_word() {
        let verdict = Verdict::of(&audit(), Vec::new());
        assert!(verdict.passed && verdict.faults.is_empty() && verdict.warnings.is_empty());
    }

    #[test]
    fn each_broken_promise_fails_and_what_is_allowed_only_warns() {
        let broken = [
            Audit {
                history_missing: 1,
                ..audit()
            },
            Audit {
                history_doubled: 1,
                ..audit()
            },
            Audit {
                history_moved: 1,
                ..audit()
            },
            Audit {
                history_not_dense: 1,
                ..audit()
            },
            Audit {
                history_unwritten: 1,
                ..audit()
            },
            Audit {
                missing: 1,
                ..audit()
            },
            Audit {
                doubled: 1,
                ..audit()
            },
            Audit {
                out_of_order: 1,
                ..audit()
            },
            Audit {
                taken_back: 1,
                ..audit()
            },
            Audit {
                history_read: false,
                ..audit()
            },
        ];

        for audit in broken {
            let verdict = Verdict::of(&audit, Vec::new());
            assert!(!verdict.passed && verdict.faults.len() == 1, "{verdict:?}");
        }

        let closes = vec![Close {
            code: 1012,
            count: 2,
        }];
        let verdict = Verdict::of(
            &Audit {
                closes,
                told_gaps: 3,
                history_unknown: 1,
                ..audit()
            },
            Vec::new(),
        );
        assert!(verdict.passed && verdict.warnings.len() == 3, "{verdict:?}");
    }

    #[test]
    fn a_late_client_is_told() {
        let told = |held, accepted| {
            let sends = Sends {
                scheduled: 1_000,
                late: 11,
                held,
                unsent: 1,
                accepted,
                ..Sends::default()
            };
            doubts(&Load {
                sends,
                ..Load::default()
            })
        };

        assert!(
            told(2, 900)[0].starts_with("1.1 % of the sends started more than 5 ms late"),
            "{:?}",
            told(2, 900)
        );
        assert!(
            told(0, 900)[0].contains("did not keep up") && told(2, 900)[0].contains("--in-flight")
        );
        assert_eq!((told(2, 900).len(), told(2, 0).len()), (2, 3));
    }
}
