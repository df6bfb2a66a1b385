//! Single processes of the cluster: whether they run, and signals to them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::chaos::site::Site;

/// For a killed process to be gone.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(10);
/// For a process to end that is asked to, whatever stands in its way.
const STOPPED_WITHIN: Duration = Duration::from_secs(50);

impl Site {
    /// The process, if it runs.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        pid_of(&self.folder, name)
    }

    /// The program that a process runs.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf, String> {
        let pid = self
            .pid(name)
            .ok_or_else(|| format!("{name} does not run"))?;
        std::fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| format!("{name}: {error}"))
    }

    /// Sends a signal to those that run.
    pub(crate) fn signal(&self, names: &[String], signal: Signal) {
        for name in names {
            if let Some(pid) = self.pid(name) {
                kill(Pid::from_raw(pid), signal).ok();
            }
        }
    }

    /// Kills them all at once, and waits until they are gone.
    pub(crate) async fn kill(&self, names: &[String]) {
        self.signal(names, Signal::SIGKILL);
        let end = Instant::now() + GONE_WITHIN;
        while names.iter().any(|name| self.pid(name).is_some()) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks a process to end, as its operator would, and waits until it has.
    pub(crate) async fn stop(&self, name: &str) -> Result<(), String> {
        self.signal(&[name.to_owned()], Signal::SIGTERM);
        self.gone(name).await
    }

    /// Waits until a process that was asked to end has ended.
    pub(crate) async fn gone(&self, name: &str) -> Result<(), String> {
        let end = Instant::now() + STOPPED_WITHIN;
        while self.pid(name).is_some() {
            if Instant::now() > end {
                return Err(format!(
                    "{name} was asked to stop, and runs on for {STOPPED_WITHIN:?}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// A process by what the script wrote down, if it is that one and runs.
pub(crate) fn pid_of(folder: &Path, name: &str) -> Option<i32> {
    let text = std::fs::read_to_string(folder.join(name).join("pid")).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first() != Some(&"Z") && fields.get(19) == Some(&started)).then(|| pid.parse().ok())?
}
