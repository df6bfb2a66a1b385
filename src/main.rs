//! Start-up only: what was asked for, logs, the limit of open files, run, exit code.

use std::process::ExitCode;

use rookery::config::{Invocation, Refused};
use rookery::protocol::openapi;
use rookery::{dev, process};

/// Measured on this work: an eighth of the processor's time is spent allocating with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Files a process may have open at once are asked for up to this many: a socket is one.
const FILES_WANTED: u64 = 65_536;

fn main() -> ExitCode {
    match Invocation::gather() {
        Ok(Invocation::Dev(settings, secrets)) => finished(dev::run(&settings, secrets, files())),
        Ok(Invocation::Node(settings, secrets)) => finished(process::node::run(&settings, &secrets, files())),
        Ok(Invocation::Router(settings, secrets)) => finished(process::router::run(&settings, &secrets, files())),
        Ok(Invocation::Token(settings, secrets)) => finished(dev::token(&settings, secrets)),
        Ok(Invocation::Openapi) => {
            print_openapi();
            ExitCode::SUCCESS
        }
        Err(Refused::Flags(error)) => {
            // Help and version are no failures; clap prints each where it belongs.
            let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            drop(error.print());
            code
        }
        Err(Refused::Line(line)) => finished(Err(line)),
    }
}

#[expect(clippy::print_stdout, reason = "the document is what the command is asked for")]
fn print_openapi() {
    print!("{}", openapi::pretty());
}

/// Raises the limit of open files. How many there may be now.
fn files() -> Option<u64> {
    rlimit::increase_nofile_limit(FILES_WANTED).ok()
}

#[expect(clippy::print_stderr, reason = "the one line of a failed start, also when there are no logs yet")]
fn finished(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("rookery: {line}");
            ExitCode::FAILURE
        }
    }
}
