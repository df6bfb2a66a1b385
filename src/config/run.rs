//! Settings that every kind of server has: how it tells of itself, how it works, how it stops.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of fields are help texts for a terminal"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::values;
use crate::telemetry::LogFormat;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Process")]
pub struct RunSettings {
    /// File to write the bound addresses and the pid to, as JSON, when serving.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// When stopping, time over which sessions are told to connect again; at most 6s.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::drain_window)]
    pub drain_window: Duration,
    /// Threads that do the work, beside those of SQLite; unset: one for each processor. Fewer where
    /// several processes share the processors.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
    /// Look of log lines on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Least level of log lines, or a list of filters such as info,rookery::shard=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}
