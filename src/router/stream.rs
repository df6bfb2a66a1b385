//! What a connection of a client is read and written through.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::connections::Noted;
use crate::router::explained::Explained;
use crate::router::paced::Paced;

/// The layers around the socket of a client.
pub(super) type Stream = TokioIo<Explained<Paced<Noted<TcpStream>>>>;

/// The socket of a connection that no request follows on, and what was read of it beyond the last
/// one: a copy, for even nothing of it would keep the buffer of the requests for as long as the
/// session lasts.
pub(super) fn stream_of(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    match upgraded.downcast::<Stream>() {
        Ok(parts) => Some((
            parts.io.into_inner().into_inner().into_inner().into_inner(),
            Bytes::copy_from_slice(&parts.read_buf),
        )),
        Err(_) => {
            tracing::error!("a session was opened on something that is no tcp stream");
            None
        }
    }
}
