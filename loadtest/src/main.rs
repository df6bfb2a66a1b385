//! Load tests over the public API. `steady` sends at one rate, `ramp` at growing ones until an
//! objective breaks, `idle` only holds sockets open; all three are open loop, judge whether
//! everything arrived once and in order, and write a report. `presence` ends many sessions at once.
//! `bench` is a closed loop: the most that some senders get through. Both `steady` and `bench` can
//! run a peer beside it, a server of another kind, and `compare` takes two reports. `floor` tells
//! what writing to many sockets costs at least. `chaos` breaks a cluster and checks what clients
//! saw.

use clap::{Parser, Subcommand};

mod bench;
mod chaos;
mod client;
mod compare;
mod floor;
mod idle;
mod load;
mod output;
mod presence;
mod progress;
mod ramp;
mod report;
mod steady;
mod target;

/// Load tests for Rookery.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open loop at one rate: latencies, throughput, errors, and whether everything arrived once
    /// and in order
    Steady(steady::Options),
    /// Open loop at growing rates, until an objective breaks: the highest rate that held
    Ramp(ramp::Options),
    /// Sockets that do nothing: memory of each, and whether they stay open
    Idle(idle::Options),
    /// Sessions that end all at once: what it costs to tell those who watch, and whether messages
    /// are held up
    Presence(presence::Options),
    /// A cluster that is broken on purpose, under load, and a checker of everything that clients
    /// saw
    Chaos(Box<chaos::Options>),
    /// Closed loop: some senders, each waiting for its answer, and some online recipients of every
    /// message
    Bench(bench::Options),
    /// What a frame to many sockets costs at least: a loop that writes to each, and nothing else
    Floor(floor::Options),
    /// Shows a report again: the table, and the page beside the JSON file
    Report(output::ShowOptions),
    /// Two reports side by side: the ratios of their figures
    Compare(compare::Options),
    /// Prints the JSON Schema of reports
    Schema,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Steady(options) => steady::run(&options).await,
        Command::Ramp(options) => ramp::run(&options).await,
        Command::Chaos(options) => return chaos::run(&options).await,
        Command::Compare(options) => return compare::run(&options),
        Command::Idle(options) => idle::run(&options).await,
        Command::Presence(options) => presence::run(&options).await,
        Command::Bench(options) => bench::run(&options).await.map(|()| output::Outcome::Passed),
        Command::Floor(options) => floor::run(&options).await.map(|()| output::Outcome::Passed),
        Command::Report(options) => output::show(&options),
        Command::Schema => report::schema().map(|schema| {
            output::say(schema.trim_end());
            output::Outcome::Passed
        }),
    };
    match outcome {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            output::complain(&format!("loadtest: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}
