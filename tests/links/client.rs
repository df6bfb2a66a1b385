//! Requests and sockets of clients.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use rookery::auth;
use rookery::clock::Clock;
use rookery::ids::UserId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::DEADLINE;

/// Signs the tokens of all clients.
pub(crate) const SECRET: &str = "links-under-test-0123456789-0123456789-0123456789";

fn token(user: &str) -> String {
    auth::issue(
        SECRET,
        &UserId::parse(user).unwrap(),
        Duration::from_secs(3_600),
        &Clock::system(),
    )
    .unwrap()
}

/// One HTTP request over a connection of its own; status and body.
pub(crate) async fn http(
    at: SocketAddr,
    user: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        token(user),
        body.len()
    );
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();

    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();

    let (head, answered) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        serde_json::from_str(answered).unwrap_or_else(|error| panic!("{error}: {answer}")),
    )
}

pub(crate) async fn all_events(at: SocketAddr, user: &str, conversation: &str) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let path = format!(
            "/v1/conversations/{conversation}/events?limit=200&after={}",
            events.len()
        );
        let (status, page) = http(at, user, "GET", &path, &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["next"].is_null() {
            return events;
        }
    }
}

pub(crate) type Stream = WebSocketStream<TcpStream>;

pub(crate) async fn open(at: SocketAddr, user: &str) -> Stream {
    let mut request = format!("ws://{at}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert(
        "authorization",
        format!("Bearer {}", token(user)).parse().unwrap(),
    );

    let stream = TcpStream::connect(at).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let ready = async {
        loop {
            let Some(Ok(message)) = socket.next().await else {
                panic!("closed before it was ready")
            };
            if message.is_text() && message.to_text().unwrap().contains("\"ready\"") {
                return;
            }
        }
    };

    timeout(DEADLINE, ready).await.expect("ready in time");
    socket
}
