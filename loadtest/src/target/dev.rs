//! A `rookery dev` of this run's own, in a process and a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::client::dial::Endpoint;
use crate::client::tokens::Source;
use crate::target::started::Started;
use crate::target::{Found, Operations};

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(60);
/// The secret that tokens are made with here.
const SECRET: &str = "a secret for load tests only, never for anything else";

/// Where it serves, as it says.
#[derive(Debug, Deserialize)]
struct Ready {
    client: String,
    operations: String,
}

/// What one user may ask does not bound a load: a single sender is faster than its default. Flags
/// of the caller come behind, and the last one counts.
const UNTHROTTLED: [&str; 4] = [
    "--requests-per-second",
    "1000000",
    "--request-burst",
    "1000000",
];

/// Starts the program and waits until it serves.
pub(crate) async fn start(
    binary: Option<PathBuf>,
    arguments: &[String],
) -> Result<(Started, Found), String> {
    let binary = binary.map_or_else(built_beside_this_program, Ok)?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    start_in(folder, &binary, arguments).await
}

/// The same in a folder in which what it serves may be there already.
pub(crate) async fn start_in(
    folder: tempfile::TempDir,
    binary: &Path,
    arguments: &[String],
) -> Result<(Started, Found), String> {
    let mut started = Started::start_in(folder, binary, |command| {
        command.args([
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--operations-listen",
            "127.0.0.1:0",
        ]);
        command.args(UNTHROTTLED);
        command.args(arguments).env("ROOKERY_JWT_SECRET", SECRET);
    })?;
    let ready: Ready = started.ready(START_MAX).await?;

    let endpoint = Endpoint::plain(&ready.operations)?;
    let found = Found {
        clients: vec![Endpoint::plain(&ready.client)?],
        operations: vec![Operations {
            name: "dev".to_owned(),
            endpoint,
            pid: Some(started.pid()),
        }],
        redis: Vec::new(),
        tokens: Source::Secret(SECRET.to_owned()),
    };
    Ok((started, found))
}

/// Returns where the `rookery` of the same build is, if it was built.
pub(crate) fn beside_this_program() -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name("rookery")
}

fn built_beside_this_program() -> Result<PathBuf, String> {
    let binary = beside_this_program();
    if binary.exists() {
        return Ok(binary);
    }
    Err(format!(
        "there is no {}: build it (`cargo build --release`), or give --binary",
        binary.display()
    ))
}
