//! Load tests over the public API: `bench` measures sends, deliveries, persisted records and CPU per message, of a server
//! that it starts in a process of its own or of what `scripts/cluster` has running; `idle` the memory of idle sessions.

use clap::{Parser, Subcommand};

mod bench;
mod chaos;
mod client;
mod idle;
mod redis;
mod server;

/// Load tests for Rookery.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Closed loop: some senders, each waiting for its answer, and some online recipients of every message.
    Bench(bench::Options),
    /// A cluster that is broken on purpose, and a checker.
    Chaos(Box<chaos::Options>),
    /// Memory of idle sessions.
    Idle(idle::Options),
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // 5,000 sockets and some; a refusal shows later as a failed connect with its reason.
    rlimit::increase_nofile_limit(20_000).ok();
    let outcome = match Arguments::parse().command {
        Command::Bench(options) => bench::run(&options).await,
        Command::Chaos(options) => return chaos::run(&options).await,
        Command::Idle(options) => idle::run(&options).await,
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("loadtest: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Prints a line of the report.
#[expect(clippy::print_stdout, reason = "the report is the output of this program")]
fn say(line: &str) {
    println!("{line}");
}
