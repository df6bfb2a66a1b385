//! `rookery dev`: the real binary, everything in one process, on ports and a folder of its own.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::{Ended, show_end};
use crate::support::{DEADLINE, Fields, SECRET, UNTHROTTLED};

/// A running `rookery dev`. Dropping it kills the process and removes its folder.
pub(crate) struct Process {
    folder: TempDir,
    flags: Vec<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    watchdog: Child,
    client: SocketAddr,
    operations: SocketAddr,
}

impl Process {
    /// Starts on a fresh folder with further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_on(flags, |_data| {})
    }

    /// The same on a data folder that is filled before.
    pub(crate) fn start_on(flags: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let flags = UNTHROTTLED
            .iter()
            .chain(flags)
            .map(|&flag| flag.to_owned())
            .collect();
        let mut process = Self {
            folder: tempfile::tempdir().unwrap(),
            flags,
            running: None,
        };
        fill(&process.data());
        process.run();
        process
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running().client
    }

    /// Where the operations port listens.
    pub(crate) fn operations(&self) -> SocketAddr {
        self.running().operations
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Where it keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// See [`crate::support::server::Server::kill9`].
    pub(crate) fn kill9(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.dismiss_watchdog();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// See [`crate::support::server::Server::ask_to_end`].
    pub(crate) fn ask_to_end(&self) {
        kill(
            Pid::from_raw(i32::try_from(self.pid()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
    }

    /// See [`crate::support::server::Server::exited`].
    pub(crate) async fn exited(&mut self) -> Ended {
        let end = Instant::now() + DEADLINE;
        loop {
            let running = self.running.as_mut().expect("a running server");
            if let Some(status) = running.child.try_wait().unwrap() {
                running.dismiss_watchdog();
                self.running = None;
                return Ended::with(vec![status.code()]);
            }
            assert!(
                Instant::now() < end,
                "the server did not end within {DEADLINE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// See [`crate::support::server::Server::restart`].
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.run();
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Prints the end of its log.
    pub(crate) fn show_log(&self) {
        show_end("the server", &self.log(), 60);
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a running server")
    }

    fn run(&mut self) {
        let folder = self.folder.path();
        let ready = folder.join("ready.json");
        if ready.exists() {
            std::fs::remove_file(&ready).unwrap();
        }

        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("server.log"))
            .unwrap();
        let mut child = command(folder)
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--operations-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(self.data())
            .arg("--ready-file")
            .arg(&ready)
            .args(&self.flags)
            .stdout(File::try_clone(&log).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let watchdog = watchdog(child.id(), folder);

        let Some(addresses) = wait_for(&ready, &mut child) else {
            drop(child.kill());
            self.show_log();
            panic!("the server did not become ready");
        };
        let address = |name: &str| addresses.text(name).parse().unwrap();

        self.running = Some(Running {
            child,
            watchdog,
            client: address("client"),
            operations: address("operations"),
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl Running {
    fn dismiss_watchdog(&mut self) {
        self.watchdog.kill().unwrap();
        self.watchdog.wait().unwrap();
    }
}

/// The binary with the test secret, away from the environment and the folder of whoever runs the
/// tests.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command
        .env_clear()
        .env("ROOKERY_JWT_SECRET", SECRET)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// Ends the server and removes its folder when this test process is gone, however it ended: its end
/// of the pipe closes. (The shared server is never dropped.)
pub(crate) fn watchdog(pid: u32, folder: &Path) -> Child {
    Command::new("sh")
        .args([
            "-c",
            r#"cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2""#,
            "watchdog",
            &pid.to_string(),
        ])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for(ready: &Path, child: &mut Child) -> Option<Value> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        // A file half written does not parse: look again.
        let read = std::fs::read(ready)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if read.is_some() {
            return read;
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}
