//! The memory that held requests may fill, and reading a body into it.
//!
//! **Invariants.** Held bodies never exceed the configured total, nor those of requests without a
//! verified token a quarter of it. A full share refuses at once: no request waits for memory.
//! Beyond the limit of one body nothing is kept.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::connections::refusal::waits_to_continue;
use crate::protocol::FRAME_BYTES_MAX;
use crate::telemetry::ROUTER_HELD_BYTES;

/// A body over the limit is read on and thrown away up to here, so that its sender can read the
/// refusal.
const DISCARD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many times longer than a good body one over the limit may take to arrive.
const DISCARD_PATIENCE: u32 = 3;
/// Memory is counted in these units, one of them for the head of the request.
const UNIT_BYTES: usize = 1024;
/// The part of the memory that requests without a verified token may fill.
const UNVERIFIED_PART: usize = 4;

/// The memory for held requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    all: Arc<Semaphore>,
    unverified: Arc<Semaphore>,
    patience: Duration,
}

/// A request's body, and its place in memory until dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// The body; empty when it was over the limit.
    pub(super) bytes: Bytes,
    /// How much was sent, when that was over the limit.
    pub(super) too_large: Option<u64>,
    _share: Share,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The memory is full.
    Full,
    /// It did not arrive in time.
    Late,
    /// It broke off, or its framing is malformed.
    Broken,
}

impl Hold {
    /// Memory of so many bytes; a body must arrive within `patience`.
    pub(super) fn new(bytes_max: usize, patience: Duration) -> Self {
        let units = (bytes_max / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let all = Arc::new(Semaphore::new(units));
        Self {
            all,
            unverified: Arc::new(Semaphore::new((units / UNVERIFIED_PART).max(1))),
            patience,
        }
    }

    /// Whether a body is not asked for: its client waits for that, and it is larger than any that
    /// is taken.
    pub(super) fn is_unasked(headers: &HeaderMap, body: &impl Body) -> bool {
        waits_to_continue(headers)
            && usize::try_from(body.size_hint().lower())
                .is_ok_and(|declared| declared > FRAME_BYTES_MAX)
    }

    /// Reads a body to its end. One that is over the limit, or finds the memory full, is read too,
    /// but not kept: a refusal sent against unread bytes would be lost with the connection.
    pub(super) async fn read<B>(&self, body: B, verified: bool) -> Result<Held, Unread>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let started = Instant::now();
        let last = started + self.patience * DISCARD_PATIENCE;
        let hint = body.size_hint();
        let declared = hint.exact().unwrap_or(u64::MAX);
        let room = usize::try_from(declared)
            .unwrap_or(usize::MAX)
            .min(FRAME_BYTES_MAX);
        let Some(mut share) = self.share(room, verified) else {
            discard(body, 0, last).await?;
            return Err(Unread::Full);
        };
        let mut bytes = BytesMut::with_capacity(if hint.exact().is_some() { room } else { 0 });
        while let Some(chunk) = next(&mut body, started + self.patience).await? {
            if bytes.len() + chunk.len() > FRAME_BYTES_MAX {
                let seen = bytes.len() + chunk.len();
                drop(bytes);
                drop(chunk);
                share.shrink_to(0);
                let sent = discard(body, u64::try_from(seen).unwrap_or(u64::MAX), last).await?;
                return Ok(Held {
                    bytes: Bytes::new(),
                    too_large: Some(sent),
                    _share: share,
                });
            }
            bytes.extend_from_slice(&chunk);
        }

        share.shrink_to(bytes.len());
        Ok(Held {
            bytes: bytes.freeze(),
            too_large: None,
            _share: share,
        })
    }

    /// Leaves a body that its sender declared over the limit, and does not send before it is asked.
    pub(super) fn leave(&self, declared: u64, verified: bool) -> Result<Held, Unread> {
        let share = self.share(0, verified).ok_or(Unread::Full)?;
        Ok(Held {
            bytes: Bytes::new(),
            too_large: Some(declared),
            _share: share,
        })
    }

    /// Reads a body to its end and keeps nothing of it.
    pub(super) async fn throw_away<B>(&self, body: B) -> Result<(), Unread>
    where
        B: Body<Data = Bytes>,
    {
        discard(
            pin!(body),
            0,
            Instant::now() + self.patience * DISCARD_PATIENCE,
        )
        .await
        .map(drop)
    }

    fn share(&self, bytes: usize, verified: bool) -> Option<Share> {
        let units = units_of(bytes);
        let of_unverified = if verified {
            None
        } else {
            Some(
                Arc::clone(&self.unverified)
                    .try_acquire_many_owned(units)
                    .ok()?,
            )
        };

        let of_all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
        let gauge = ROUTER_HELD_BYTES.bind(&[]);
        let share = Share {
            of_all,
            of_unverified,
            gauge,
        };
        share.gauge.increment(bytes_of(units));
        Some(share)
    }
}

#[derive(Debug)]
struct Share {
    of_all: OwnedSemaphorePermit,
    of_unverified: Option<OwnedSemaphorePermit>,
    gauge: metrics::Gauge,
}

impl Share {
    fn shrink_to(&mut self, bytes: usize) {
        let held = self.of_all.num_permits();
        let surplus = held.saturating_sub(usize::try_from(units_of(bytes)).unwrap_or(held));
        drop(self.of_all.split(surplus));
        drop(
            self.of_unverified
                .as_mut()
                .and_then(|permit| permit.split(surplus)),
        );
        self.gauge
            .decrement(bytes_of(u32::try_from(surplus).unwrap_or(u32::MAX)));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.decrement(bytes_of(
            u32::try_from(self.of_all.num_permits()).unwrap_or(u32::MAX),
        ));
    }
}

fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES) + 1).unwrap_or(u32::MAX)
}

fn bytes_of(units: u32) -> f64 {
    f64::from(units) * 1024.0
}

async fn next<B>(body: &mut std::pin::Pin<&mut B>, until: Instant) -> Result<Option<Bytes>, Unread>
where
    B: Body<Data = Bytes>,
{
    loop {
        match timeout_at(until, body.frame()).await {
            Err(_elapsed) => return Err(Unread::Late),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_broken))) => return Err(Unread::Broken),
            // Trailers mean nothing to us.
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Reads to the end, or until so much came that the sender has to take a closed connection for an
/// answer. Returns how much was sent as far as is known.
async fn discard<B>(
    mut body: std::pin::Pin<&mut B>,
    mut seen: u64,
    until: Instant,
) -> Result<u64, Unread>
where
    B: Body<Data = Bytes>,
{
    let rest = body.size_hint().lower();
    if seen.saturating_add(rest) > DISCARD_BYTES_MAX {
        return Ok(seen.saturating_add(rest));
    }
    while seen <= DISCARD_BYTES_MAX {
        match next(&mut body, until).await? {
            Some(chunk) => {
                seen = seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX))
            }
            None => break,
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn body(len: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![b'x'; len]))
    }

    fn chunked(chunks: usize, len: usize) -> impl Body<Data = Bytes> {
        let chunk = Bytes::from(vec![b'x'; len]);
        StreamBody::new(futures_util::stream::iter(
            (0..chunks).map(move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone()))),
        ))
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_kept_and_one_byte_more_is_not() {
        let hold = Hold::new(1024 * 1024, PATIENCE);
        let at_limit = hold.read(body(FRAME_BYTES_MAX), true).await.unwrap();
        assert_eq!(
            (at_limit.bytes.len(), at_limit.too_large),
            (FRAME_BYTES_MAX, None)
        );
        let over = hold.read(body(FRAME_BYTES_MAX + 1), true).await.unwrap();
        assert_eq!(
            (over.bytes.len(), over.too_large),
            (0, Some(FRAME_BYTES_MAX as u64 + 1))
        );
        let in_chunks = hold.read(chunked(129, 1024), true).await.unwrap();
        assert_eq!(in_chunks.too_large, Some(129 * 1024));
    }

    #[tokio::test]
    async fn memory_comes_back_to_the_last_byte() {
        let hold = Hold::new(1024 * 1024, PATIENCE);
        for verified in [true, false] {
            drop(hold.read(chunked(3, 1000), verified).await.unwrap());
            drop(hold.read(chunked(300, 1000), verified).await.unwrap());
            drop(hold.read(body(5), verified).await.unwrap());
        }
        assert_eq!(
            (
                hold.all.available_permits(),
                hold.unverified.available_permits()
            ),
            (1024, 256)
        );
    }

    #[tokio::test]
    async fn the_unverified_fill_a_quarter_at_most_and_leave_room_for_the_verified() {
        let hold = Hold::new(1024 * 1024, PATIENCE);
        let one = hold.read(body(FRAME_BYTES_MAX), false).await.unwrap();
        assert_eq!(
            hold.read(body(FRAME_BYTES_MAX), false).await.unwrap_err(),
            Unread::Full
        );

        let mut verified = Vec::new();
        while let Ok(held) = hold.read(body(FRAME_BYTES_MAX), true).await {
            verified.push(held);
        }

        assert_eq!(
            verified.len(),
            6,
            "of 1 MiB, 129 KiB are taken by the unverified and 774 by the verified"
        );

        drop(one);
        assert!(hold.read(body(1000), false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let hold = Hold::new(1024 * 1024, PATIENCE);
        let never = StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, std::io::Error>,
        >());
        assert_eq!(hold.read(never, false).await.unwrap_err(), Unread::Late);
        assert_eq!(hold.all.available_permits(), 1024);
    }

    #[tokio::test]
    async fn an_endless_body_is_read_no_further_than_the_cap() {
        let hold = Hold::new(1024 * 1024, PATIENCE);
        let held = hold.read(chunked(1000, 64 * 1024), true).await.unwrap();
        let sent = held.too_large.unwrap();
        assert!(
            (DISCARD_BYTES_MAX..DISCARD_BYTES_MAX + 128 * 1024).contains(&sent),
            "{sent}"
        );
    }
}
