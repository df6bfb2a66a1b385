//! What a client asks of a router, over HTTP and over a socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::spawned::Spawned;
use super::{DEADLINE, SECRET};

pub(crate) fn token(user: &str) -> String {
    let exp = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs()
        + 3_600;
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256"}).to_string());
    let body = format!(
        "{head}.{}",
        URL_SAFE_NO_PAD.encode(json!({"sub": user, "exp": exp}).to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());

    format!(
        "{body}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

pub(crate) fn http(address: &str, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head}Host: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

pub(crate) fn get(address: &str, path: &str, user: Option<&str>) -> (u16, String) {
    let bearer = user
        .map(|user| format!("Authorization: Bearer {}\r\n", token(user)))
        .unwrap_or_default();
    http(address, &format!("GET {path} HTTP/1.1\r\n{bearer}"), "")
        .unwrap_or_else(|| panic!("{path}: no answer"))
}

pub(crate) fn post(address: &str, path: &str, body: &Value) -> (u16, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token("alice")
    );
    http(address, &head, &body.to_string()).unwrap_or_else(|| panic!("{path}: no answer"))
}

/// A router, with a conversation in it.
pub(crate) fn conversation(router: &mut Spawned) -> String {
    let client = router.serving()["client"].as_str().unwrap().to_owned();
    let (status, body) = post(
        &client,
        "/v1/conversations",
        &json!({"name": "c", "participants": ["bob"]}),
    );
    assert_eq!(status, 201, "{body}");
    client
}

pub(crate) fn send(client: &str, text: &str) {
    let (status, body) = post(
        client,
        "/v1/conversations/c/messages",
        &json!({"text": text}),
    );
    assert_eq!(status, 201, "{body}");
}

pub(crate) fn texts(client: &str) -> Vec<String> {
    let (status, body) = get(
        client,
        "/v1/conversations/c/messages?order=asc&limit=200",
        Some("bob"),
    );
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    let mut items: Vec<(u64, String)> =
        page["items"].as_array().unwrap().iter().map(read).collect();
    items.sort();
    items.into_iter().map(|(_, text)| text).collect()
}

fn read(message: &Value) -> (u64, String) {
    (
        message["seq"].as_u64().unwrap(),
        message["text"].as_str().unwrap().to_owned(),
    )
}

pub(crate) type Socket = tungstenite::WebSocket<TcpStream>;

/// A session of bob that is past its start.
pub(crate) fn socket(client: &str) -> Socket {
    let stream = TcpStream::connect(client).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();

    let mut request = format!("ws://{client}/v1/ws")
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        "authorization",
        format!("Bearer {}", token("bob")).parse().unwrap(),
    );
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();

    loop {
        let frame = socket.read().unwrap();
        if frame.is_text() && frame.to_text().unwrap().contains("\"ready\"") {
            return socket;
        }
    }
}

/// Reads to the end: whether it was told to connect again, and the code of the close.
pub(crate) fn drained(socket: &mut Socket) -> (bool, Option<u16>) {
    let mut reconnect = false;
    loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => reconnect |= text.contains("\"reconnect\""),
            Ok(tungstenite::Message::Close(frame)) => {
                return (reconnect, frame.map(|frame| frame.code.into()));
            }
            Ok(_) => {}
            Err(_) => return (reconnect, None),
        }
    }
}
