//! Backups of this cluster, which the program takes while everybody works, and what is made of
//! them.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::chaos::site::Site;
use crate::chaos::site::program::{complaint, done};

/// For all of a backup, also when an owner dies meanwhile: of a shard nothing may come for two
/// minutes before it is given up.
const COPIED_WITHIN: Duration = Duration::from_secs(300);
/// For a backup to be read and compared with its manifest.
const VERIFIED_WITHIN: Duration = Duration::from_secs(120);
/// For a folder to be made of a backup.
const RESTORED_WITHIN: Duration = Duration::from_secs(300);
/// How a backup says that it is not whole.
const LACKS: &str = "the backup lacks shard";
/// Bytes a second at least, as the program takes them.
const RATE_MIN: u64 = 64 * 1_024;

/// A backup that is being taken; dropped, it ends as it stands.
#[derive(Debug)]
pub(crate) struct Copying {
    folder: PathBuf,
    running: JoinHandle<std::io::Result<Output>>,
}

/// How a backup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It has every shard.
    Whole,
    /// It says which it has not.
    Lacks(String),
}

impl Site {
    /// Where backups of this cluster are, beside its own folder.
    pub(crate) fn backups(&self) -> PathBuf {
        self.folder.with_file_name("backups")
    }

    /// Begins a backup into this folder, at so many bytes a second, or as fast as it goes.
    pub(crate) fn copy(&self, to: &Path, rate: Option<u64>) -> Result<Copying, String> {
        std::fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
        let mut command = self.command(&["backup", "--json"]);
        command
            .arg("--to")
            .arg(to)
            .arg("--cluster")
            .arg(&self.folder);
        if let Some(rate) = rate {
            let kibibytes = rate.max(RATE_MIN) / 1_024;
            command.arg("--rate-limit").arg(format!("{kibibytes}KiB"));
        }

        Ok(Copying {
            folder: to.to_owned(),
            running: tokio::spawn(async move { command.output().await }),
        })
    }

    /// Bytes that a backup of everything has, about.
    pub(crate) fn stored(&self) -> u64 {
        let files = self.nodes().into_iter().flat_map(|node| {
            let shards = std::fs::read_dir(self.home(&node).join("data/shards"));
            shards.into_iter().flatten().flatten()
        });
        let mains = files.filter(|file| file.path().extension().is_some_and(|of| of == "sqlite"));
        let bytes: u64 = mains
            .filter_map(|file| file.metadata().ok())
            .map(|known| known.len())
            .sum();
        // Each shard has an owner and a standby.
        bytes / 2
    }

    /// Has a backup read and compared with what it says of itself.
    pub(crate) async fn verify(&self, backup: &Path) -> Result<(), String> {
        let backup = backup.display().to_string();
        let arguments = ["backup", "verify", &backup];
        done(&arguments, VERIFIED_WITHIN, self.command(&arguments))
            .await
            .map(drop)
    }

    /// Makes the data folder of one process of a backup.
    pub(crate) async fn restore(&self, backup: &Path, data: &Path) -> Result<(), String> {
        let (backup, data) = (backup.display().to_string(), data.display().to_string());
        let arguments = ["restore", "--from", &backup, "--data", &data];
        done(&arguments, RESTORED_WITHIN, self.command(&arguments))
            .await
            .map(drop)
    }
}

impl Copying {
    /// Waits until something is copied.
    pub(crate) async fn has_begun(&self, within: Duration) -> Result<(), String> {
        let end = Instant::now() + within;
        while !self.has_file() {
            if self.running.is_finished() || Instant::now() > end {
                return Err("the backup copies nothing".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn has_file(&self) -> bool {
        let entries = std::fs::read_dir(&self.folder);
        let mut files = entries.into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|of| of == "sqlite"))
    }

    /// Whether it is still under way.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.running.is_finished()
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> Result<Copied, String> {
        let ended = tokio::time::timeout(COPIED_WITHIN, &mut self.running).await;
        let output = ended
            .map_err(|_late| format!("a backup did not end within {COPIED_WITHIN:?}"))?
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("rookery backup: {error}"))?;
        if output.status.success() {
            return Ok(Copied::Whole);
        }
        let said = complaint(&output);
        if said.contains(LACKS) {
            Ok(Copied::Lacks(said))
        } else {
            Err(format!("rookery backup: {said}"))
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.running.abort();
    }
}
