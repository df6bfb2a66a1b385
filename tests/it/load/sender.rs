//! Senders that try each message once, with a key of its own, and write down what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::load::Target;
use crate::support::Fields;
use crate::support::client::Client;
use crate::support::socket::{Next, Socket};

/// Between two sends: the load is to be there, not to fill the machine.
const PAUSE: Duration = Duration::from_millis(80);

/// A request has a budget of 5 s. Far beyond that, nobody keeps to it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// Every so many sends are followed by a read.
const READ_EVERY: usize = 4;

/// What a sender knows of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered as sent, as this message.
    Acknowledged {
        /// Its id.
        id: String,
        /// Its seq.
        seq: u64,
    },
    /// Refused as surely not written, with this code.
    NotWritten(String),
    /// It may be there or appear, at most once: the code, or what became of the connection.
    Unknown(String),
}

/// One user who writes into one conversation.
pub(crate) struct Sender {
    target: Target,
    conversation: String,
    acknowledged: Arc<AtomicUsize>,
    /// Who sends.
    pub(crate) user: String,
    /// Each message by its key, which is its text too, in the order sent.
    pub(crate) sent: Vec<(String, Outcome)>,
    /// Reads that were answered without a mark, and those that were marked as stale.
    pub(crate) reads: (usize, usize),
}

impl Sender {
    /// A sender that has sent nothing.
    pub(super) fn new(
        target: Target,
        user: &str,
        conversation: &str,
        acknowledged: Arc<AtomicUsize>,
    ) -> Self {
        let (user, conversation) = (user.to_owned(), conversation.to_owned());
        Self {
            target,
            conversation,
            acknowledged,
            user,
            sent: Vec::new(),
            reads: (0, 0),
        }
    }

    /// Sends by requests until the load is over.
    pub(super) async fn over_rest(mut self) -> Self {
        let clients: Vec<Client> = self
            .target
            .routers
            .iter()
            .map(|&router| Client::new(router, &self.user))
            .collect();
        for i in 0.. {
            if self.target.is_over() {
                break;
            }
            let key = format!("{}-{i}", self.user);
            let client = &clients[i % clients.len()];
            let begun = Instant::now();
            let outcome = send(client, &self.conversation, &key).await;
            assert!(
                begun.elapsed() < ANSWERED_WITHIN,
                "{key} was answered after {:?}: {outcome:?}",
                begun.elapsed()
            );
            let written = outcome.clone();
            self.note(key, outcome);
            if let Outcome::Acknowledged { id, seq } = written
                && i % READ_EVERY == 0
            {
                // By the other router: what one acknowledged, all have to show.
                self.read_back(&clients[(i + 1) % clients.len()], &id, seq)
                    .await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self
    }

    /// Sends frames until the load is over, over a new socket when one ends.
    pub(super) async fn over_sockets(mut self) -> Self {
        let mut socket = None;
        for i in 0.. {
            if self.target.is_over() {
                break;
            }
            let mut open = match socket.take() {
                Some(open) => open,
                None => match Socket::attempt(self.target.address(), &self.user, "/v1/ws").await {
                    Ok(open) => open,
                    Err(_) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let key = format!("{}-{i}", self.user);
            let (outcome, lives) = send_frame(&mut open, &self.conversation, &key).await;
            self.note(key, outcome);
            // Nothing is kept of what it saw: that is the reader's part.
            open.frames.clear();
            socket = lives.then_some(open);
            tokio::time::sleep(PAUSE).await;
        }

        self
    }

    fn note(&mut self, key: String, outcome: Outcome) {
        if matches!(outcome, Outcome::Acknowledged { .. }) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.push((key, outcome));
    }

    /// A read without a mark has what was acknowledged before it began.
    async fn read_back(&mut self, client: &Client, id: &str, seq: u64) {
        let path = format!(
            "/v1/conversations/{}/events?limit=1&after={}",
            self.conversation,
            seq - 1
        );
        let Ok(answer) = client.try_call(Method::GET, &path, &[], Bytes::new()).await else {
            return;
        };

        match (answer.status, answer.header("rookery-stale")) {
            (200, "") => {
                let page = answer.json();
                let found = page
                    .list("items")
                    .first()
                    .map(|item| (item.number("seq"), item["id"].clone()));
                assert_eq!(
                    found,
                    Some((seq, json!(id))),
                    "an unmarked read is older than what was acknowledged: {page}"
                );
                self.reads.0 += 1;
            }
            (200, _) => self.reads.1 += 1,
            (503, _) => {}
            _ => panic!("neither read nor unavailable: {answer:?}"),
        }
    }
}

/// Sends once.
pub(crate) async fn send(client: &Client, conversation: &str, key: &str) -> Outcome {
    let path = format!("/v1/conversations/{conversation}/messages");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let body = json!({"text": key}).to_string();

    match client
        .try_call(Method::POST, &path, &headers, body.into())
        .await
    {
        Ok(answer) if matches!(answer.status, 200 | 201) => acknowledged(&answer.json()),
        Ok(answer) if answer.status == 503 => {
            let code = answer.json().text("code").to_owned();
            answer.refused(503, &code);
            refused(code)
        }
        Ok(answer) => panic!("{key}: neither sent nor unavailable: {answer:?}"),
        Err(error) => Outcome::Unknown(format!("connection: {error}")),
    }
}

/// Sends once; also tells whether the socket lives.
async fn send_frame(socket: &mut Socket, conversation: &str, key: &str) -> (Outcome, bool) {
    let frame = json!({"t": "send", "ref": key, "conversation": conversation, "text": key, "client_id": key});
    socket
        .try_send_raw(tokio_tungstenite::tungstenite::Message::text(
            frame.to_string(),
        ))
        .await;
    let end = Instant::now() + ANSWERED_WITHIN;

    loop {
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            panic!("{key} was not answered within {ANSWERED_WITHIN:?}")
        };
        match socket.next_within(left).await {
            Some(Next::Frame(answer)) if answer["ref"] == key => {
                return match answer.text("t") {
                    "ok" => (acknowledged(&answer["result"]), true),
                    "error" => (refused(answer["problem"].text("code").to_owned()), true),
                    _ => panic!("{key}: {answer}"),
                };
            }
            Some(Next::Frame(_)) | None => {}
            Some(Next::Closed(code)) => {
                return (Outcome::Unknown(format!("closed with {code:?}")), false);
            }
        }
    }
}

fn acknowledged(message: &Value) -> Outcome {
    Outcome::Acknowledged {
        id: message.text("id").to_owned(),
        seq: message.number("seq"),
    }
}

fn refused(code: String) -> Outcome {
    match code.as_str() {
        "unavailable" => Outcome::NotWritten(code),
        "outcome_unknown" | "not_replicated" => Outcome::Unknown(code),
        _ => panic!("{code} is no answer to a send"),
    }
}
