//! What `scripts/cluster` does with its settings, and where it looks for the program. No Redis and
//! no Rookery is started.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::shadow_unrelated,
    reason = "a test stops at what it did not expect; it hands its own PATH on, and calls the script again and again"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder for `scripts/cluster` whose processes end with it.
struct Folder {
    home: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("rookery-scripts-")
                .tempdir()
                .unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("cluster")
    }

    /// Calls the script; returns whether it succeeded, and what it complained of.
    fn call(&self, environment: &[(&str, &Path)], arguments: &[&str]) -> (bool, String) {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(environment.iter().copied());
        command
            .arg("--folder")
            .arg(self.path())
            .args(arguments)
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Calls the script, which must succeed; returns what it complained of.
    fn prepare(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = self.call(&[], &[arguments, &["prepare"]].concat());
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    fn remembers(&self, setting: &str) -> bool {
        fs::read_to_string(self.path().join("settings"))
            .unwrap()
            .lines()
            .any(|line| line == setting)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.path().is_dir() {
            self.call(&[], &["wipe"]);
        }
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_setting_that_differs_from_the_folders_is_told_and_counts() {
    let folder = Folder::new();
    assert_eq!(folder.prepare(&["--ports", "free", "--nodes", "2"]), "");
    assert_eq!(
        folder.prepare(&[]),
        "",
        "what is not given differs from nothing"
    );
    assert_eq!(
        folder.prepare(&["--nodes", "2"]),
        "",
        "neither does what is the same"
    );

    let said = folder.prepare(&["--nodes", "3", "--node-flags", "--replicas 1"]);
    assert!(said.contains("--nodes '3' differs from '2'"), "{said}");
    assert!(
        said.contains("--node-flags '--replicas 1' differs from ''"),
        "{said}"
    );
    assert!(folder.remembers("nodes=3") && folder.remembers("node-flags=--replicas 1"));

    let said = folder.prepare(&["--ports", "fixed"]);
    assert!(said.contains("--ports fixed changes nothing"), "{said}");
    assert!(folder.remembers("ports=free"));
}

#[test]
fn a_setting_that_the_data_of_the_folder_rules_out_is_refused_and_not_kept() {
    let folder = Folder::new();
    folder.prepare(&["--ports", "free", "--shards", "64"]);
    assert!(
        folder
            .prepare(&["--shards", "32"])
            .contains("--shards '32' differs from '64'"),
        "nothing is stored yet"
    );

    fs::create_dir_all(folder.path().join("node-1/data")).unwrap();
    fs::write(folder.path().join("node-1/data/cluster.json"), "{}").unwrap();
    for (given, name) in [
        (["--shards", "16"], "--shards 32, not 16"),
        (["--prefix", "other"], "--prefix rk, not other"),
    ] {
        let (succeeded, said) = folder.call(&[], &[given.as_slice(), &["prepare"]].concat());
        assert!(!succeeded && said.contains(name), "{said}");
    }
    let (succeeded, said) = folder.call(&[], &["--redis", "single", "prepare"]);
    assert!(
        !succeeded && said.contains("was made with --redis cluster"),
        "{said}"
    );
    assert!(
        folder.remembers("shards=32")
            && folder.remembers("prefix=rk")
            && folder.remembers("redis=cluster")
    );
}

#[test]
fn the_program_is_taken_from_where_cargo_builds_it() {
    let folder = Folder::new();
    let (tools, built) = (
        folder.home.path().join("tools"),
        folder.home.path().join("elsewhere"),
    );
    fs::create_dir_all(&tools).unwrap();
    let program = r#"#!/bin/sh
while [ "$1" != --ready-file ]; do shift; done
echo "$0" >"$2"
exec sleep 600
"#;
    executable(&tools.join("program"), program);
    // Builds by a copy; says what the real one says.
    let cargo = format!(
        "#!/bin/sh\n[ \"$1\" = build ] || exec {} \"$@\"\nmkdir -p \"$CARGO_TARGET_DIR/release\" \
         && cp {} \"$CARGO_TARGET_DIR/release/rookery\"\n",
        env!("CARGO"),
        tools.join("program").display()
    );
    executable(&tools.join("cargo"), &cargo);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let environment = [
        ("PATH", Path::new(&path)),
        ("CARGO_TARGET_DIR", built.as_path()),
    ];
    let options = [
        "--ports",
        "free",
        "--redis-urls",
        "redis://127.0.0.1:1",
        "start",
        "node-1",
    ];
    let (succeeded, said) = folder.call(&environment, &options);
    assert!(succeeded, "{said}");
    let started = fs::read_to_string(folder.path().join("node-1/ready.json")).unwrap();
    assert_eq!(
        started.trim(),
        built.join("release/rookery").display().to_string()
    );
}
