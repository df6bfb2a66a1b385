//! A client's socket with patience: a request's head must arrive within a limit from its first
//! byte, and a peer that takes no byte of an answer for a while is cut. hyper has neither: its
//! header timeout also counts the idle time before.
//!
//! **Invariant.** Every byte awaited from or by a client is awaited for a bounded time; idle time
//! between requests is bounded by hyper's own timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A peer that takes nothing for so long is cut.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Counts the turns of a connection. Even: no request is being served, and what arrives is the head
/// of the next. Odd: one is. A turn of its own for every head, so that the time of one is never
/// counted against the next.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadAwaited(Arc<AtomicU64>);

impl HeadAwaited {
    /// A request's head is complete.
    pub(super) fn arrived(&self) {
        self.0.fetch_or(1, Ordering::Relaxed);
    }

    /// An answer is on its way; the next head may come.
    pub(super) fn again(&self) {
        if self.turn() % 2 == 1 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    head_patience: Duration,
    awaited: HeadAwaited,
    /// The turn that `reading` was begun in.
    turn: u64,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Wraps a fresh connection: its first head must arrive within `head_patience` from now.
    pub(super) fn new(inner: S, head_patience: Duration, awaited: HeadAwaited) -> Self {
        awaited.again();
        let (turn, reading) = (awaited.turn(), Some(Box::pin(sleep(head_patience))));
        Self {
            inner,
            head_patience,
            awaited,
            turn,
            reading,
            writing: None,
        }
    }

    /// The connection itself, when no request can come any more.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let patience = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep(WRITE_PATIENCE)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer takes nothing",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        let turn = self.awaited.turn();
        if turn != self.turn {
            self.turn = turn;
            self.reading = None;
        }

        if turn % 2 == 1 {
            return result;
        }
        if result.is_ready() {
            if buf.filled().len() > before && self.reading.is_none() {
                self.reading = Some(Box::pin(sleep(self.head_patience)));
            }
            return result;
        }

        if let Some(patience) = self.reading.as_mut() {
            ready!(patience.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the head of a request took too long",
            )));
        }

        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut_though_bytes_keep_coming() {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, HEAD, HeadAwaited::default());
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
        });
        let mut buffer = Vec::new();
        let error = paced.read_to_end(&mut buffer).await.unwrap_err();
        assert_eq!(
            (error.kind(), started.elapsed()),
            (io::ErrorKind::TimedOut, HEAD)
        );
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_between_requests_is_not_cut_here_but_the_next_head_is_timed_from_its_first_byte()
     {
        let (mut client, server) = duplex(64);
        let awaited = HeadAwaited::default();
        let mut paced = Paced::new(server, HEAD, awaited.clone());
        client.write_all(b"one").await.unwrap();
        paced.read_exact(&mut [0; 3]).await.unwrap();
        awaited.arrived();

        let mut byte = [0; 1];
        assert!(
            timeout(HEAD * 2, paced.read_exact(&mut byte))
                .await
                .is_err(),
            "a slow body is not its concern"
        );

        awaited.again();
        assert!(
            timeout(HEAD * 5, paced.read_exact(&mut byte))
                .await
                .is_err(),
            "idle"
        );

        client.write_all(b"t").await.unwrap();
        paced.read_exact(&mut byte).await.unwrap();
        let error = paced.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_come_in_one_piece_are_each_timed_alone() {
        let (mut client, server) = duplex(64);
        let awaited = HeadAwaited::default();
        let mut paced = Paced::new(server, HEAD, awaited.clone());

        for _ in 0..10 {
            client.write_all(b"one").await.unwrap();
            paced.read_exact(&mut [0; 3]).await.unwrap();
            // Nothing is read while the request is served: it came whole.
            awaited.arrived();
            sleep(HEAD / 3).await;
            awaited.again();
            assert!(
                timeout(HEAD / 3, paced.read_exact(&mut [0; 1]))
                    .await
                    .is_err(),
                "idle, and not cut"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (_client, server) = duplex(8);
        let mut paced = Paced::new(server, HEAD, HeadAwaited::default());
        let error = paced.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
