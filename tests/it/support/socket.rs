//! One device of a user: a WebSocket that remembers every frame it got.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::Server;
use crate::support::{DEADLINE, Fields};

/// What a socket gives next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame.
    Frame(Value),
    /// The end, with the code of the Close frame if one came.
    Closed(Option<u16>),
}

/// An open socket. It only reads (and only answers pings) while a test waits on it.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    next_ref: u64,
    /// Every frame so far, in order.
    pub(crate) frames: Vec<Value>,
}

impl Socket {
    /// A socket that has read nothing.
    pub(super) fn over(stream: WebSocketStream<TcpStream>) -> Self {
        Self {
            stream,
            next_ref: 0,
            frames: Vec::new(),
        }
    }

    /// The next frame or the end, if there is one soon enough.
    #[allow(dead_code, reason = "of tests in which things break only")]
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Next> {
        timeout(limit, self.next_forever()).await.ok()
    }

    /// The next frame or the end.
    pub(crate) async fn next(&mut self) -> Next {
        let Ok(next) = timeout(DEADLINE, self.next_forever()).await else {
            panic!(
                "nothing more within {DEADLINE:?}; so far: {:?}",
                self.last_frames()
            )
        };
        next
    }

    /// Reads on until a frame fits, and returns it.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut fits: impl FnMut(&Value) -> bool,
    ) -> Value {
        let search = async {
            loop {
                match self.next_forever().await {
                    Next::Frame(frame) if fits(&frame) => return Ok(frame),
                    Next::Frame(_) => {}
                    Next::Closed(code) => return Err(code),
                }
            }
        };
        match timeout(DEADLINE, search).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(code)) => panic!(
                "closed with {code:?} while waiting for {what}: {:?}",
                self.last_frames()
            ),
            Err(_) => panic!(
                "not within {DEADLINE:?}: {what}; so far: {:?}",
                self.last_frames()
            ),
        }
    }

    /// Reads on until a frame of this kind.
    pub(crate) async fn until_t(&mut self, t: &str) -> Value {
        self.until(t, |frame| frame["t"] == t).await
    }

    /// A frame that came already or comes.
    pub(crate) async fn find(&mut self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        if let Some(frame) = self.frames.iter().find(|frame| fits(frame)) {
            return frame.clone();
        }
        self.until(what, fits).await
    }

    /// Reads until every change of this conversation up to `seq` is here.
    pub(crate) async fn until_seq(&mut self, conversation: &str, seq: u64) {
        if self
            .changes(conversation)
            .last()
            .is_some_and(|frame| frame.number("seq") >= seq)
        {
            return;
        }
        self.until(&format!("seq {seq} of {conversation}"), |frame| {
            frame["conversation"] == conversation && frame["seq"].as_u64() >= Some(seq)
        })
        .await;
    }

    /// Reads to the end and returns its close code.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let end = async {
            loop {
                if let Next::Closed(code) = self.next_forever().await {
                    return code;
                }
            }
        };
        timeout(DEADLINE, end)
            .await
            .expect("the socket is closed in time")
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    /// Sends anything.
    pub(crate) async fn send_raw(&mut self, message: Message) {
        timeout(DEADLINE, self.stream.send(message))
            .await
            .expect("sent in time")
            .expect("sent");
    }

    /// Sends anything, not caring whether the other side still listens.
    pub(crate) async fn try_send_raw(&mut self, message: Message) {
        drop(timeout(DEADLINE, self.stream.send(message)).await);
    }

    /// Sends a frame with a `ref` of its own and returns that `ref`.
    pub(crate) async fn post(&mut self, mut frame: Value) -> String {
        self.next_ref += 1;
        let reference = format!("r{}", self.next_ref);
        frame["ref"] = json!(reference);
        self.send(&frame).await;
        reference
    }

    /// Sends frames in one write, each with a `ref` of its own; returns the last `ref`.
    #[allow(dead_code, reason = "of the target that counts only")]
    pub(crate) async fn post_all(&mut self, frames: Vec<Value>) -> String {
        let mut reference = String::new();
        for mut frame in frames {
            self.next_ref += 1;
            reference = format!("r{}", self.next_ref);
            frame["ref"] = json!(reference);
            let fed = self.stream.feed(Message::text(frame.to_string()));
            timeout(DEADLINE, fed)
                .await
                .expect("taken in time")
                .expect("taken");
        }

        timeout(DEADLINE, self.stream.flush())
            .await
            .expect("sent in time")
            .expect("sent");
        reference
    }

    /// Sends a frame and returns its `ok`, `error` or `pong`.
    pub(crate) async fn request(&mut self, frame: Value) -> Value {
        let reference = self.post(frame).await;
        self.find("the answer", |answer| answer["ref"] == reference.as_str())
            .await
    }

    /// The durable changes of a conversation seen so far, in the order they came.
    pub(crate) fn changes(&self, conversation: &str) -> Vec<&Value> {
        let change = |frame: &&Value| matches!(frame["t"].as_str(), Some("message" | "event"));
        self.frames
            .iter()
            .filter(change)
            .filter(|frame| frame["conversation"] == conversation)
            .collect()
    }

    /// Their seqs.
    pub(crate) fn seqs(&self, conversation: &str) -> Vec<u64> {
        self.changes(conversation)
            .iter()
            .map(|frame| frame.number("seq"))
            .collect()
    }

    /// The spans of a conversation that it was told it does not get, in the order they came.
    pub(crate) fn gaps(&self, conversation: &str) -> Vec<(u64, u64)> {
        let gaps = self
            .frames
            .iter()
            .filter(|frame| frame["t"] == "gap" && frame["conversation"] == conversation);
        gaps.map(|frame| (frame.number("from"), frame.number("to")))
            .collect()
    }

    /// Goes away without a word, as a lost network does.
    pub(crate) fn vanish(self) {
        drop(self.stream);
    }

    fn last_frames(&self) -> &[Value] {
        self.frames
            .get(self.frames.len().saturating_sub(10)..)
            .unwrap_or_default()
    }

    async fn next_forever(&mut self) -> Next {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    assert!(frame.is_object(), "frames are objects: {frame}");
                    self.frames.push(frame.clone());
                    return Next::Frame(frame);
                }
                Some(Ok(Message::Close(close))) => {
                    return Next::Closed(close.map(|close| close.code.into()));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    panic!("a binary frame of {} bytes", bytes.len())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => return Next::Closed(None),
            }
        }
    }
}

/// Opens `count` ready sockets of one user.
pub(crate) async fn devices(server: &Server, user: &str, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(Socket::ready(server, user).await);
    }
    sockets
}

/// Reads a socket in the background until this change of the conversation is here.
pub(crate) fn reading(
    mut socket: Socket,
    conversation: &str,
    seq: u64,
) -> tokio::task::JoinHandle<Socket> {
    let conversation = conversation.to_owned();
    tokio::spawn(async move {
        socket.until_seq(&conversation, seq).await;
        socket
    })
}
