//! Disks, files and clocks of nodes: small, full, slow, failing, old, damaged, empty, ahead,
//! behind.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use crate::chaos::random::Random;
use crate::chaos::site::Site;

/// Size of the disk of its own while it is not full: more than hours of load need.
const ROOMY: u64 = 16 << 30;
/// What is left of it when it is made small, for the filler to fill.
const LEFT: u64 = 1 << 20;
/// The file that fills it.
const FILLER: &str = "filler";
/// A main file that was not written for this long is in no checkpoint.
const QUIET: Duration = Duration::from_millis(250);
/// Attempts to find a node between two checkpoints: with many shards there is one nearly all the
/// time.
const ATTEMPTS: usize = 200;
/// A page of SQLite.
const PAGE: u64 = 4_096;

/// Mounts a disk of its own, which only the administrator can.
pub(crate) fn mount(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    mount_with(folder, &format!("size={ROOMY}"))
}

fn mount_with(folder: &Path, options: &str) -> Result<(), String> {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(folder)
        .output();
    let mounted = mounted.map_err(|error| format!("mount: {error}"))?;
    if mounted.status.success() {
        Ok(())
    } else {
        Err(format!(
            "mount: {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        ))
    }
}

/// Whether this user may mount.
pub(crate) fn may_mount() -> bool {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl Site {
    /// Fills the disk of a node; or makes room again.
    pub(crate) fn fill(&self, node: &str, full: bool) -> Result<(), String> {
        let folder = self.home(node).join("data");
        let path = folder.join(FILLER);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if !full {
            std::fs::remove_file(&path).map_err(failed)?;
            return mount_with(&folder, &format!("remount,size={ROOMY}"));
        }
        let disk = statvfs(&folder).map_err(|error| failed(error.into()))?;
        let used = (disk.blocks() - disk.blocks_free()) * disk.fragment_size();
        mount_with(&folder, &format!("remount,size={}", used + LEFT))?;
        let mut file = File::create(&path).map_err(failed)?;
        let block = vec![0; 1 << 16];
        // Until there is no room.
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        Ok(())
    }

    /// Makes each fsync of a process late, or fail: by a tracer, until that is ended.
    pub(crate) fn trace(&self, name: &str, inject: &str) -> Result<Child, String> {
        let pid = self
            .pid(name)
            .ok_or_else(|| format!("{name} does not run"))?
            .to_string();
        let inject = format!("inject=fdatasync,fsync:{inject}");
        let mut command = Command::new("strace");

        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync,fsync",
            "-e",
            &inject,
            "-p",
            &pid,
        ]);

        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().map_err(|error| format!("strace: {error}"))
    }

    /// Kills nodes at a moment when none of their files is being checkpointed, and takes the logs
    /// of their files away: what a loss of power may leave, for those logs were not synced.
    pub(crate) async fn lose_power(&self, nodes: &[String]) -> Result<String, String> {
        for _ in 0..ATTEMPTS {
            self.signal(nodes, Signal::SIGSTOP);
            if nodes.iter().all(|node| is_quiet(&self.shards_of(node))) {
                self.kill(nodes).await;
                let mut taken = 0;
                for path in nodes.iter().flat_map(|node| self.shards_of(node)) {
                    let ending = path
                        .extension()
                        .and_then(|ending| ending.to_str())
                        .unwrap_or_default();
                    if matches!(ending, "sqlite-wal" | "sqlite-shm") {
                        taken += u64::from(std::fs::remove_file(&path).is_ok());
                    }
                }
                return Ok(format!("{nodes:?} lost {taken} logs of their files"));
            }
            self.signal(nodes, Signal::SIGCONT);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("{nodes:?} write their main files all the time"))
    }

    /// Overwrites some pages of the largest file of a shard; the node must not run.
    pub(crate) fn damage(&self, node: &str, random: &mut Random) -> Result<String, String> {
        let files = self
            .shards_of(node)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "sqlite"));
        let length = |path: &PathBuf| path.metadata().map_or(0, |known| known.len());
        let path = files
            .max_by_key(length)
            .ok_or_else(|| format!("{node} has no file"))?;
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::options().write(true).open(&path).map_err(failed)?;
        let pages = length(&path) / PAGE;

        for _ in 0..pages.div_ceil(4).min(64) {
            // Not the first, without which it is no database at all.
            let at = (1 + random.below(pages.saturating_sub(1))) * PAGE + random.below(PAGE - 64);
            let bytes: Vec<u8> = (0..8).flat_map(|_| random.next().to_le_bytes()).collect();
            file.write_all_at(&bytes, at).map_err(failed)?;
        }

        Ok(format!("{} of {pages} pages", path.display()))
    }

    /// Takes everything away that a node has stored, as a new disk would; the node must not run.
    pub(crate) fn empty(&self, node: &str) -> Result<(), String> {
        let folder = self.home(node).join("data");
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        // What is in it, not itself: it may be a disk of its own.
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(failed)?;
        }
        Ok(())
    }

    fn shards_of(&self, node: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home(node).join("data/shards"));
        entries
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    }
}

/// What runs a program with its wall clock ahead by so many seconds, or behind; the other clocks
/// are as they are. Not `faketime` itself: that stays its parent, and would be killed in its place.
pub(crate) fn clock_shifted(seconds: i64) -> Result<String, String> {
    let folders = std::fs::read_dir("/usr/lib").map_err(|error| format!("/usr/lib: {error}"))?;
    let libraries = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries
        .into_iter()
        .find(|path| path.exists())
        .ok_or("there is no libfaketimeMT.so.1 in /usr/lib")?;
    Ok(format!(
        "env LD_PRELOAD={} FAKETIME={seconds:+}s FAKETIME_DONT_FAKE_MONOTONIC=1 \
         DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1",
        library.display()
    ))
}

/// No main file was written a moment ago.
fn is_quiet(paths: &[PathBuf]) -> bool {
    let mains = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "sqlite"));
    let written = mains
        .filter_map(|path| path.metadata().ok()?.modified().ok())
        .max();
    written.is_none_or(|at: SystemTime| at.elapsed().is_ok_and(|since| since > QUIET))
}

/// Ends a tracer, which lets its process go.
pub(crate) fn untrace(mut tracer: Child) {
    if let Ok(pid) = i32::try_from(tracer.id()) {
        kill(Pid::from_raw(pid), Signal::SIGINT).ok();
    }
    tracer.wait().ok();
}
