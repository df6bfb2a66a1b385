//! The real binary on ports and a folder of its own.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::{DEADLINE, Fields, SECRET};

/// A running `rookery dev`. Dropping it kills the process and removes its folder.
pub(crate) struct Server {
    folder: TempDir,
    arguments: Vec<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    watchdog: Child,
    client: SocketAddr,
    operations: SocketAddr,
}

/// The server that tests share which neither stop nor fill it. Shows the end of its log when the test fails.
pub(crate) struct Shared(&'static Server);

/// The shared server, started by the first test that asks.
pub(crate) fn shared() -> Shared {
    static SERVER: OnceLock<Server> = OnceLock::new();
    Shared(SERVER.get_or_init(Server::start))
}

impl std::ops::Deref for Shared {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.show_log();
        }
    }
}

impl Server {
    /// Starts on a fresh folder.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts on a fresh folder with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), arguments, running: None };
        server.run();
        server
    }

    /// A client of this user, with a good token.
    pub(crate) fn client(&self, user: &str) -> Client {
        Client::new(self.address(), user)
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
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Ends the process as a crash would: no warning, nothing flushed.
    pub(crate) fn kill9(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.dismiss_watchdog();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// Asks the process to end (SIGTERM). Await the end with [`Server::exited`].
    pub(crate) fn ask_to_end(&self) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            let running = self.running.as_mut().expect("a running server");
            if let Some(status) = running.child.try_wait().unwrap() {
                running.dismiss_watchdog();
                self.running = None;
                return status;
            }
            assert!(Instant::now() < end, "the server did not end within {DEADLINE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM, and the exit status.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.exited().await
    }

    /// Starts again on the same folder (killing the process first if it still runs). Ports differ afterwards.
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.run();
    }

    /// Runs a second process beside this one, which is expected to give up, and returns what it said.
    pub(crate) async fn run_to_end(arguments: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + DEADLINE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("the process goes on instead of refusing: {:?}", child.wait_with_output());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.wait_with_output().unwrap()
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
        let log = OpenOptions::new().create(true).append(true).open(folder.join("server.log")).unwrap();
        let mut child = command(folder)
            .args(["dev", "--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .arg("--ready-file")
            .arg(&ready)
            .args(&self.arguments)
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
        self.running = Some(Running { child, watchdog, client: address("client"), operations: address("operations") });
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- end of the server's log");
        for line in lines.iter().skip(lines.len().saturating_sub(60)) {
            eprintln!("{line}");
        }
        eprintln!("---");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.kill9();
    }
}

impl Running {
    fn dismiss_watchdog(&mut self) {
        self.watchdog.kill().unwrap();
        self.watchdog.wait().unwrap();
    }
}

/// The binary with the test secret, away from the environment and the folder of whoever runs the tests.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command.env_clear().env("ROOKERY_JWT_SECRET", SECRET).current_dir(folder).stdin(Stdio::null());
    command
}

/// Ends the server and removes its folder when this test process is gone, however it ended: its end of the pipe closes.
/// (The shared server is never dropped.)
fn watchdog(pid: u32, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2""#, "watchdog", &pid.to_string()])
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
        let read = std::fs::read(ready).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
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
