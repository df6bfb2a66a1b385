//! Refusing a newcomer, so that it hears of it: its request is read, answered, and the connection
//! closed.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connections::admission::Entrant;

/// Longest time that a refusal takes, from the first byte awaited to the last one written.
const REFUSAL_MAX: Duration = Duration::from_secs(3);

/// How long the body of a refused request is read, and how many of its bytes: closing a socket with
/// unread bytes may destroy the answer on its way.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// As many headers as any port takes.
const HEADERS_MAX: usize = 80;

/// As many bytes of a head as any port takes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

impl Entrant {
    /// Answers the first request of the newcomer with what `respond` says of it, and closes the
    /// connection.
    pub(crate) async fn refuse<R>(self, stream: TcpStream, respond: R)
    where
        R: Fn(&Parts) -> Response<Full<Bytes>>,
    {
        let respond = &respond;
        let service = service_fn(move |request: Request<Incoming>| async move {
            let (head, body) = request.into_parts();
            if !waits_to_continue(&head.headers) {
                drop(timeout(BODY_PATIENCE, throw_away(body)).await);
            }
            Ok::<_, Infallible>(respond(&head))
        });

        let refusing = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REFUSAL_MAX)
            .keep_alive(false)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever says nothing meanwhile asked for nothing.
        drop(timeout(REFUSAL_MAX, refusing).await);
    }
}

/// Whether the client sends its body only when it is asked for it.
#[must_use]
pub(crate) fn waits_to_continue(sent: &HeaderMap) -> bool {
    sent.get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

async fn throw_away(mut body: Incoming) {
    let mut left = BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.into_data().map_or(0, |bytes| bytes.len());
        match left.checked_sub(len) {
            Some(less) => left = less,
            None => return,
        }
    }
}
