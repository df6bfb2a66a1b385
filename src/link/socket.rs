//! The two halves of a link's socket. Reading goes through fastwebsockets, whose read is not
//! cancel-safe: one loop per socket reads, and whatever ends that loop ends the link. Writing
//! gathers encoded frames and hands them to the kernel at once.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Chain, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::link::codec::FRAME_BYTES_MAX;
use crate::link::{Config, LinkError};
use crate::telemetry;

/// Largest frame before both ends have proven themselves.
const UNPROVEN_FRAME_BYTES_MAX: usize = 256;

/// Frames are gathered to about this many bytes for one write.
pub(crate) const COALESCE_BYTES: usize = 256 * 1024;

/// Longest wait for a peer that is told goodbye to take it.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(100);

/// A scratch buffer that grew beyond this is given back.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// Signs of life of the peer, shared by the reading and the watching loop.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    heard: AtomicBool,
    busy: AtomicBool,
}

impl Pulse {
    /// Waits for something of our own while nothing is read: silence is not the peer's then.
    pub(crate) async fn while_busy<T>(&self, work: impl Future<Output = T>) -> T {
        self.busy.store(true, Ordering::Relaxed);
        let done = work.await;
        self.heard.store(true, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
        done
    }

    /// Ends when the peer said nothing for too many heartbeats. Ticks that this process slept
    /// through are not counted.
    pub(crate) async fn watch(&self, config: &Config) -> LinkError {
        let mut missed = 0;
        let mut ticks = ticks(config.heartbeat);
        loop {
            ticks.tick().await;
            if self.heard.swap(false, Ordering::Relaxed) || self.busy.load(Ordering::Relaxed) {
                missed = 0;
            } else {
                missed += 1;
            }
            if missed >= config.heartbeats_missed_max {
                return LinkError::Dead;
            }
        }
    }
}

/// A ticker that does not catch up on what it missed.
pub(crate) fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Notes that bytes came in, whole frame or not, so that a large frame on a slow network is no
/// silence.
#[derive(Debug)]
struct Heard<R> {
    inner: R,
    pulse: Arc<Pulse>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.pulse.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

/// The reading half.
pub(crate) struct Reader {
    socket: WebSocketRead<Heard<Chain<Cursor<Bytes>, OwnedReadHalf>>>,
}

impl Reader {
    /// The payload of the next binary frame. Not cancel-safe: dropped, the socket is of no more
    /// use.
    pub(crate) async fn read(&mut self) -> Result<BytesMut, LinkError> {
        // Automatic answers are off, so nothing is ever obliged to be sent.
        let mut refuse = |_: Frame<'_>| async {
            Err::<(), _>(io::Error::other("nothing is sent by the reader"))
        };

        loop {
            let frame = self
                .socket
                .read_frame(&mut refuse)
                .await
                .map_err(|error| match error {
                    WebSocketError::IoError(error) => LinkError::Io(error),
                    WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
                        LinkError::Closed
                    }
                    other => LinkError::Protocol(other.to_string()),
                })?;
            match frame.opcode {
                OpCode::Ping | OpCode::Pong => {}
                OpCode::Close => return Err(LinkError::Left),
                OpCode::Binary if frame.fin => {
                    return Ok(match frame.payload {
                        Payload::Bytes(bytes) => bytes,
                        other => BytesMut::from(&*other),
                    });
                }
                OpCode::Binary | OpCode::Text | OpCode::Continuation => {
                    return Err(LinkError::Protocol(
                        "only whole binary frames are taken".to_owned(),
                    ));
                }
            }
        }
    }

    /// Both ends have proven themselves: large frames may come.
    pub(crate) fn proven(&mut self) {
        self.socket.set_max_message_size(FRAME_BYTES_MAX);
    }
}

/// The writing half.
pub(crate) struct Writer {
    socket: OwnedWriteHalf,
    masked: bool,
    batch: Vec<u8>,
    scratch: Vec<u8>,
    patience: Duration,
    /// A part of a batch may have been written.
    is_torn: bool,
    /// Frames of the contract in the batch.
    frames: u64,
    frames_written: metrics::Counter,
    writes: metrics::Counter,
}

impl Writer {
    /// Adds a binary frame to the batch, which counts for so many frames of the contract that is
    /// spoken.
    pub(crate) fn add(&mut self, payload: Vec<u8>, frames: usize) {
        self.frames = self
            .frames
            .saturating_add(u64::try_from(frames).unwrap_or(u64::MAX));
        self.add_frame(Frame::binary(Payload::Owned(payload)));
    }

    /// Adds a sign of life: a pong that nobody asked for (RFC 6455, 5.5.3), which needs no answer.
    pub(crate) fn beat(&mut self) {
        self.add_frame(Frame::pong(Payload::Borrowed(&[])));
    }

    /// Bytes gathered.
    pub(crate) fn gathered(&self) -> usize {
        self.batch.len()
    }

    /// Hands the batch to the kernel. Not cancel-safe: dropped, the socket is of no more use.
    pub(crate) async fn flush(&mut self) -> Result<(), LinkError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.note_frames();
        self.is_torn = true;
        let written = timeout(self.patience, self.socket.write_all(&self.batch)).await;
        self.is_torn = false;
        self.batch.clear();
        self.batch.shrink_to(SCRATCH_BYTES_MAX);
        written
            .map_err(|_elapsed| LinkError::Timeout("a write"))?
            .map_err(LinkError::Io)
    }

    /// Tells the peer that this process stops, if it can be told now: whatever was gathered goes
    /// nowhere.
    pub(crate) async fn say_goodbye(&mut self) {
        if !self.is_torn {
            self.batch.clear();
            self.add_frame(Frame::close_raw(Payload::Borrowed(&[])));
            self.patience = GOODBYE_PATIENCE;
            // The link ends in any case.
            drop(self.flush().await);
        }
    }

    /// Counts what is about to be written. Signs of life and proofs are no frames.
    fn note_frames(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        if frames > 0 {
            self.frames_written.increment(frames);
            self.writes.increment(1);
        }
    }

    fn add_frame(&mut self, mut frame: Frame<'_>) {
        if self.masked {
            frame.mask();
        }
        self.batch.extend_from_slice(frame.write(&mut self.scratch));
        self.scratch.truncate(SCRATCH_BYTES_MAX);
        self.scratch.shrink_to(SCRATCH_BYTES_MAX);
    }
}

/// Both halves, and what they tell of the peer.
pub(crate) struct Socket {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) pulse: Arc<Pulse>,
}

/// Takes the TCP stream out of an upgraded connection, and what was read of it already.
pub(crate) fn open(upgraded: Upgraded, role: Role, config: &Config) -> Result<Socket, LinkError> {
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_other| {
            LinkError::Protocol("the upgraded connection is no TCP stream".to_owned())
        })?;
    let (read, write) = parts.io.into_inner().into_split();

    let pulse = Arc::new(Pulse::default());
    let heard = Heard {
        inner: Cursor::new(parts.read_buf).chain(read),
        pulse: Arc::clone(&pulse),
    };

    let masked = role == Role::Client;
    let (mut socket, _) = after_handshake_split(heard, tokio::io::sink(), role);
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    socket.set_max_message_size(UNPROVEN_FRAME_BYTES_MAX);
    let writer = Writer {
        socket: write,
        masked,
        batch: Vec::new(),
        scratch: Vec::new(),
        patience: config.write_timeout,
        is_torn: false,
        frames: 0,
        frames_written: telemetry::LINK_FRAMES.bind(&[]),
        writes: telemetry::LINK_WRITES.bind(&[]),
    };

    Ok(Socket {
        reader: Reader { socket },
        writer,
        pulse,
    })
}
