//! An output that cannot be written never matters: the real binary with standard output and
//! standard error closed, full, or pipes whose reader is gone or reads nothing: at its start, while
//! it serves, at its end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect, and says so"
)]

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up. Bounds a failure, measures nothing.
const DEADLINE: Duration = Duration::from_secs(60);

const BINARY: &str = env!("CARGO_BIN_EXE_rookery");

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The one-process cluster with a given output.
struct Served {
    folder: TempDir,
    child: Child,
    client: SocketAddr,
    operations: SocketAddr,
}

impl Served {
    /// Starts it by a shell line in which `"$@"` is the program and its arguments; every request
    /// makes a line of its log.
    fn start(line: &str, stdout: Stdio, stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready.json");
        let mut child = Command::new("sh")
            .args([
                "-c",
                line,
                "sh",
                BINARY,
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--operations-listen",
                "127.0.0.1:0",
            ])
            .args(["--log-level", "debug", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .env_clear()
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let told: Value = until("it serves", || {
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        });
        let address = |name: &str| told[name].as_str().unwrap().parse().unwrap();

        Self {
            folder,
            child,
            client: address("client"),
            operations: address("operations"),
        }
    }

    /// Asks so often that far more than a pipe holds is logged; each request is answered.
    fn answers_under_load(&self) {
        for _ in 0..600 {
            let answer = get(self.client, "/v1/conversations");
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        }
    }

    fn unwritten(&self) -> f64 {
        let metrics = get(self.operations, "/metrics");
        let values = metrics
            .lines()
            .filter(|line| line.starts_with("rookery_output_unwritten_total{"));
        values
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Asks it to end; it drains, and ends well.
    fn ends_well(mut self) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        let status = until("it ends", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
        assert!(self.folder.path().join("data").exists());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A pipe: what writes into it, and its reader.
fn pipe() -> (Stdio, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Stdio::from(writer), reader)
}

fn full() -> Stdio {
    Stdio::from(
        File::options()
            .write(true)
            .open(Path::new("/dev/full"))
            .unwrap(),
    )
}

#[test]
fn outputs_that_are_closed_from_the_start_do_not_matter() {
    let served = Served::start(r#"exec "$@" >&- 2>&-"#, Stdio::null(), Stdio::null());
    served.answers_under_load();
    served.ends_well();
}

#[test]
fn outputs_that_are_full_do_not_matter_and_are_counted() {
    let served = Served::start(r#"exec "$@""#, full(), full());
    served.answers_under_load();
    until("what was not written is counted", || {
        (served.unwritten() > 0.0).then_some(())
    });
    served.ends_well();
}

#[test]
fn outputs_whose_reader_is_gone_do_not_matter_and_are_counted() {
    let ((out, out_reader), (err, err_reader)) = (pipe(), pipe());
    let served = Served::start(r#"exec "$@""#, out, err);
    drop((out_reader, err_reader));
    served.answers_under_load();
    until("what was not written is counted", || {
        (served.unwritten() > 0.0).then_some(())
    });
    served.ends_well();
}

#[test]
fn outputs_whose_reader_reads_nothing_do_not_matter_and_are_counted() {
    let ((out, _out_reader), (err, _err_reader)) = (pipe(), pipe());
    let served = Served::start(r#"exec "$@""#, out, err);
    // More than the pipe and the queue before it hold.
    until("what was not written is counted", || {
        served.answers_under_load();
        (served.unwritten() > 0.0).then_some(())
    });
    served.ends_well();
}

#[test]
fn a_command_whose_output_is_cut_off_ends_without_a_panic() {
    for arguments in ["openapi", "--help"] {
        let line = format!(r#"{{ "$1" {arguments}; echo "exit $?" >&2; }} | head -c 10"#);
        let ended = Command::new("sh")
            .args(["-c", &line, "sh", BINARY])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(
            said.contains("exit 0") && !said.contains("panicked"),
            "{arguments}: {said}"
        );
    }
    let refused = Command::new("sh")
        .args(["-c", r#"exec "$1" dev --shards 3 >&- 2>&-"#, "sh", BINARY])
        .status()
        .unwrap();
    assert_eq!(
        refused.code(),
        Some(2),
        "a refusal that nobody can read is a refusal"
    );
}
