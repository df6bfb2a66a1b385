//! Start-up only: what was asked for, logs, the limit of open files, run, exit code.

use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};
use rookery::config::{Invocation, Refused};
use rookery::openapi;
use rookery::output;
use rookery::{dev, process};

/// Measured on this work: an eighth of the processor's time is spent allocating with the C
/// library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Files a process may have open at once are asked for up to this many: a socket is one.
const FILES_WANTED: u64 = 65_536;

fn main() -> ExitCode {
    // What is stored holds messages and secrets: files are for their owner's eyes only, and so are
    // folders.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);

    match Invocation::gather() {
        Ok(Invocation::Dev(settings, secrets)) => finished(dev::run(&settings, secrets, files())),
        Ok(Invocation::Node(settings, secrets)) => {
            finished(process::node::run(&settings, &secrets, files()))
        }
        Ok(Invocation::Router(settings, secrets)) => {
            finished(process::router::run(&settings, &secrets, files()))
        }
        Ok(Invocation::Cluster(settings, secrets)) => {
            answered("cluster", process::cluster::run(&settings, &secrets))
        }
        Ok(Invocation::Check(settings, secrets)) => {
            answered("check", process::check::run(&settings, &secrets))
        }
        Ok(Invocation::Backup(settings, secrets)) => {
            finished(process::backup::run(&settings, &secrets))
        }
        Ok(Invocation::Restore(settings)) => finished(process::restore::run(&settings)),
        Ok(Invocation::Token(settings, secrets)) => finished(dev::token(&settings, secrets)),
        Ok(Invocation::Openapi) => {
            output::print(&openapi::pretty());
            ExitCode::SUCCESS
        }
        Err(Refused::Flags(error)) => {
            // Help and version are no failures; clap prints each where it belongs.
            let code = if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
            drop(error.print());
            code
        }
        Err(Refused::Line(line)) => finished(Err(line)),
    }
}

/// Raises the limit of open files. How many there may be now.
fn files() -> Option<u64> {
    rlimit::increase_nofile_limit(FILES_WANTED).ok()
}

/// The exit code of a command that is asked whether all is well.
fn answered(command: &str, outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(line) => {
            output::complain(&format!("rookery {command}: {line}"));
            ExitCode::from(2)
        }
    }
}

fn finished(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            // Also when there is no log yet.
            output::complain(&format!("rookery: {line}"));
            ExitCode::FAILURE
        }
    }
}
