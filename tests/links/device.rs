//! A device that sends, and checks every frame as it comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::DEADLINE;
use crate::client::Stream;

/// What became of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written {
        conversation: String,
        seq: u64,
    },
    /// Refused as surely not written.
    NotWritten {
        conversation: String,
    },
}

/// What the tasks of one device share.
#[derive(Default)]
pub(crate) struct Device {
    /// Last seq by conversation, checked to be dense as frames come.
    pub(crate) seen: Mutex<HashMap<String, u64>>,
    /// Answers by `ref`, until the sender takes them.
    answers: Mutex<HashMap<u64, Value>>,
    pub(crate) problems: Mutex<HashMap<String, usize>>,
    /// Texts whose fate is known.
    pub(crate) settled: AtomicUsize,
}

/// Checks every frame as it comes, until `done` fires. Any hole, double, disorder, gap or close
/// fails.
pub(crate) async fn read(
    mut from: futures_util::stream::SplitStream<Stream>,
    device: Arc<Device>,
    who: String,
    done: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = from.next() => message,
            () = done.cancelled() => return,
        };
        let Some(Ok(message)) = message else {
            panic!("{who}: the socket ended: {message:?}")
        };
        let text = match message {
            Message::Text(text) => text,
            Message::Close(close) => panic!("{who}: closed: {close:?}"),
            _ => continue,
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        match frame["t"].as_str().unwrap() {
            "message" | "event" => {
                let (name, seq) = (
                    frame["conversation"].as_str().unwrap(),
                    frame["seq"].as_u64().unwrap(),
                );
                let mut seen = device.seen.lock().unwrap();
                // Connected when only `created`, 1, was there.
                let last = seen.entry(name.to_owned()).or_insert(1);
                assert_eq!(
                    seq,
                    *last + 1,
                    "{who} in {name}: a hole, a double, or disorder"
                );
                *last = seq;
            }
            "ok" | "error" => {
                device
                    .answers
                    .lock()
                    .unwrap()
                    .insert(frame["ref"].as_u64().unwrap(), frame);
            }
            "receipt" | "live" | "ready" => {}
            other => panic!("{who}: {other}: {frame}"),
        }
    }
}

/// Sends one text after the other, each until it is written or surely not.
pub(crate) async fn send(
    mut to: futures_util::stream::SplitSink<Stream, Message>,
    device: Arc<Device>,
    (who, conversations): (String, Vec<String>),
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut reference = 0_u64;

    for i in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let text = format!("{who}-{i}");
        let conversation = &conversations[i % conversations.len()];
        let mut in_doubt = false;
        let outcome = loop {
            reference += 1;
            let frame = json!({
                "t": "send", "ref": reference, "conversation": conversation, "text": text, "client_id": text,
            });
            timeout(DEADLINE, to.send(Message::text(frame.to_string())))
                .await
                .expect("sent in time")
                .unwrap();
            let answer = awaited(&device, reference).await;
            if answer["t"] == "ok" {
                let seq = answer["result"]["seq"].as_u64().unwrap();
                break Outcome::Written {
                    conversation: conversation.clone(),
                    seq,
                };
            }
            let code = answer["problem"]["code"].as_str().unwrap().to_owned();
            *device
                .problems
                .lock()
                .unwrap()
                .entry(code.clone())
                .or_default() += 1;
            match code.as_str() {
                "unavailable" if !in_doubt => {
                    break Outcome::NotWritten {
                        conversation: conversation.clone(),
                    };
                }
                "unavailable" => {}
                "outcome_unknown" => in_doubt = true,
                other => {
                    panic!("{who}: neither written nor unavailable nor in doubt: {other}: {answer}")
                }
            }
        };
        outcomes.insert(text, outcome);
        device.settled.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(3)).await;
    }

    outcomes
}

async fn awaited(device: &Device, reference: u64) -> Value {
    let answered = async {
        loop {
            if let Some(answer) = device.answers.lock().unwrap().remove(&reference) {
                return answer;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, answered)
        .await
        .expect("every send is answered")
}
