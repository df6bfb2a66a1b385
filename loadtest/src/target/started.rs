//! A process that is started for a run, in a folder of its own, says in a file that it serves, and
//! is ended with the run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

/// How long it may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(15);

/// The folder with what it stores, in its own.
pub(crate) const DATA: &str = "data";

/// The process; it is ended with this value.
#[derive(Debug)]
pub(crate) struct Started {
    child: Child,
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Started {
    /// Starts the program with `--data FOLDER --ready-file FILE` behind the arguments that `add`
    /// gives it.
    pub(crate) fn start(program: &Path, add: impl FnOnce(&mut Command)) -> Result<Self, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        Self::start_in(folder, program, add)
    }

    /// The same in a folder in which [`DATA`] may be there already.
    pub(crate) fn start_in(
        folder: tempfile::TempDir,
        program: &Path,
        add: impl FnOnce(&mut Command),
    ) -> Result<Self, String> {
        let log =
            std::fs::File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        add(&mut command);

        let child = command
            .arg("--data")
            .arg(folder.path().join(DATA))
            .arg("--ready-file")
            .arg(folder.path().join("ready.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", program.display()))?;
        Ok(Self {
            child,
            folder,
            program: program.to_owned(),
        })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the ready file is there and says what is expected of it. One that ends before,
    /// or is not ready in time, is told with its last words.
    pub(crate) async fn ready<T: DeserializeOwned>(
        &mut self,
        longest: Duration,
    ) -> Result<T, String> {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            if let Ok(text) = std::fs::read(self.folder.path().join("ready.json"))
                && let Ok(ready) = serde_json::from_slice(&text)
            {
                return Ok(ready);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!(
                    "{} ended at once, {status}: {}",
                    self.program.display(),
                    self.last_words()
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        Err(format!(
            "{} was not ready in {longest:?}: {}",
            self.program.display(),
            self.last_words()
        ))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.trim()
            .lines()
            .last()
            .unwrap_or("it said nothing")
            .to_owned()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Started {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg("sh")
            .arg(folder.path().join("ready.json"));
        let child = command.stderr(log).spawn().unwrap();
        Started {
            child,
            folder,
            program: PathBuf::from("sh"),
        }
    }

    #[tokio::test]
    async fn it_is_ready_when_its_file_is_whole_and_not_before() {
        let mut started =
            shell("printf '{\"a\"' >$1; sleep 0.2; printf '{\"a\": 7}' >$1; exec sleep 60");
        let ready: serde_json::Value = started.ready(Duration::from_secs(30)).await.unwrap();
        assert_eq!(ready["a"], 7);
    }

    #[tokio::test]
    async fn one_that_ends_instead_is_told_with_its_last_words() {
        let mut started = shell("echo first >&2; echo no luck >&2; exit 69");
        let error = started
            .ready::<serde_json::Value>(Duration::from_secs(30))
            .await
            .unwrap_err();
        assert!(
            error.contains("69") && error.ends_with("no luck"),
            "{error}"
        );
    }
}
