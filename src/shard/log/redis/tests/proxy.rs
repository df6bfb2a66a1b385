//! A TCP proxy that tests put between the log and a server: it can hold bytes back and cut connections.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections that are made from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lets everything pass.
    Pass,
    /// Lets everything pass to the server; of its replies to scripts none, and closes at the first one.
    CutAtReply,
    /// Lets the greeting pass; what comes after it waits for [`Proxy::release`], also when the client has gone.
    Hold,
}

#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    mode: Arc<Mutex<Mode>>,
    released: watch::Sender<bool>,
}

impl Proxy {
    pub(super) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(Mutex::new(Mode::Pass));
        let (released, release) = watch::channel(false);
        let its_mode = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let now = *its_mode.lock().unwrap();
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(requests(from_client, to_server, (now, release.clone())));
                tokio::spawn(replies(from_server, to_client, now));
            }
        });
        Self { port, mode, released }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Lets what is held go on to the server.
    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }
}

/// True for bytes that belong to the set-up of a connection.
fn greeting(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|word| word == b"SETINFO")
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (mode, mut release): (Mode, watch::Receiver<bool>)) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if mode == Mode::Hold && !greeting(&buffer[..count]) {
            release.wait_for(|released| *released).await.unwrap();
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // Leaves the server's side open until the server has read everything.
    to.shutdown().await.ok();
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Mode) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let script = buffer[..count].starts_with(b"*");
        if mode == Mode::CutAtReply && script {
            return;
        }
        // A client that has gone does not end the reading: the server is to find its side open.
        to.write_all(&buffer[..count]).await.ok();
    }
}
