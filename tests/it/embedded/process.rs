//! The command line, and what the one process refuses. Embedded only: `rookery dev` is what is
//! started here, and its refusals (a folder in use, a port in use, another number of shards) are
//! those of its own start.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::embedded::command;
use crate::support::server::{Server, shared};
use crate::support::{DEADLINE, Fields, Group};

/// A process that refuses to run says why in its last line, without a stack trace, and fails.
fn refusal(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it ended well: {said}");
    assert!(
        output.status.code().is_some(),
        "it was ended by a signal: {said}"
    );
    assert!(
        !said.contains("panicked") && !said.contains("stack backtrace"),
        "{said}"
    );
    let last = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    assert!(last.contains(why), "the last line names {why:?}: {said}");
}

/// Runs a process that is expected to end by itself, and returns what it said.
async fn run_to_end(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();

    let end = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!(
                "the process goes on instead of refusing: {:?}",
                child.wait_with_output()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let server = shared();
    let data = server.process().data();
    let folder = data.to_str().unwrap();
    let output = run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        folder,
    ])
    .await;

    refusal(&output, folder);
    // The first one is unharmed.
    Group::create(&server, 1).await;
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let server = shared();
    let address = server.address().to_string();
    let output = run_to_end(&[
        "dev",
        "--listen",
        &address,
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        "data",
    ])
    .await;
    refusal(&output, &address);

    let operations = server.process().operations().to_string();
    let output = run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        &operations,
        "--data",
        "data",
    ])
    .await;
    refusal(&output, &operations);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let output = run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        "/dev/null/rookery",
    ])
    .await;
    refusal(&output, "/dev/null/rookery");
}

#[tokio::test]
async fn another_number_of_shards_on_the_same_data_is_refused() {
    let mut server = Server::start_with(&["--shards", "4"]);
    Group::create(&server, 1).await;
    assert!(server.terminate().await.success());

    let data = server.process().data();
    let output = run_to_end(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--operations-listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
        "--shards",
        "8",
    ])
    .await;

    refusal(&output, "shards");
    server.restart();
    Group::create(&server, 1).await;
}

#[tokio::test]
async fn a_mistaken_command_line_is_refused() {
    for arguments in [
        &["dev", "--listen", "nonsense"][..],
        &["dev", "--colour", "blue"],
        &["nonsense"],
    ] {
        let output = run_to_end(arguments).await;
        assert!(
            !output.status.success() && output.status.code().is_some(),
            "{arguments:?}: {output:?}"
        );
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn the_token_command_makes_a_token_that_the_server_takes() {
    let server = shared();
    let output = run_to_end(&["token", "zoe"]).await;
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let zoe = server.client("zoe").with_token(Some(token));
    let made = zoe.create(&["bob"]).await;
    assert_eq!(made.text("admin"), "zoe");
}

#[tokio::test]
async fn help_explains_the_flags_and_shows_no_secret() {
    for arguments in [&["--help"][..], &["dev", "--help"], &["token", "--help"]] {
        let output = run_to_end(arguments).await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains(crate::support::SECRET), "{said}");
        assert!(!said.is_empty());
    }
}

/// Everything below a folder, with its permissions.
fn modes(folder: &std::path::Path, found: &mut Vec<(std::path::PathBuf, u32)>) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        found.push((path.clone(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            modes(&path, found);
        }
    }
}

#[tokio::test]
async fn what_is_stored_is_for_its_owners_eyes_only() {
    let server = Server::start_with(&[]);
    Group::create(&server, 1).await;
    let mut found = Vec::new();
    modes(&server.process().data(), &mut found);
    assert!(
        found
            .iter()
            .any(|(path, _)| path.extension().is_some_and(|kind| kind == "sqlite")),
        "{found:?}"
    );
    for (path, mode) in found {
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}
