//! What is written to standard output and standard error: lines of the log, and what a command
//! prints. The one way for both.
//!
//! **Invariant.** Nothing that serves waits for an output or ends because of one: it may be closed,
//! full, a pipe whose reader is gone, or one whose reader reads nothing. What could not be written
//! is counted, and that is all.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::{LogFormat, OUTPUT_UNWRITTEN};

/// Lines of the log that wait for standard error to take them; further ones are dropped, and
/// counted.
const LINES_WAITING_MAX: usize = 8_192;

/// How long a process that serves waits for standard output to take what it tells at its start.
const ANNOUNCE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked at how many lines of the log were dropped.
pub const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The running log: what waits is written when it is dropped, within about a second.
#[must_use = "the log ends when this is dropped"]
pub struct Log {
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("dropped", &self.dropped.dropped_lines())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Starts lines on standard error, written by a thread of their own. `level` is a level
    /// (`info`) or a list of filters (`info,rookery::shard=debug`).
    ///
    /// # Errors
    /// One clear line: a filter that cannot be read, or a log that was started before.
    pub fn start(format: LogFormat, level: &str) -> Result<Self, String> {
        let filter = filter(level)?;
        let (lines, worker) = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_WAITING_MAX)
            .lossy(true)
            .thread_name("log")
            .finish(Counted {
                output: io::stderr(),
                name: "log",
            });
        let dropped = lines.error_counter();

        // What is wrong with the output is counted; by itself the library would print it there, and
        // panic if it cannot.
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(lines)
            .log_internal_errors(false);
        let started = match format {
            LogFormat::Text => subscriber
                .with_ansi(io::stderr().is_terminal())
                .finish()
                .with(filter)
                .try_init(),
            LogFormat::Json => subscriber
                .json()
                .flatten_event(true)
                .finish()
                .with(filter)
                .try_init(),
        };
        started.map_err(|error| format!("logs: {error}"))?;
        Ok(Self {
            dropped,
            _worker: worker,
        })
    }

    /// Counts, again and again, the lines that found no room. Never ends.
    pub async fn count_dropped(&self) {
        let mut counted = 0;
        loop {
            let dropped = self.dropped.dropped_lines();
            count("log", dropped.saturating_sub(counted));
            counted = dropped;
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }
}

/// A level, or a list of levels of parts of the program. A lone word that is no level is refused:
/// it would be taken for a part, and all others would say nothing.
fn filter(level: &str) -> Result<Targets, String> {
    let refused = |why: &str| {
        format!(
            "log level \"{level}\": {why}; give error, warn, info, debug, trace or off, or a list \
             such as info,rookery::shard=debug"
        )
    };
    if !level.contains(['=', ',']) && level.trim().parse::<LevelFilter>().is_err() {
        return Err(refused("this is no level"));
    }
    level
        .parse()
        .map_err(|error: tracing_subscriber::filter::ParseError| refused(&error.to_string()))
}

/// Prints what a command was asked for, and waits until it is taken: a pipe may be read slowly. A
/// reader that leaves early, as `head` does, is no failure.
pub fn print(text: &str) {
    write_out(&mut io::stdout(), text, "stdout");
}

/// Prints one line on standard error.
pub fn complain(line: &str) {
    write_out(&mut io::stderr(), &format!("{line}\n"), "stderr");
}

/// Tells on standard output that a process serves, for the person who started it. Waits a second at
/// most for the output to take it; what is not taken by then is left to a thread.
pub fn announce(text: String) {
    // Nothing is sent: that its sender is gone tells that the text was taken.
    let (telling, taken) = mpsc::sync_channel::<()>(1);
    let tell = move || {
        print(&text);
        drop(telling);
    };

    if std::thread::Builder::new()
        .name("announce".to_owned())
        .spawn(tell)
        .is_err()
    {
        return count("stdout", 1);
    }

    if taken.recv_timeout(ANNOUNCE_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
        count("stdout", 1);
    }
}

fn write_out(output: &mut impl Write, text: &str, name: &'static str) {
    if output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .is_err()
    {
        count(name, 1);
    }
}

fn count(name: &'static str, unwritten: usize) {
    if unwritten > 0 {
        OUTPUT_UNWRITTEN.add(
            u64::try_from(unwritten).unwrap_or(u64::MAX),
            &[("output", name)],
        );
    }
}

/// An output whose failures are counted and told to nobody.
struct Counted<W> {
    output: W,
    name: &'static str,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.output.write_all(line).is_err() {
            count(self.name, 1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.output.flush().is_err() {
            count(self.name, 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a pipe whose reader is gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn an_output_that_cannot_be_written_takes_every_line_all_the_same() {
        let mut output = Counted {
            output: Broken,
            name: "log",
        };
        assert_eq!(output.write(b"a line\n").ok(), Some(7));
        assert!(output.flush().is_ok());
    }

    #[test]
    fn a_level_and_a_list_of_levels_by_part_are_read() {
        for level in [
            "info",
            "INFO",
            "off",
            "info,rookery::shard=debug",
            "rookery=trace",
        ] {
            assert!(filter(level).is_ok(), "{level}");
        }
        let list = filter("info,rookery::shard=debug");
        assert!(list.is_ok_and(|list| {
            list.would_enable("rookery::shard::file", &tracing::Level::DEBUG)
                && !list.would_enable("rookery::node", &tracing::Level::DEBUG)
                && list.would_enable("sqlx", &tracing::Level::INFO)
        }));
    }

    #[test]
    fn what_is_no_level_is_refused_with_the_words_that_are() {
        for level in ["loud", "info,rookery=loud", "rookery::shard"] {
            let said = filter(level).err().unwrap_or_default();
            assert!(said.contains("give error, warn, info"), "{level}: {said}");
        }
    }
}
