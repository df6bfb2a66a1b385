//! A public WebSocket client.

use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Client {
    pub(super) socket: Socket,
    pub(super) protocol: Option<String>,
    pub(super) pings: usize,
}

impl Client {
    pub(super) async fn raw(&mut self) -> Message {
        let next = tokio::time::timeout(WAIT, self.socket.next())
            .await
            .expect("in time");
        next.expect("not ended").expect("a message")
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.raw().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("json"),
                Message::Ping(_) => self.pings += 1,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn expect(&mut self, t: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["t"], t, "{frame}");
        frame
    }

    /// The code of the close that comes, whatever comes before it.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.raw().await {
                Message::Close(frame) => return frame.expect("a code").code.into(),
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .expect("sent");
    }

    pub(crate) async fn when_ready(mut self) -> Self {
        self.expect("hello").await;
        self.expect("ready").await;
        self
    }
}
