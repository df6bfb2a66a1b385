//! Why what was asked for cannot be run.

/// Why there is no invocation.
#[derive(Debug)]
pub enum Refused {
    /// Flags that cannot be read, or `--help` and `--version`: to be printed as clap does.
    Flags(clap::Error),
    /// One clear line.
    Line(String),
}
