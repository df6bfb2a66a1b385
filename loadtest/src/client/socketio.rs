//! The packets of Socket.IO (protocol 5 over Engine.IO 4) as far as a listening client over
//! WebSocket meets them: text, the default namespace, no acknowledgements. Pure; the socket itself
//! is that of `socket`.

use std::ops::Range;

/// The path of the WebSocket.
pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
/// The answer to a ping.
pub(crate) const PONG: &str = "3";

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Engine.IO is open: the client connects to the namespace now.
    Open,
    /// To be answered, or the server ends the connection.
    Ping,
    /// An event; where its one argument stands in the text.
    Event(Range<usize>),
    /// The namespace refused the client, or either layer closes.
    Closed,
    /// Nothing that matters here.
    Other,
}

impl Packet {
    /// Reads one text frame.
    pub(crate) fn read(text: &str) -> Self {
        match text.as_bytes() {
            [b'0', ..] => Self::Open,
            [b'2', ..] => Self::Ping,
            [b'1', ..] | [b'4', b'1' | b'4', ..] => Self::Closed,
            [b'4', b'2', ..] => Self::event(text).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    /// `42["name",ARGUMENT]`. Names of events hold nothing that is escaped.
    fn event(text: &str) -> Option<Self> {
        let named = text.strip_prefix("42[\"")?.strip_suffix(']')?;
        let begin = text.len() - 1 - named.len() + named.find("\",")? + 2;
        Some(Self::Event(begin..text.len() - 1))
    }
}

/// Connects to the default namespace with this token.
pub(crate) fn connect(token: &str) -> String {
    format!("40{}", serde_json::json!({ "token": token }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_its_argument() {
        let text = r#"42["message",{"t":"message","text":"a \",] b"}]"#;
        let Packet::Event(range) = Packet::read(text) else {
            panic!("no event: {text}")
        };
        assert_eq!(&text[range], r#"{"t":"message","text":"a \",] b"}"#);
    }

    #[test]
    fn packets_are_told_apart_by_their_first_characters() {
        assert_eq!(
            Packet::read(r#"0{"sid":"x","pingInterval":25000}"#),
            Packet::Open
        );
        assert_eq!(Packet::read("2"), Packet::Ping);
        assert_eq!(Packet::read(r#"40{"sid":"y"}"#), Packet::Other);
        for closed in ["1", "41", r#"44{"message":"unauthorized"}"#] {
            assert_eq!(Packet::read(closed), Packet::Closed, "{closed}");
        }
        for other in ["", "4", "6", "42", r#"42["ready"]"#, "43[]"] {
            assert_eq!(Packet::read(other), Packet::Other, "{other}");
        }
    }

    #[test]
    fn a_token_goes_out_with_the_connecting() {
        assert_eq!(connect("a.b"), r#"40{"token":"a.b"}"#);
    }
}
