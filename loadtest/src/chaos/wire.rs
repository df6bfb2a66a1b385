//! The seam to the rest of this program: tokens, lines of output, and how a socket is opened and
//! written to.

use std::time::Duration;

use futures_util::SinkExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::tokens::sign_for;
pub(crate) use crate::output::say;

/// For a frame to be taken by a socket.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// A token of a user, good for a month: some nodes' clocks are days ahead.
pub(crate) fn token(secret: &str, user: &str) -> Result<String, String> {
    sign_for(secret, user, 30 * 24 * 3_600)
}

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens one; whatever it is sent is read by the caller.
pub(crate) async fn open(address: &str, token: &str, path: &str) -> Result<Socket, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{address}: {error}");
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .map_err(|error| failed(&error))?;
    let bearer = format!("Bearer {token}")
        .parse::<http::HeaderValue>()
        .map_err(|error| failed(&error))?;
    request.headers_mut().insert("authorization", bearer);
    let (socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .map_err(|error| failed(&error))?;
    Ok(socket)
}

/// Sends a frame; false when the socket takes nothing.
pub(crate) async fn sent(socket: &mut Socket, text: String) -> bool {
    matches!(
        timeout(TAKEN_WITHIN, socket.send(Message::text(text))).await,
        Ok(Ok(()))
    )
}
