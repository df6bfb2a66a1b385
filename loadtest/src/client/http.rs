//! HTTP/1.1 over keep-alive connections: so many as are in use at once, each by one request at a
//! time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use crate::client::dial::{Dialer, Endpoint};
use crate::client::failure::{Failure, Fault};

type Sender = SendRequest<Full<Bytes>>;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The token; empty for none.
    pub(crate) token: Arc<str>,
    /// JSON, or nothing.
    pub(crate) body: Bytes,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Ask {
    /// A read.
    pub(crate) fn get(path: impl Into<String>, token: Arc<str>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            token,
            body: Bytes::new(),
            key: None,
        }
    }

    /// A write of JSON.
    pub(crate) fn post(path: impl Into<String>, token: Arc<str>, body: Bytes) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            token,
            body,
            key: None,
        }
    }

    fn request(&self, authority: &str) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.path)
            .header("host", authority);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }

        if !self.body.is_empty() {
            request = request.header("content-type", "application/json");
        }

        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }

        let unfit =
            |error: http::Error| Failure::transport(Fault::Connect, format!("no request: {error}"));
        request.body(Full::new(self.body.clone())).map_err(unfit)
    }
}

/// Connections to one endpoint.
pub(crate) struct Pool {
    dialer: Arc<Dialer>,
    endpoint: Endpoint,
    authority: String,
    patience: Duration,
    idle: Mutex<Vec<Sender>>,
}

impl Pool {
    /// Opens nothing yet. A request without an answer after `patience` has failed.
    pub(crate) fn new(dialer: Arc<Dialer>, endpoint: Endpoint, patience: Duration) -> Self {
        let authority = endpoint.authority();
        Self {
            dialer,
            endpoint,
            authority,
            patience,
            idle: Mutex::default(),
        }
    }

    /// One request and its whole answer, whatever its status.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<(StatusCode, Bytes), Failure> {
        match tokio::time::timeout(self.patience, self.ask_without_end(ask)).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::transport(
                Fault::Timeout,
                format!("no answer in {:?}", self.patience),
            )),
        }
    }

    /// One request that must succeed; another status is a failure.
    pub(crate) async fn succeed(&self, ask: &Ask) -> Result<Bytes, Failure> {
        let (status, body) = self.ask(ask).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::answered(status, &body))
        }
    }

    async fn ask_without_end(&self, ask: &Ask) -> Result<(StatusCode, Bytes), Failure> {
        let mut request = ask.request(&self.authority)?;
        loop {
            let kept = self.take();
            let from_pool = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.open().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let answer = whole(response).await?;
                    self.put_back(sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    // The server had closed a connection that lay idle: nothing was sent.
                    Some(unsent) if from_pool => request = unsent,
                    Some(_) => {
                        return Err(Failure::transport(
                            Fault::Connect,
                            error.into_error().to_string(),
                        ));
                    }
                    None => {
                        return Err(Failure::transport(
                            Fault::Broken,
                            error.into_error().to_string(),
                        ));
                    }
                },
            }
        }
    }

    /// The connection used last, so that those no longer needed stay idle and may be closed.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|sender| sender.is_ready())
    }

    fn put_back(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sender);
        }
    }

    async fn open(&self) -> Result<Sender, Failure> {
        let stream = self.dialer.connect(&self.endpoint).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| {
                Failure::transport(Fault::Connect, format!("{}: {error}", self.endpoint))
            })?;
        drop(tokio::spawn(connection));
        sender
            .ready()
            .await
            .map_err(|error| Failure::transport(Fault::Connect, error.to_string()))?;
        Ok(sender)
    }
}

async fn whole(response: Response<Incoming>) -> Result<(StatusCode, Bytes), Failure> {
    let status = response.status();
    let broken = |error: hyper::Error| Failure::transport(Fault::Broken, error.to_string());
    Ok((
        status,
        response
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes(),
    ))
}
