//! Reading a body within its limits.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::problem::{Code, Problem};
use crate::protocol::FRAME_BYTES_MAX;

/// A body over the limit is read and thrown away up to here, so that the client, which may not read before it has
/// written, gets the 413. A longer one costs it the connection.
const DRAINED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What came.
pub(super) struct Received {
    /// The bytes, or why there are none.
    pub(super) bytes: Result<Bytes, Problem>,
    /// Nothing is left unread: the connection can go on.
    pub(super) ended: bool,
}

/// Reads a body to its end, at most for `limit`.
pub(super) async fn read<B>(body: B, limit: Duration) -> Received
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    if body.is_end_stream() {
        return Received { bytes: Ok(Bytes::new()), ended: true };
    }
    if body.size_hint().lower() > u64::try_from(DRAINED_BYTES_MAX).unwrap_or(u64::MAX) {
        return Received { bytes: Err(too_large()), ended: false };
    }
    tokio::time::timeout(limit, collect(body)).await.unwrap_or_else(|_| Received {
        bytes: Err(Problem::new(Code::Invalid, "the body did not arrive in time")),
        ended: false,
    })
}

async fn collect<B>(mut body: B) -> Received
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let bytes = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => {
                let problem = Problem::new(Code::Invalid, format!("the body cannot be read: {error}"));
                return Received { bytes: Err(problem), ended: false };
            }
        };
        seen = seen.saturating_add(bytes.len());
        if seen > DRAINED_BYTES_MAX {
            return Received { bytes: Err(too_large()), ended: false };
        }
        if seen <= FRAME_BYTES_MAX {
            kept.extend_from_slice(&bytes);
        }
    }
    let bytes = if seen <= FRAME_BYTES_MAX { Ok(kept.freeze()) } else { Err(too_large()) };
    Received { bytes, ended: true }
}

/// The refusal of a body over the limit.
pub(super) fn too_large() -> Problem {
    Problem::new(Code::TooLarge, format!("a body has at most {FRAME_BYTES_MAX} bytes"))
}
