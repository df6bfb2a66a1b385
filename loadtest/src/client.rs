//! A client of the public API: tokens, keep-alive HTTP connections, sockets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An HS256 token for a user, good for a day.
pub(crate) fn token(secret: &str, user: &str) -> Result<String, String> {
    let now = std::time::UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?.as_secs();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(serde_json::json!({"sub": user, "exp": now + 86_400}).to_string());
    let signed = format!("{header}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}

/// One keep-alive connection of one user.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    authorization: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &str, token: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true).ok();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{address}: {error}"))?;
        drop(tokio::spawn(connection));
        Ok(Self { address: address.to_owned(), authorization: format!("Bearer {token}"), sender })
    }

    /// Posts JSON; the status and the body.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("host", &self.address)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, answer))
    }
}

/// Opens a socket and waits for its `ready`.
pub(crate) async fn socket(address: &str, token: &str) -> Result<Socket, String> {
    let mut request =
        format!("ws://{address}/v1/ws").into_client_request().map_err(|error| format!("{address}: {error}"))?;
    let bearer = format!("Bearer {token}")
        .parse::<http::HeaderValue>()
        .map_err(|error| format!("a token is no header value: {error}"))?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) =
        tokio_tungstenite::connect_async(request).await.map_err(|error| format!("{address}: {error}"))?;
    while let Some(frame) = futures_util::StreamExt::next(&mut socket).await {
        let frame = frame.map_err(|error| error.to_string())?;
        if frame.to_text().is_ok_and(|text| text.contains(r#""t":"ready""#)) {
            return Ok(socket);
        }
    }
    Err("the socket was closed before it was ready".to_owned())
}

/// Sum of a metric over all its labels, out of the Prometheus text of the operations port.
pub(crate) async fn metric(operations: &str, name: &str) -> Result<f64, String> {
    let stream = TcpStream::connect(operations).await.map_err(|error| format!("{operations}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("{operations}: {error}"))?;
    drop(tokio::spawn(connection));
    let request = Request::builder()
        .uri("/metrics")
        .header("host", operations)
        .body(Full::new(Bytes::new()))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let of_metric = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of_metric).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.sum())
}
