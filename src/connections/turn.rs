//! What happens on one connection: the first byte of a request, its head, the end of its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connections::port::Seat;

/// What begins the turns of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns(pub(super) Arc<Seat>);

impl Turns {
    /// Begins the turn of a request whose head has come.
    #[must_use]
    pub(crate) fn begin(&self) -> Turn {
        Turn::begin(&self.0)
    }
}

/// The time of one request on its connection, from its head to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Seat>>);

impl Turn {
    fn begin(seat: &Arc<Seat>) -> Self {
        seat.note(|state| {
            state.turns += 1;
            state.begun = false;
            state.used = true;
        });
        Self(Some(Arc::clone(seat)))
    }

    /// Keeps the turn until the answer is whole. That of an upgrade never ends: no request follows
    /// it.
    #[must_use]
    pub(crate) fn over<B>(mut self, response: Response<B>) -> Response<Answer<B>> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0 = None;
        }
        response.map(|body| Answer { body, _turn: self })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(seat) = self.0.take() {
            seat.note(|state| state.turns = state.turns.saturating_sub(1));
        }
    }
}

/// The body of an answer, which keeps the turn of its request.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    body: B,
    _turn: Turn,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's socket that notices the first byte of a request.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    inner: S,
    seat: Arc<Seat>,
}

impl<S> Noted<S> {
    pub(super) fn new(inner: S, seat: Arc<Seat>) -> Self {
        Self { inner, seat }
    }

    /// The socket itself, when no request can come any more.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            // Within a turn it is the body of that request, or the beginning of the next one, which
            // begins a turn of its own.
            self.seat.note(|state| state.begun = state.turns == 0);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
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
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
