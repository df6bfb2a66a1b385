//! A small chat in a terminal: prints what is said in a conversation, and says each line that is
//! typed.
//!
//! ```text
//! cargo run --release                                   # in another terminal: the server
//! export ROOKERY_TOKEN=$(target/release/rookery token alice)
//! cargo run --example chat -- lunch bob                 # the conversation, whom to invite
//! ```
//!
//! It does what every good client does: each message has a key of its own, so that it may be sent
//! again after any error and is there once; what was seen is remembered, so that a new connection
//! goes on behind it; and an unknown frame is passed over. Ends with the input, once all is said.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::map_err_ignore,
    reason = "it shows things in a terminal, and looks into JSON, where a missing field is null"
)]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::Duration;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

type Failure = Box<dyn Error + Send + Sync>;
type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Lines that were typed and are not sent yet; with more the terminal waits.
const TYPED_MAX: usize = 64;

/// The pause after a lost connection, when the server names none.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for an answer, and for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection on which nothing comes for so long is dead: the server pings every 25 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A chat in a terminal.
#[derive(Debug, Parser)]
struct Options {
    /// Where a router of Rookery listens.
    #[arg(long, default_value = "127.0.0.1:8082")]
    server: String,

    /// The conversation.
    conversation: String,

    /// Whom to begin it with; without names it must be there already.
    people: Vec<String>,
}

/// What is to be said, and what was heard.
struct Chat {
    options: Options,
    /// The value of the `Authorization` header.
    authorization: String,
    /// The last seq that was seen of each conversation.
    positions: BTreeMap<String, u64>,
    /// What was said and is not acknowledged, in order: key and text.
    unacknowledged: VecDeque<(String, String)>,
    /// Nothing more is typed.
    input_ended: bool,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    #[expect(
        clippy::disallowed_methods,
        reason = "an example reads its own environment"
    )]
    let token = std::env::var("ROOKERY_TOKEN")
        .map_err(|_| "set ROOKERY_TOKEN to what `rookery token NAME` prints")?;
    let authorization = format!("Bearer {token}");
    if !options.people.is_empty() {
        timeout(PATIENCE, begin_conversation(&options, &authorization)).await??;
    }
    let mut chat = Chat {
        options,
        authorization,
        positions: BTreeMap::new(),
        unacknowledged: VecDeque::new(),
        input_ended: false,
    };
    let mut lines = typed_lines();

    // A connection may be lost at any time; the next one goes on where this one was.
    loop {
        let pause = match chat.talk(&mut lines).await {
            Ok(None) => return Ok(()),
            Ok(Some(pause)) => pause,
            Err(error) => {
                eprintln!("* no connection: {error}");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Creates the conversation. One that is there already is as good: whether the caller is in it is
/// told when they say something.
async fn begin_conversation(options: &Options, authorization: &str) -> Result<(), Failure> {
    let stream = TcpStream::connect(&options.server).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);

    let body = json!({"name": options.conversation, "participants": options.people});
    let request = http::Request::post("/v1/conversations")
        .header(HOST, &options.server)
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let answer = sender.send_request(request).await?;

    let status = answer.status();
    let problem: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    if status.is_success() || problem["code"] == "name_taken" {
        return Ok(());
    }
    Err(format!("{status}: {}", problem["detail"]).into())
}

/// Returns the lines of the standard input as they are typed; closed when it ends.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(TYPED_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Chat {
    /// Talks over one connection. Returns how long to wait before the next one; nothing when all is
    /// said.
    async fn talk(
        &mut self,
        lines: &mut mpsc::Receiver<String>,
    ) -> Result<Option<Duration>, Failure> {
        let mut socket = timeout(PATIENCE, self.connect()).await??;
        loop {
            if self.input_ended && self.unacknowledged.is_empty() {
                socket.close(None).await?;
                return Ok(None);
            }
            tokio::select! {
                line = lines.recv(), if !self.input_ended => match line {
                    Some(line) => self.say(&mut socket, line).await?,
                    None => self.input_ended = true,
                },
                frame = timeout(SILENCE_MAX, socket.next()) => match frame? {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(pause) = self.hear(&serde_json::from_str(&text)?) {
                            return Ok(Some(pause));
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return Ok(Some(PAUSE)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                },
            }
        }
    }

    /// Opens a session that goes on behind what was seen, and says again what nobody acknowledged.
    async fn connect(&self) -> Result<Socket, Failure> {
        let url = format!("ws://{}/v1/ws?resume=wait", self.options.server);
        let mut request = url.into_client_request()?;
        request
            .headers_mut()
            .insert(AUTHORIZATION, self.authorization.parse()?);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;

        let resume = json!({"t": "resume", "positions": self.positions});
        socket.send(Message::text(resume.to_string())).await?;
        for (key, text) in &self.unacknowledged {
            socket.send(self.said(key, text)).await?;
        }
        Ok(socket)
    }

    /// Says a line. It is kept until it is acknowledged.
    async fn say(&mut self, socket: &mut Socket, text: String) -> Result<(), Failure> {
        let key = Uuid::new_v4().to_string();
        let frame = self.said(&key, &text);
        self.unacknowledged.push_back((key, text));
        Ok(socket.send(frame).await?)
    }

    /// The frame that says a line. The same key twice is one message.
    fn said(&self, key: &str, text: &str) -> Message {
        let conversation = &self.options.conversation;
        let frame = json!({
            "t": "send",
            "ref": key,
            "client_id": key,
            "conversation": conversation,
            "text": text,
        });
        Message::text(frame.to_string())
    }

    /// Takes a frame in. Returns a pause when the server asks for another connection after it.
    fn hear(&mut self, frame: &Value) -> Option<Duration> {
        self.remember(frame);
        match frame["t"].as_str()? {
            "message" if frame["conversation"] == *self.options.conversation => {
                println!("{}: {}", word(&frame["source"]), word(&frame["text"]));
            }
            "gap" => println!("* some messages were passed over; the history has them"),
            "ok" => self.acknowledged(&frame["ref"]),
            "error" if frame["problem"]["retryable"] == true => return Some(PAUSE),
            "error" => {
                println!("* not said: {}", word(&frame["problem"]["detail"]));
                self.acknowledged(&frame["ref"]);
            }
            "reconnect" => return Some(Duration::from_millis(frame["after_ms"].as_u64()?)),
            _ => {}
        }

        None
    }

    /// Remembers up to where each conversation was seen.
    fn remember(&mut self, frame: &Value) {
        let seen = match frame["t"].as_str() {
            Some("message" | "event") => &frame["seq"],
            Some("gap") => &frame["to"],
            Some("live") => {
                let live = frame["positions"].as_object().into_iter().flatten();
                let live = live.filter_map(|(name, seq)| Some((name.clone(), seq.as_u64()?)));
                self.positions.extend(live);
                return;
            }
            _ => return,
        };
        if let (Some(conversation), Some(seq)) = (frame["conversation"].as_str(), seen.as_u64()) {
            self.positions.insert(conversation.to_owned(), seq);
        }
    }

    /// Forgets a line that was acknowledged, or refused for good.
    fn acknowledged(&mut self, key: &Value) {
        self.unacknowledged
            .retain(|(unacknowledged, _)| *key != **unacknowledged);
    }
}

/// The text of a value, or nothing.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
