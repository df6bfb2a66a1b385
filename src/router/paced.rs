//! A client's socket with patience: a request's head must arrive within a limit from its first byte, and a peer that takes
//! no byte of an answer for a while is cut. hyper has neither: its header timeout also counts the idle time before.
//!
//! **Invariant.** Every byte awaited from or by a client is awaited for a bounded time; idle time between requests is
//! bounded by hyper's own timer.

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

/// Which head of a connection is awaited, if any: while no request is being served, what arrives is the head of the next.
/// Odd while one is awaited. A count and not a flag, because nothing may be read between two heads, and the patience with
/// one must not be used up by the one before.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadAwaited(Arc<AtomicU64>);

impl HeadAwaited {
    /// A request's head is complete.
    pub(super) fn arrived(&self) {
        if is_awaited(self.count()) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An answer is on its way; the next head may come.
    pub(super) fn again(&self) {
        if !is_awaited(self.count()) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn is_awaited(count: u64) -> bool {
    count % 2 == 1
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    head_patience: Duration,
    awaited: HeadAwaited,
    /// Patience with the head of this count.
    reading: Option<(u64, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Wraps a fresh connection: its first head must arrive within `head_patience` from now.
    pub(super) fn new(inner: S, head_patience: Duration, awaited: HeadAwaited) -> Self {
        awaited.again();
        let reading = Some((awaited.count(), Box::pin(sleep(head_patience))));
        Self { inner, head_patience, awaited, reading, writing: None }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let patience = self.writing.get_or_insert_with(|| Box::pin(sleep(WRITE_PATIENCE)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        let now = self.awaited.count();
        if self.reading.as_ref().is_some_and(|(head, _)| *head != now) {
            self.reading = None;
        }
        if !is_awaited(now) {
            return result;
        }
        if result.is_ready() {
            if buf.filled().len() > before && self.reading.is_none() {
                self.reading = Some((now, Box::pin(sleep(self.head_patience))));
            }
            return result;
        }
        if let Some((_, patience)) = self.reading.as_mut() {
            ready!(patience.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, HEAD));
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_between_requests_is_not_cut_here_but_the_next_head_is_timed_from_its_first_byte() {
        let (mut client, server) = duplex(64);
        let awaited = HeadAwaited::default();
        let mut paced = Paced::new(server, HEAD, awaited.clone());
        client.write_all(b"one").await.unwrap();
        paced.read_exact(&mut [0; 3]).await.unwrap();
        awaited.arrived();
        let mut byte = [0; 1];
        assert!(timeout(HEAD * 2, paced.read_exact(&mut byte)).await.is_err(), "a slow body is not its concern");
        awaited.again();
        assert!(timeout(HEAD * 5, paced.read_exact(&mut byte)).await.is_err(), "idle");
        client.write_all(b"t").await.unwrap();
        paced.read_exact(&mut byte).await.unwrap();
        let error = paced.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    // hyper reads nothing while it serves a request without a body, so nothing is read between the two heads.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_used_again_and_again_outlives_the_patience_with_its_first_head() {
        let (mut client, server) = duplex(64);
        let awaited = HeadAwaited::default();
        let mut paced = Paced::new(server, HEAD, awaited.clone());
        let mut head = [0; 3];
        for _ in 0..5 {
            client.write_all(b"one").await.unwrap();
            paced.read_exact(&mut head).await.unwrap();
            awaited.arrived();
            awaited.again();
            assert!(timeout(HEAD / 2, paced.read_exact(&mut head)).await.is_err(), "idle, not ended");
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
