//! A device that reads on, whatever breaks: it comes back by resume from the last seq that it saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::Target;
use crate::support::Fields;
use crate::support::socket::{Next, Socket};

/// How often it looks whether it may end, and how long it waits before it connects again.
const TICK: Duration = Duration::from_millis(100);

/// One reader of one conversation.
pub(crate) struct Reader {
    target: Target,
    user: String,
    conversation: String,
    last: Arc<AtomicU64>,
    /// Every change, from seq 2 on.
    pub(crate) seen: Vec<Value>,
    /// How often it had to connect.
    pub(crate) connections: usize,
}

impl Reader {
    /// A reader that has seen the beginning of the conversation, and nothing more. It ends when it
    /// has read up to `last`.
    pub(super) fn new(
        target: Target,
        user: &str,
        conversation: &str,
        last: Arc<AtomicU64>,
    ) -> Self {
        let (user, conversation) = (user.to_owned(), conversation.to_owned());
        Self {
            target,
            user,
            conversation,
            last,
            seen: Vec::new(),
            connections: 0,
        }
    }

    fn position(&self) -> u64 {
        self.seen.len() as u64 + 1
    }

    fn is_done(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && self.position() >= last
    }

    pub(super) async fn run(mut self) -> Self {
        while !self.is_done() {
            let address = self.target.address();
            match Socket::attempt(address, &self.user, "/v1/ws?resume=wait").await {
                Ok(socket) => {
                    self.connections += 1;
                    self.read(socket).await;
                }
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
        self
    }

    /// Until the socket ends, or everything is read.
    async fn read(&mut self, mut socket: Socket) {
        let positions = json!({"t": "resume", "positions": {&self.conversation: self.position()}});
        socket
            .try_send_raw(tokio_tungstenite::tungstenite::Message::text(
                positions.to_string(),
            ))
            .await;
        while !self.is_done() {
            match socket.next_within(TICK).await {
                Some(Next::Frame(frame)) => self.take(frame),
                Some(Next::Closed(_)) => return,
                None => {}
            }
            socket.frames.clear();
        }
    }

    fn take(&mut self, frame: Value) {
        if frame["conversation"] != self.conversation.as_str() {
            return;
        }
        match frame.text("t") {
            "message" | "event" => {
                assert_eq!(
                    frame.number("seq"),
                    self.position() + 1,
                    "a hole or a change seen twice: {frame}"
                );
                self.seen.push(frame);
            }
            "gap" => panic!("it did not miss so much: {frame}"),
            _ => {}
        }
    }
}
