//! System calls of a process that runs, of all its threads, counted by `strace`: those that do
//! something. How often a thread waits, and wakes another one, depends on who comes first; and what
//! the allocator gives back, on the clock.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::DEADLINE;

const INSTALL: &str = "strace is missing, and this test cannot count without it: scripts/install-chaos-tools installs it";

/// What is not counted, if there is such a call on this machine.
const WAITING: &str = "trace=!?futex,?epoll_wait,?epoll_pwait,?epoll_pwait2,?poll,?ppoll,?nanosleep,?clock_nanosleep,\
                       ?restart_syscall,?sched_yield,?madvise,?mmap,?munmap,?mprotect";

/// Lines of a tracer that are kept for whoever has to know why it failed.
const LINES_MAX: usize = 64;

/// Counts until it is asked for the sum.
pub(crate) struct Tracer {
    strace: Child,
    folder: TempDir,
    /// What it said.
    lines: Receiver<String>,
}

impl Tracer {
    /// Returns once every thread of the process is traced.
    pub(crate) fn attach(pid: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        command
            .args(["-f", "-c", "-e", WAITING, "-o"])
            .arg(folder.path().join("summary"))
            .args(["-p", &pid.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut strace = command
            .spawn()
            .unwrap_or_else(|error| panic!("{INSTALL} ({error})"));
        let said = strace.stderr.take().unwrap();

        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                // Of threads that begin later nobody wants to hear.
                drop(sender.try_send(line));
            }
        });

        let tracer = Self {
            strace,
            folder,
            lines,
        };
        until_attached(&tracer.lines);
        tracer
    }

    /// Lets the process go; how many calls there were.
    pub(crate) fn calls(mut self) -> u64 {
        kill(
            Pid::from_raw(self.strace.id().try_into().unwrap()),
            Signal::SIGINT,
        )
        .unwrap();

        let ended = self.strace.wait().unwrap();
        let summary = std::fs::read_to_string(self.summary()).unwrap();

        // Of a process that made no call there is no table at all. That one which is at work makes
        // some, its limit says.
        if summary.is_empty() && ended.signal() == Some(Signal::SIGINT as i32) {
            return 0;
        }

        let said: Vec<String> = self.lines.try_iter().collect();
        total(&summary).unwrap_or_else(|| {
            panic!("no total in what strace counted ({ended}; {said:?}):\n{summary}")
        })
    }

    fn summary(&self) -> PathBuf {
        self.folder.path().join("summary")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Has ended, if its calls were asked for.
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

fn until_attached(lines: &Receiver<String>) {
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) if line.contains(" attached") => return,
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!(
                "strace does not trace the server; run the tests as root, or set \
                 kernel.yama.ptrace_scope to 0: {said:?}"
            ),
        }
    }
}

/// The sum at the end of a summary: its fourth column.
fn total(summary: &str) -> Option<u64> {
    let last = summary.lines().rfind(|line| line.ends_with(" total"))?;
    last.split_whitespace().nth(3)?.parse().ok()
}

#[test]
fn the_total_of_a_summary_is_read_with_and_without_errors() {
    let with = "% time     seconds  usecs/call     calls    errors syscall\n\
        ------ ----------- ----------- --------- --------- ----------------\n \
        60.00    0.000600           6       100         7 epoll_wait\n\
        ------ ----------- ----------- --------- --------- ----------------\n\
        100.00    0.001000           6       150         7 total\n";
    assert_eq!(total(with), Some(150));
    assert_eq!(
        total("100.00    0.001000           6       150           total\n"),
        Some(150)
    );
    assert_eq!(total(""), None);
}
