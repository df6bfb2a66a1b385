//! A client's socket whose refusals are explained. What cannot be read as a request never reaches a
//! service: hyper answers it by itself, with a bare status. Here that answer becomes a problem of
//! the client contract, with a request id.
//!
//! **Invariant.** Nothing but hyper's own refusals is changed: they are the only answers without
//! `X-Request-Id`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::problem::{Code, Problem};
use crate::protocol::headers;

/// Longest refusal of hyper's own, in bytes.
const BARE_BYTES_MAX: usize = 256;

/// How a client begins that speaks HTTP/2 without asking (RFC 9113, section 3.4).
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Explained<S> {
    inner: S,
    /// Nothing was read yet: what comes first may be the preface of HTTP/2.
    fresh: bool,
    is_http_2: bool,
    /// What is left to write of the answer that stands for hyper's.
    explanation: Vec<u8>,
    /// Bytes of hyper's that it stands for; 0 when there is none.
    stands_for: usize,
}

impl<S> Explained<S> {
    /// Wraps a fresh connection.
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            fresh: true,
            is_http_2: false,
            explanation: Vec::new(),
            stands_for: 0,
        }
    }

    /// The connection itself, when no request can come any more.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Begins to stand for a refusal of hyper's own.
    fn replace(&mut self, bytes: &[u8]) {
        if let Some(problem) = problem_for(bytes, self.is_http_2) {
            self.explanation = answer(&problem);
            self.stands_for = bytes.len();
        }
    }
}

/// The problem that says what a bare refusal means; `None` for any other bytes.
fn problem_for(bytes: &[u8], is_http_2: bool) -> Option<Problem> {
    let is_bare = bytes.len() <= BARE_BYTES_MAX
        && bytes.starts_with(b"HTTP/1.")
        && bytes.ends_with(b"\r\n\r\n");
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| is_bare && !text.contains(headers::REQUEST_ID))?;
    match text.get(9..12)? {
        _ if is_http_2 => Some(Problem::new(
            Code::Invalid,
            "HTTP/2 is not spoken here: use HTTP/1.1",
        )),
        "400" => Some(Problem::new(
            Code::Invalid,
            "this is no request of HTTP/1.1 that can be read",
        )),
        "414" | "431" => {
            let detail = "the head of a request has at most 64 headers and 32 KiB, its path within";
            Some(Problem::new(Code::HeadTooLarge, detail))
        }
        _ => None,
    }
}

fn answer(problem: &Problem) -> Vec<u8> {
    let id = headers::request_id(&HeaderMap::new());
    let body = serde_json::to_vec(&problem.body(&id)).unwrap_or_default();
    let mut response = problem.response(&id);
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    tracing::debug!(
        id,
        status = problem.code.status(),
        code = problem.code.as_str(),
        "what came is no request that can be read"
    );

    let mut written = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        written.extend_from_slice(name.as_str().as_bytes());
        written.extend_from_slice(b": ");
        written.extend_from_slice(value.as_bytes());
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"\r\n");
    written.extend_from_slice(&body);
    written
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled_mut().get_mut(before..).unwrap_or_default();
        if self.fresh && !read.is_empty() {
            self.fresh = false;
            // hyper would close without a word; a first byte that no method has makes it refuse.
            if read.starts_with(HTTP_2_PREFACE)
                && let Some(first) = read.first_mut()
            {
                self.is_http_2 = true;
                *first = 0;
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.stands_for == 0 {
            self.replace(bytes);
        }
        if self.stands_for == 0 {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }

        while !self.explanation.is_empty() {
            let Self {
                inner, explanation, ..
            } = &mut *self;
            let written = ready!(Pin::new(inner).poll_write(cx, explanation))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            explanation.drain(..written);
        }
        Poll::Ready(Ok(std::mem::take(&mut self.stands_for)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            // A refusal of hyper's own is one piece.
            [one] => self.poll_write(cx, one),
            _ => Pin::new(&mut self.inner).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_refusal_is_explained() {
        let code = |text: &str| problem_for(text.as_bytes(), false).map(|problem| problem.code);
        assert_eq!(
            code("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            Some(Code::Invalid)
        );
        assert_eq!(
            code("HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n"),
            Some(Code::HeadTooLarge)
        );
        assert_eq!(
            code("HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\n\r\n"),
            None
        );
        assert_eq!(
            code("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"),
            None
        );
        assert_eq!(code("HTTP/1.1 100 Continue\r\n\r\n"), None);
    }
}
