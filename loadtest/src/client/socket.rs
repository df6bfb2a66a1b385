//! One WebSocket of one user: opening, the frames that matter here, and how it ended.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::client::dial::{Dialer, Endpoint, Stream};
use crate::client::failure::{Failure, Fault};
use crate::client::socketio::{self, Packet};

/// Longest wait for the upgrade, and for `ready` after it.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// Positions in one `resume` frame; the contract's limit.
const POSITIONS_MAX: usize = 500;

/// A frame of the server, as far as it matters here. Flat, because a frame is read for each
/// delivery; what a kind of frame does not have is empty.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame<'a> {
    /// The kind.
    #[serde(borrow)]
    pub(crate) t: Cow<'a, str>,
    /// Of `message`, `event`, `gap`.
    #[serde(borrow, default)]
    pub(crate) conversation: Cow<'a, str>,
    /// Of `message` and `event`.
    #[serde(default)]
    pub(crate) seq: u64,
    /// Of `message`.
    #[serde(borrow, default)]
    pub(crate) text: Cow<'a, str>,
    /// Of `gap`.
    #[serde(default)]
    pub(crate) from: u64,
    /// Of `gap`, inclusive.
    #[serde(default)]
    pub(crate) to: u64,
    /// Of `gap` and `reconnect`.
    #[serde(borrow, default)]
    pub(crate) reason: Cow<'a, str>,
    /// Of `reconnect`.
    #[serde(default)]
    pub(crate) after_ms: u64,
}

/// What is spoken over the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Frames as they are, each conversation's with a seq.
    Rookery,
    /// Frames as arguments of Socket.IO's events. They have no seq, and a session cannot be
    /// resumed.
    SocketIo,
}

impl Protocol {
    /// True when messages have a seq, and so an order that can be judged.
    pub(crate) fn has_seqs(self) -> bool {
        self == Self::Rookery
    }
}

/// Why a session ended: the close code of the server, or none when the connection just broke
/// (1006).
pub(crate) const BROKEN: u16 = 1006;
/// The server of another protocol than Rookery's said that it ends the session.
const CLOSED: u16 = 1000;

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    stream: WebSocketStream<Stream>,
    protocol: Protocol,
    /// Sent as soon as the server has opened its protocol; only Socket.IO asks for it.
    token: String,
}

impl Session {
    /// Opens a session and waits until it is `ready`: what commits from now on arrives.
    pub(crate) async fn open(
        protocol: Protocol,
        dialer: &Dialer,
        endpoint: &Endpoint,
        token: &str,
    ) -> Result<Self, Failure> {
        let opening = async {
            let path = if protocol == Protocol::Rookery {
                "/v1/ws"
            } else {
                socketio::PATH
            };
            let mut session = Self::upgrade(dialer, endpoint, token, path).await?;
            session.protocol = protocol;

            loop {
                let text = session.next().await.map_err(|code| {
                    Failure::transport(
                        Fault::Broken,
                        format!("the session ended with {code} before it was ready"),
                    )
                })?;
                if serde_json::from_str::<Frame<'_>>(&text).is_ok_and(|frame| frame.t == "ready") {
                    return Ok(session);
                }
            }
        };
        match tokio::time::timeout(OPEN_MAX, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::transport(
                Fault::Timeout,
                format!("no session in {OPEN_MAX:?}"),
            )),
        }
    }

    /// Opens a session that goes on behind these positions.
    pub(crate) async fn resume(
        dialer: &Dialer,
        endpoint: &Endpoint,
        token: &str,
        positions: &[(&str, u64)],
    ) -> Result<Self, Failure> {
        let opening = async {
            let mut session = Self::upgrade(dialer, endpoint, token, "/v1/ws?resume=wait").await?;
            for frame in resume_frames(positions) {
                let broken = |error: Error| Failure::transport(Fault::Broken, error.to_string());
                session
                    .stream
                    .send(Message::text(frame))
                    .await
                    .map_err(broken)?;
            }
            Ok(session)
        };
        match tokio::time::timeout(OPEN_MAX, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::transport(
                Fault::Timeout,
                format!("no session in {OPEN_MAX:?}"),
            )),
        }
    }

    async fn upgrade(
        dialer: &Dialer,
        endpoint: &Endpoint,
        token: &str,
        path: &str,
    ) -> Result<Self, Failure> {
        let unfit = |error: &dyn std::fmt::Display| {
            Failure::transport(Fault::Connect, format!("{endpoint}: {error}"))
        };
        let mut request = endpoint
            .socket_url(path)
            .into_client_request()
            .map_err(|error| unfit(&error))?;
        let bearer = format!("Bearer {token}")
            .parse::<http::HeaderValue>()
            .map_err(|error| unfit(&error))?;
        request.headers_mut().insert("authorization", bearer);
        let stream = dialer.connect(endpoint).await?;

        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self {
                stream,
                protocol: Protocol::Rookery,
                token: token.to_owned(),
            }),
            Err(Error::Http(response)) => Err(Failure::answered(
                response.status(),
                response.body().as_deref().unwrap_or_default(),
            )),
            Err(failed) => Err(Failure::transport(
                Fault::Broken,
                format!("{endpoint}: {failed}"),
            )),
        }
    }

    /// Says something to the server.
    pub(crate) async fn say(&mut self, frame: &serde_json::Value) -> Result<(), String> {
        let said = self.stream.send(Message::text(frame.to_string())).await;
        said.map_err(|error| format!("saying something over a socket: {error}"))
    }

    /// The text of the next frame, or how the session ended. Pings are answered meanwhile.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, u16> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) if self.protocol == Protocol::Rookery => {
                    return Ok(text);
                }
                Some(Ok(Message::Text(text))) => {
                    if let Some(argument) = self.take_packet(text).await? {
                        return Ok(argument);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(BROKEN),
            }
        }
    }

    /// Does what a packet of Socket.IO asks for; the argument of an event.
    async fn take_packet(&mut self, text: Utf8Bytes) -> Result<Option<Utf8Bytes>, u16> {
        let answer = match Packet::read(&text) {
            Packet::Event(argument) => {
                let argument = bytes::Bytes::from(text).slice(argument);
                return Utf8Bytes::try_from(argument)
                    .map(Some)
                    .map_err(|_not_text| BROKEN);
            }
            Packet::Open => socketio::connect(&self.token),
            Packet::Ping => socketio::PONG.to_owned(),
            Packet::Closed => return Err(CLOSED),
            Packet::Other => return Ok(None),
        };
        self.stream
            .send(Message::text(answer))
            .await
            .map_err(|_gone| BROKEN)?;
        Ok(None)
    }
}

/// The positions in frames of at most 500; all but the last say that more follow.
fn resume_frames(positions: &[(&str, u64)]) -> Vec<String> {
    let mut frames = Vec::new();
    let mut rest = positions;

    loop {
        let (now, later) = rest.split_at(rest.len().min(POSITIONS_MAX));
        let named: serde_json::Map<String, serde_json::Value> = now
            .iter()
            .map(|(name, seq)| ((*name).to_owned(), (*seq).into()))
            .collect();
        let mut frame = serde_json::json!({"t": "resume", "positions": named});
        if !later.is_empty()
            && let Some(fields) = frame.as_object_mut()
        {
            fields.insert("more".to_owned(), true.into());
        }
        frames.push(frame.to_string());
        rest = later;
        if rest.is_empty() {
            return frames;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_far_as_they_matter() {
        let text = r#"{"t":"message","id":"x","conversation":"c","seq":7,"source":"a","text":"a \"b\"","deleted":false}"#;
        let frame: Frame<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(
            (&*frame.t, &*frame.conversation, frame.seq, &*frame.text),
            ("message", "c", 7, "a \"b\"")
        );
        assert!(matches!(frame.conversation, Cow::Borrowed(_)));
        let told = r#"{"t":"gap","conversation":"c","from":2,"to":9,"reason":"too_far"}"#;
        let gap: Frame<'_> = serde_json::from_str(told).unwrap();
        assert_eq!((gap.from, gap.to, &*gap.reason), (2, 9, "too_far"));
        assert_eq!(
            serde_json::from_str::<Frame<'_>>(r#"{"t":"ready"}"#)
                .unwrap()
                .t,
            "ready"
        );
    }

    #[test]
    fn many_positions_go_out_in_several_frames_of_which_only_the_last_has_no_more() {
        let names: Vec<String> = (0..1_001).map(|number| format!("c{number}")).collect();
        let positions: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
        let frames = resume_frames(&positions);
        let more: Vec<bool> = frames
            .iter()
            .map(|frame| frame.contains(r#""more":true"#))
            .collect();
        assert_eq!(more, [true, true, false]);
        let last: serde_json::Value = serde_json::from_str(frames.last().unwrap()).unwrap();
        assert_eq!(last["positions"].as_object().unwrap().len(), 1);
        assert_eq!(resume_frames(&[]).len(), 1);
    }
}
