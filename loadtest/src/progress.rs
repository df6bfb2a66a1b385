//! What is seen while a run lasts: one line that is written anew on a terminal, plain lines
//! elsewhere, nothing with --quiet.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report::Second;
use crate::report::wording::{count, ms};

/// On no terminal, every so many seconds a line.
const PLAIN_EVERY: usize = 10;

/// Writes to standard error, so that the table on standard output stays clean.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    terminal: bool,
    line_open: AtomicBool,
}

impl Progress {
    /// Looks whether there is a terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            line_open: AtomicBool::new(false),
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            self.close();
            write(&format!("{line}\n"));
        }
    }

    /// The line of a second; `number` counts them.
    pub(crate) fn second(&self, number: usize, second: &Second) {
        if self.quiet {
            return;
        }
        if self.terminal {
            self.line_open.store(true, Ordering::Relaxed);
            write(&format!("\r\x1b[K{}", line_of(second)));
        } else if number.is_multiple_of(PLAIN_EVERY) {
            write(&format!("{}\n", line_of(second)));
        }
    }

    /// Ends the line that is written anew.
    pub(crate) fn close(&self) {
        if self.line_open.swap(false, Ordering::Relaxed) {
            write("\n");
        }
    }
}

/// A second in one line.
fn line_of(second: &Second) -> String {
    let errors: u64 = second.errors.iter().map(|error| error.count).sum();
    format!(
        "{:>5.0} s  due {}/s  sent {}/s  delivered {}/s  post p50 {} p99 {} ms  delivery p50 {} \
         p99 {} ms  in flight {}  errors {errors}  late {}",
        second.at_s,
        count(second.rate),
        count(second.accepted),
        count(second.deliveries),
        ms(second.post.p50_ms),
        ms(second.post.p99_ms),
        ms(second.deliver.p50_ms),
        ms(second.deliver.p99_ms),
        second.in_flight,
        second.late,
    )
}

/// A terminal that is gone is no reason to stop.
fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_one_line_with_its_rates_latencies_and_errors() {
        let line = line_of(&crate::report::example::example_second(12.0));
        assert!(
            line.contains("12 s") && line.contains("due 1,000/s") && line.contains("errors 3"),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }
}
