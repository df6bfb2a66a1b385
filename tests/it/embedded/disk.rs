//! A disk that is really full: the process has one of its own, of a few megabytes, in a namespace
//! of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::embedded::{command, watchdog};
use crate::support::{Fields, eventually, unique};

/// `rookery dev` on a small disk. Dropping it kills it, and its disk goes with it.
struct Small {
    folder: tempfile::TempDir,
    child: Child,
    watchdog: Child,
}

impl Small {
    /// `None` where this user may not mount.
    fn start() -> Option<Self> {
        const APART: [&str; 3] = ["--user", "--map-root-user", "--mount"];
        let may = Command::new("unshare")
            .args(APART)
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output();
        if !may.is_ok_and(|may| may.status.success()) {
            return None;
        }

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::create_dir(path.join("data")).unwrap();
        let log = File::create(path.join("server.log")).unwrap();
        let plain = command(path);
        let mut apart = Command::new("unshare");
        apart
            .args(APART)
            .args([
                "sh",
                "-c",
                r#"mount -t tmpfs -o size=32m tmpfs data && exec "$0" "$@""#,
            ])
            .arg(plain.get_program())
            .args([
                "dev",
                "--listen",
                "127.0.0.1:0",
                "--operations-listen",
                "127.0.0.1:0",
                "--shards",
                "2",
            ])
            .args(["--data", "data", "--ready-file", "ready.json"])
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = apart.spawn().unwrap();
        let watchdog = watchdog(child.id(), path);
        Some(Self {
            folder,
            child,
            watchdog,
        })
    }

    /// A client, once it is ready.
    async fn client(&self) -> Client {
        let ready = self.folder.path().join("ready.json");
        let read = async || {
            std::fs::read(&ready)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        };
        let addresses = eventually("it is ready", read).await;
        Client::new(addresses.text("client").parse().unwrap(), &unique("alice"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap()
    }

    /// How many lines a person would look at.
    fn alarms(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .count()
    }

    /// The file that fills its disk, as it is seen from here.
    fn filler(&self) -> PathBuf {
        let root = Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root");
        root.join(self.folder.path().strip_prefix("/").unwrap())
            .join("data/filler")
    }

    /// Takes what space there is.
    fn fill(&self) {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.watchdog.kill().unwrap();
        self.watchdog.wait().unwrap();
    }
}

/// Whether an answer is the refusal that tells of no space.
fn is_refused(answer: &Answer) -> bool {
    let after = answer
        .headers
        .get("retry-after")
        .and_then(|after| after.to_str().ok());
    let body = String::from_utf8_lossy(&answer.body);
    answer.status == 503
        && after == Some("5")
        && body.contains("\"unavailable\"")
        && body.contains("no space")
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_full_disk_refuses_writes_at_once_in_few_lines_and_takes_them_again_when_there_is_space()
{
    // Nothing to see where this user may not mount a disk.
    let Some(small) = Small::start() else { return };
    let client = small.client().await;
    let name = client
        .create(&[client.user()])
        .await
        .text("name")
        .to_owned();
    let path = format!("/v1/conversations/{name}/messages");
    let body = json!({"text": "x".repeat(4_000)});
    let mut acknowledged = Vec::new();
    // What the files have already, and what they give back when they are opened again, is used up
    // first.
    let (mut in_a_row, mut before) = (0, small.alarms());
    let end = std::time::Instant::now() + crate::support::DEADLINE * 4;
    while in_a_row < 50 {
        assert!(std::time::Instant::now() < end, "{}", small.log());
        small.fill();
        let answer = client.post(&path, &body).await;
        if is_refused(&answer) {
            in_a_row += 1;
            continue;
        }
        (in_a_row, before) = (0, small.alarms());
        if answer.status == 201 {
            let sent: Value = serde_json::from_slice(&answer.body).unwrap();
            acknowledged.push(sent.number("seq"));
        }
    }
    let alarms = small.alarms() - before;
    assert!(
        alarms < 10,
        "{alarms} lines for 50 refusals:\n{}",
        small.log()
    );
    let of_log = |words: &str| {
        small
            .log()
            .lines()
            .filter(|line| line.contains(words))
            .count()
    };
    assert_eq!(
        of_log("the log has no space left"),
        of_log("the log has space again") + 1,
        "{}",
        small.log()
    );
    client.get(&path).await.expect(200);

    std::fs::remove_file(small.filler()).unwrap();
    let sent = async || Some(client.post(&path, &body).await).filter(|answer| answer.status == 201);
    eventually("there is space again", sent).await;
    let events = client.all_events(&name).await;
    let seqs: Vec<u64> = events.iter().map(|event| event.number("seq")).collect();
    assert!(
        acknowledged.iter().all(|seq| seqs.contains(seq)),
        "what was acknowledged is there"
    );
    assert_eq!(
        of_log("the log has no space left"),
        of_log("the log has space again"),
        "{}",
        small.log()
    );
}
