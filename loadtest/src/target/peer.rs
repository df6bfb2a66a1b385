//! A server of another kind that does the same job: it is started for a run, so that both stand in
//! one table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::client::dial::Endpoint;
use crate::client::tokens::Source;
use crate::target::started::Started;
use crate::target::{Found, Operations};

/// How long it may take to start: the first time its packages are installed.
const START_MAX: Duration = Duration::from_secs(660);

/// The choice, by flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Peer")]
pub(crate) struct PeerOptions {
    /// Run the same against a server of another kind as well, which is started for it, and tell the
    /// ratios
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) peer: Option<Peer>,
}

/// Servers that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Two processes of socket.io with its redis-streams adapter, a worker that writes to SQLite,
    /// and Redis
    #[value(name = "socketio")]
    SocketIo,
}

impl Peer {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
        }
    }

    /// The program that sets it up and starts it, in the sources that this program was built of.
    fn program(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("peers")
            .join(self.name())
            .join("start")
    }
}

/// Where everything of it is, as it says.
#[derive(Debug, Deserialize)]
struct Ready {
    clients: Vec<String>,
    processes: Vec<Process>,
    redis: Vec<String>,
    secret: String,
}

/// One of its processes.
#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    pid: u32,
    address: String,
}

/// Sets it up if need be, starts it, and waits until it serves.
pub(crate) async fn start(peer: Peer) -> Result<(Started, Found), String> {
    let program = peer.program();
    if !program.exists() {
        return Err(format!(
            "there is no {}: --peer needs the sources that loadtest was built of",
            program.display()
        ));
    }
    let mut started = Started::start(&program, |_| {})?;
    let ready: Ready = started.ready(START_MAX).await?;

    let operations = |process: Process| {
        let endpoint = Endpoint::plain(&process.address)?;
        Ok::<_, String>(Operations {
            name: process.name,
            endpoint,
            pid: Some(process.pid),
        })
    };
    let found = Found {
        clients: ready
            .clients
            .iter()
            .map(|address| Endpoint::plain(address))
            .collect::<Result<_, _>>()?,
        operations: ready
            .processes
            .into_iter()
            .map(operations)
            .collect::<Result<_, _>>()?,
        redis: ready.redis,
        tokens: Source::Secret(ready.secret),
    };
    Ok((started, found))
}
