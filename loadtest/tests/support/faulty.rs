//! A small server of the client contract, as far as the load test needs it, that breaks a promise
//! on purpose.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Which promise is broken. Each happens to every tenth message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// None.
    Nothing,
    /// Acknowledged and delivered, but not in the history.
    Forget,
    /// Acknowledged and in the history, but not delivered.
    LoseFrame,
    /// Delivered twice.
    DoubleFrame,
    /// Delivered after the next one.
    SwapFrames,
    /// Written twice, with two seqs.
    WriteTwice,
    /// Refused with `unavailable`, which says that nothing was written, and written all the same.
    WriteRefused,
    /// A deletion is answered, and the message stays as it is.
    KeepDeleted,
    /// Every send waits for the one before for this long: far slower than the schedule.
    Slow,
}

#[derive(Default)]
struct Conversation {
    /// `(seq, text)`; the first event has no text.
    history: Vec<(u64, Option<String>)>,
    last_seq: u64,
    /// A frame that is sent after the next.
    kept_back: Option<String>,
}

struct Shared {
    broken: Break,
    conversations: Mutex<HashMap<String, Conversation>>,
    frames: broadcast::Sender<String>,
    one_at_a_time: tokio::sync::Mutex<()>,
    posts: AtomicU64,
}

/// Starts one; its URL.
pub(crate) async fn start(broken: Break) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shared = Arc::new(Shared {
        broken,
        conversations: Mutex::default(),
        frames: broadcast::channel(10_000).0,
        one_at_a_time: tokio::sync::Mutex::default(),
        posts: AtomicU64::new(0),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(serving);
        }
    });
    url
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = request.method().clone();
    match (method, words.as_slice()) {
        (Method::GET, ["v1", "ws"]) => Ok(upgrade(shared, request)),
        (Method::POST, ["v1", "conversations"]) => {
            let body: Value =
                serde_json::from_slice(&request.into_body().collect().await?.to_bytes()).unwrap();
            let first = Conversation {
                history: vec![(1, None)],
                last_seq: 1,
                ..Conversation::default()
            };
            shared
                .conversations
                .lock()
                .unwrap()
                .insert(body["name"].as_str().unwrap().to_owned(), first);
            Ok(json_answer(StatusCode::CREATED, &json!({"last_seq": 1})))
        }
        (Method::POST, ["v1", "conversations", name, "messages"]) => {
            let name = (*name).to_owned();
            let body: Value =
                serde_json::from_slice(&request.into_body().collect().await?.to_bytes()).unwrap();
            if shared.broken == Break::Slow {
                let _turn = shared.one_at_a_time.lock().await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Ok(write(&shared, &name, body["text"].as_str().unwrap()))
        }
        (Method::DELETE, ["v1", "messages", id]) => {
            if shared.broken != Break::KeepDeleted {
                delete(&shared, id);
            }
            Ok(Response::builder()
                .status(204)
                .body(Full::default())
                .unwrap())
        }
        (Method::GET, ["v1", "conversations", name, "events"]) => {
            Ok(page(&shared, name, request.uri().query()))
        }
        _ => Ok(json_answer(
            StatusCode::NOT_FOUND,
            &json!({"code": "not_found"}),
        )),
    }
}

fn write(shared: &Shared, name: &str, text: &str) -> Response<Full<Bytes>> {
    let mut conversations = shared.conversations.lock().unwrap();
    let conversation = conversations.get_mut(name).unwrap();
    let tenth = shared.posts.fetch_add(1, Ordering::Relaxed) % 10 == 4;
    let broken = if tenth { shared.broken } else { Break::Nothing };
    conversation.last_seq += 1;
    let seq = conversation.last_seq;
    let message = |at: u64| {
        json!({"t": "message", "conversation": name, "seq": at, "text": text}).to_string()
    };
    if broken != Break::Forget {
        conversation.history.push((seq, Some(text.to_owned())));
    }
    let push = |frame: String| drop(shared.frames.send(frame));
    match broken {
        Break::LoseFrame => {}
        Break::SwapFrames => conversation.kept_back = Some(message(seq)),
        _ => {
            push(message(seq));
            if let Some(kept_back) = conversation.kept_back.take() {
                push(kept_back);
            }
        }
    }
    match broken {
        Break::DoubleFrame => push(message(seq)),
        Break::WriteTwice => {
            conversation.last_seq += 1;
            conversation.history.push((seq + 1, Some(text.to_owned())));
            push(message(seq + 1));
        }
        Break::WriteRefused => {
            return json_answer(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"code": "unavailable", "detail": ""}),
            );
        }
        _ => {}
    }
    json_answer(
        StatusCode::CREATED,
        &json!({"seq": seq, "id": format!("{name}.{seq}")}),
    )
}

/// Its id says where it is.
fn delete(shared: &Shared, id: &str) {
    let (name, seq) = id.rsplit_once('.').unwrap();
    let mut conversations = shared.conversations.lock().unwrap();
    let history = &mut conversations.get_mut(name).unwrap().history;
    let message = history.iter_mut().find(|(at, _)| at.to_string() == seq);
    message.unwrap().1 = Some(String::new());
}

fn page(shared: &Shared, name: &str, query: Option<&str>) -> Response<Full<Bytes>> {
    let after = query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("after=")?.parse().ok());
    let after: u64 = after.unwrap_or(0);
    let conversations = shared.conversations.lock().unwrap();
    let history = &conversations[name].history;
    let items: Vec<Value> = history
        .iter()
        .filter(|(seq, _)| *seq > after)
        .take(200)
        .map(|(seq, text)| {
            let deleted = text.as_ref().is_some_and(String::is_empty);
            json!({"seq": seq, "text": text, "deleted": deleted})
        })
        .collect();
    let last = items
        .last()
        .and_then(|item| item["seq"].as_u64())
        .unwrap_or(after);
    let more = history.iter().any(|(seq, _)| *seq > last);
    json_answer(
        StatusCode::OK,
        &json!({"items": items, "next": more.then_some(last)}),
    )
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}

/// Every session gets every frame; the load test knows which conversations are whose.
fn upgrade(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers()["sec-websocket-key"].as_bytes().to_vec();
    let mut frames = shared.frames.subscribe();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        if socket
            .send(Message::text(r#"{"t":"ready"}"#))
            .await
            .is_err()
        {
            return;
        }
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Ok(frame) => if socket.send(Message::text(frame)).await.is_err() { return },
                    Err(_) => return,
                },
                from_client = socket.next() => if !matches!(from_client, Some(Ok(_))) { return },
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", derive_accept_key(&key))
        .body(Full::default())
        .unwrap()
}
