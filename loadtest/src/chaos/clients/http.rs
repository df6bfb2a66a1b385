//! Requests of one user over a keep-alive connection, with what is surely known when one fails.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A request has a budget of 5 s; what is longer away will not answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);
/// For a connection on the same machine.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Marked as possibly old.
    pub(crate) stale: bool,
    /// Its body; null when it is no JSON.
    pub(crate) body: Value,
    /// The same as it came.
    pub(crate) raw: Bytes,
}

impl Answer {
    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.body
            .get("code")
            .and_then(Value::as_str)
            .map_or_else(|| self.status.to_string(), str::to_owned)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It was surely not sent.
    NotSent(String),
    /// It may have been done.
    Unknown(String),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    /// Its method.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: &'a str,
    /// Its idempotency key, if any.
    pub(crate) key: Option<&'a str>,
    /// Rather refused than marked.
    pub(crate) strict: bool,
    /// Its body, if any.
    pub(crate) body: Option<Value>,
    /// For the answer.
    pub(crate) within: Duration,
}

impl<'a> Call<'a> {
    /// Reads a path.
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            key: None,
            strict: false,
            body: None,
            within: ANSWERED_WITHIN,
        }
    }

    /// Writes.
    pub(crate) fn write(method: Method, path: &'a str, body: Option<Value>) -> Self {
        Self {
            method,
            body,
            ..Self::get(path)
        }
    }

    /// With a key.
    pub(crate) fn key(self, key: &'a str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }
}

/// A user at one address.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    authorization: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects when it is needed.
    pub(crate) fn new(address: &str, token: &str) -> Self {
        Self {
            address: address.to_owned(),
            authorization: format!("Bearer {token}"),
            sender: None,
        }
    }

    /// One request, one attempt.
    pub(crate) async fn call(&mut self, call: Call<'_>) -> Result<Answer, Broken> {
        let mut sender = self.connected().await.map_err(Broken::NotSent)?;
        let request = self.request(&call).map_err(Broken::NotSent)?;
        let answered = tokio::time::timeout(call.within, exchange(&mut sender, request)).await;
        let answered = answered.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if answered.is_ok() {
            self.sender = Some(sender);
        }
        answered.map_err(Broken::Unknown)
    }

    async fn connected(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }

        let connecting =
            tokio::time::timeout(CONNECTED_WITHIN, TcpStream::connect(&self.address)).await;
        let stream = connecting
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).ok();
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        drop(tokio::spawn(connection));
        sender.ready().await.map_err(|error| error.to_string())?;
        Ok(sender)
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(call.path)
            .header("host", &self.address)
            .header("authorization", &self.authorization);
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }

        if call.strict {
            request = request.header("rookery-consistency", "strict");
        }

        if call.body.is_some() {
            request = request.header("content-type", "application/json");
        }

        let body = call
            .body
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status().as_u16();

    let stale = response.headers().contains_key("rookery-stale");
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    Ok(Answer {
        status,
        stale,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        raw: body,
    })
}
