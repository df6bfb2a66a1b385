//! A folder of `scripts/cluster`, and the script.

use std::net::Ipv4Addr;

use tempfile::TempDir;

use super::*;
use crate::support::SECRET;
use crate::support::server::show_end;

/// What `scripts/cluster` is asked for at most this long; its own deadlines are shorter.
pub(super) const SCRIPT_WITHIN: Duration = Duration::from_secs(240);

/// A folder of `scripts/cluster`. Dropping it, or the end of the test process however it comes,
/// ends everything in it.
pub(super) struct Folder {
    path: TempDir,
    watchdog: Child,
}

impl Folder {
    pub(super) fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("rookery-it-")
            .tempdir()
            .unwrap();
        let mut command = Command::new("sh");

        command
            .args([
                "-c",
                r#"cat >/dev/null; exec "$1" --folder "$2" wipe"#,
                "watchdog",
            ])
            .arg(script());
        command
            .arg(path.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // A group of its own: what ends the test process from the terminal must not end its
        // watchdog.
        let watchdog = command.process_group(0).spawn().unwrap();

        Self { path, watchdog }
    }

    pub(super) fn path(&self) -> &Path {
        self.path.path()
    }

    /// A call of the script, away from the environment of whoever runs the tests.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(script());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ROOKERY_JWT_SECRET", SECRET);
        command
            .arg("--folder")
            .arg(self.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Calls the script, which must succeed.
    pub(super) fn call(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        if !output.status.success() {
            self.show_logs();
            panic!(
                "scripts/cluster {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output
    }

    /// The same without holding up the other tasks of a test.
    pub(super) async fn call_async(&self, arguments: &[&str]) {
        let mut command = tokio::process::Command::from(self.command(arguments));
        let output = tokio::time::timeout(SCRIPT_WITHIN, command.kill_on_drop(true).output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("scripts/cluster {arguments:?} hangs"))
            .unwrap();
        if !output.status.success() {
            self.show_logs();
            panic!(
                "scripts/cluster {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// What listens where, by `node-1.peer` and so on.
    pub(super) fn ports(&self) -> BTreeMap<String, SocketAddr> {
        let text = fs::read_to_string(self.path().join("ports")).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(name, port)| {
                (
                    name.to_owned(),
                    (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into(),
                )
            })
            .collect()
    }

    /// A file of a process.
    pub(super) fn file(&self, name: &str, file: &str) -> PathBuf {
        self.path().join(name).join(file)
    }

    pub(super) fn show_logs(&self) {
        let Ok(entries) = fs::read_dir(self.path()) else {
            return;
        };
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            if let Ok(code) = fs::read_to_string(self.file(&name, "exit")) {
                eprintln!("{name} had ended with {}", code.trim());
            }
            if let Ok(log) = fs::read(self.file(&name, "log")) {
                show_end(&name, &String::from_utf8_lossy(&log), 30);
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        drop(self.command(&["wipe"]).output());
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster")
}
