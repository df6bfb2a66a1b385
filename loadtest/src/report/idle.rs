//! The lines of a report on sessions that do nothing.

use crate::report::figures::Idle;
use crate::report::wording::{mebibytes, ms, whole};

/// How they were opened, and what each keeps.
pub(super) fn lines(lines: &mut Vec<String>, idle: &Idle) {
    lines.push(format!(
        "  sessions     {} opened in {:.1} s (each p50 {} ms, p99 {} ms), {} open after {:.0} s \
         more",
        whole(idle.sessions),
        idle.opening_s,
        ms(idle.open.p50_ms),
        ms(idle.open.p99_ms),
        whole(idle.open_at_end),
        idle.held_s
    ));

    if let Some((before, (end, each))) = idle
        .resident_before_bytes
        .zip(idle.resident_end_bytes.zip(idle.kept_bytes_per_session))
    {
        lines.push(format!(
            "  server       {} MiB resident before, {} MiB at the end: {:.1} KiB a session",
            mebibytes(before),
            mebibytes(end),
            each / 1024.0
        ));
    }
    for process in idle.processes.iter().filter(|_| idle.processes.len() > 1) {
        lines.push(format!(
            "    {:<11}{} MiB before, {} MiB at the end",
            process.name,
            mebibytes(process.resident_begin_bytes),
            mebibytes(process.resident_end_bytes)
        ));
    }

    if let Some(processors) = idle.server_processors {
        lines.push(format!(
            "               {processors:.3} processors while they do nothing"
        ));
    }
}
