//! A process of the test, with its log and its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::get;
use super::until;

/// A process with its log, killed when dropped or when this test process dies.
pub(crate) struct Spawned {
    pub(crate) name: String,
    child: Child,
    watchdog: Child,
    log: PathBuf,
    ready: PathBuf,
}

impl Spawned {
    pub(crate) fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let watchdog = Command::new("sh")
            .args([
                "-c",
                r#"cat >/dev/null; kill -9 "$1" 2>/dev/null"#,
                "watchdog",
                &child.id().to_string(),
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = folder.join(format!("{name}.ready"));

        Self {
            name: name.to_owned(),
            child,
            watchdog,
            log,
            ready,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    pub(crate) fn exited(&mut self) -> ExitStatus {
        until(&format!("{} ends", self.name), || {
            self.child.try_wait().unwrap()
        })
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exited().code()
    }

    pub(crate) fn kill9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it serves. Its ready file.
    pub(crate) fn serving(&mut self) -> Value {
        until(&format!("{} serves", self.name), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}: {}", self.name, self.log());
            }
            serde_json::from_slice(&std::fs::read(&self.ready).ok()?).ok()
        })
    }

    /// Where the operations port listens, which is told before it serves.
    fn operations(&self) -> String {
        until(&format!("{} tells its operations port", self.name), || {
            let log = self.log();
            let line = log
                .lines()
                .rev()
                .find(|line| line.contains("serving operations"))?;
            Some(
                line.split_once("operations=")?
                    .1
                    .split_whitespace()
                    .next()?
                    .to_owned(),
            )
        })
    }

    /// Status and body of a path of the operations port.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        get(&self.operations(), path, None)
    }

    /// The one line of a process that refuses to start.
    pub(crate) fn refusal(&mut self) -> String {
        assert_eq!(self.exited().code(), Some(1), "{}", self.log());
        let log = self.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("rookery: "))
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        lines[0].to_owned()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.kill9();
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- {}\n{}",
                self.name,
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}
