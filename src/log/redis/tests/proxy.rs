//! A TCP proxy that tests put between the log and a server: it can hold bytes back and cut
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections that are made from now on; [`Mode::Deafen`] also with those
/// that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lets everything pass.
    Pass,
    /// Lets everything pass to the server; of its replies to scripts none, and closes at the first
    /// one.
    CutAtReply,
    /// Lets the greeting pass; what comes after it waits for [`Proxy::release`], also when the
    /// client has gone.
    Hold,
    /// Lets everything pass to the server; its replies wait until the mode is another one.
    Deafen,
}

#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    released: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, its_mode) = watch::channel(Mode::Pass);
        let (released, release) = watch::channel(false);
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);

        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let now = *its_mode.borrow();
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(requests(from_client, to_server, (now, release.clone())));
                tokio::spawn(replies(from_server, to_client, (now, its_mode.clone())));
            }
        });

        Self {
            port,
            mode,
            released,
            accepted,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many connections were made.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Lets what is held go on to the server.
    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }
}

/// True for bytes that belong to the set-up of a connection: it has to answer once before it is
/// used.
fn greeting(bytes: &[u8]) -> bool {
    bytes == b"*1\r\n$4\r\nTIME\r\n"
}

/// The answer to that: two numbers, the first of which has ten digits.
fn greeted(bytes: &[u8]) -> bool {
    bytes.starts_with(b"*2\r\n$10\r\n")
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mode, mut release): (Mode, watch::Receiver<bool>),
) {
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

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mode, mut now): (Mode, watch::Receiver<Mode>),
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if now.wait_for(|now| *now != Mode::Deafen).await.is_err() {
            return;
        }
        let script = buffer[..count].starts_with(b"*") && !greeted(&buffer[..count]);
        if mode == Mode::CutAtReply && script {
            return;
        }
        // A client that has gone does not end the reading: the server is to find its side open.
        to.write_all(&buffer[..count]).await.ok();
    }
}
