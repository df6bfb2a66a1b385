//! What an idle session costs in the server's memory.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::StatusCode;

use crate::client::{Connection, Socket, socket, token};
use crate::say;
use crate::server::{SECRET, Server};

/// Sockets opened at the same time.
const OPENING_MAX: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's binary.
    #[arg(long, default_value = "target/release/rookery")]
    binary: PathBuf,
    /// How many sockets, each of a user of its own.
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    /// Conversations of each user.
    #[arg(long, default_value_t = 1)]
    conversations: usize,
    /// Further arguments for the server.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    let server = Server::start(&options.binary, &options.arguments).await?;
    prepare(options, &server).await?;
    let before = server.resident_bytes()?;
    let mut sockets: Vec<Socket> = Vec::with_capacity(options.sockets);
    let users: Vec<usize> = (0..options.sockets).collect();
    for some in users.chunks(OPENING_MAX) {
        let opening = some.iter().map(|user| open(&server, *user));
        for opened in futures_util::future::join_all(opening).await {
            sockets.push(opened?);
        }
    }
    let after = server.resident_bytes()?;
    let each = after.saturating_sub(before) / u64::try_from(sockets.len().max(1)).unwrap_or(1);
    say(&format!(
        "{} idle sessions: resident memory {} KiB before, {} KiB with them, {each} bytes a session (router and node in one process)",
        sockets.len(),
        before / 1024,
        after / 1024,
    ));
    Ok(())
}

async fn open(server: &Server, user: usize) -> Result<Socket, String> {
    socket(server.client(user)?, &token(SECRET, &format!("idle-{user}"))?).await
}

/// Conversations of up to 1,000 of the users each, so that every session has something to be subscribed to.
async fn prepare(options: &Options, server: &Server) -> Result<(), String> {
    let users: Vec<String> = (0..options.sockets).map(|user| format!("idle-{user}")).collect();
    let mut connection = Connection::open(server.client(0)?, &token(SECRET, "idle-admin")?).await?;
    for _ in 0..options.conversations {
        for some in users.chunks(1_000) {
            let body = serde_json::json!({"participants": some});
            let (status, answer) = connection.post("/v1/conversations", Bytes::from(body.to_string())).await?;
            if status != StatusCode::CREATED {
                return Err(format!("creating a conversation: {status} {}", String::from_utf8_lossy(&answer)));
            }
        }
    }
    Ok(())
}
