//! The program's own commands, as an operator calls them on this cluster.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::chaos::site::Site;

/// Who asks for a change, as the log of the cluster tells it.
const BY: &str = "chaos";

impl Site {
    /// A command of the program, away from the environment of whoever runs this. It ends with its
    /// future.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = std::path::absolute(&self.plan.binary);
        let mut command = Command::new(binary.as_ref().unwrap_or(&self.plan.binary));
        command
            .env_clear()
            .current_dir(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Calls `rookery cluster`: what it printed, or why it did not do what was asked.
    pub(crate) async fn steer(
        &self,
        arguments: &[&str],
        within: Duration,
    ) -> Result<String, String> {
        let folder = self.folder.display().to_string();
        let all = [
            &["cluster"][..],
            arguments,
            &["--cluster", &folder, "--by", BY],
        ]
        .concat();
        done(&all, within, self.command(&all)).await
    }
}

/// Runs a command to its end: what it printed, or what it complained of.
pub(crate) async fn done(
    arguments: &[&str],
    within: Duration,
    mut command: Command,
) -> Result<String, String> {
    let output = tokio::time::timeout(within, command.output()).await;
    let output = output
        .map_err(|_late| format!("rookery {arguments:?} did not end within {within:?}"))?
        .map_err(|error| format!("rookery {arguments:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("rookery {arguments:?}: {}", complaint(&output)))
    }
}

/// What a command complained of, in one line.
pub(crate) fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    format!("{}: {}", output.status, lines.join("; "))
}
