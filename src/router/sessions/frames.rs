//! Pure: frames of RFC 6455 as a server writes and reads them.
//!
//! **Invariant.** A reader holds memory only for a frame or message that has begun, and never more
//! than came of it; what is longer than [`FRAME_BYTES_MAX`] is refused by its head.

use bytes::{BufMut, Bytes, BytesMut};
use fastwebsockets::unmask;

use crate::problem::CloseCode;
use crate::protocol::FRAME_BYTES_MAX;

/// Opcode of the further parts of a message.
const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
const BINARY: u8 = 0x2;
/// Opcode of a close frame.
const CLOSE: u8 = 0x8;
/// Opcode of a ping.
const PING: u8 = 0x9;
/// Opcode of a pong.
const PONG: u8 = 0xA;
/// Longest payload of a close, ping or pong.
const CONTROL_BYTES_MAX: usize = 125;
/// Bytes of the key by which a client masks.
const KEY_BYTES: usize = 4;

fn encode(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        frame.put_u8(short);
    } else if let Ok(middle) = u16::try_from(payload.len()) {
        frame.put_u8(126);
        frame.put_u16(middle);
    } else {
        frame.put_u8(127);
        frame.put_u64(u64::try_from(payload.len()).unwrap_or(u64::MAX));
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// A text frame with this payload.
pub(super) fn text(payload: &[u8]) -> Bytes {
    encode(TEXT, payload)
}

/// A ping with this payload.
pub(super) fn ping(payload: &[u8]) -> Bytes {
    encode(PING, payload)
}

/// A pong with this payload.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    encode(PONG, payload)
}

/// A Close frame with a code of ours.
pub(super) fn close(code: CloseCode) -> Bytes {
    let (number, reason) = code.parts();
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    encode(CLOSE, &payload)
}

/// A Close frame that answers the client's, with their code if they gave one.
pub(super) fn close_answer(code: Option<u16>) -> Bytes {
    encode(
        CLOSE,
        code.map(u16::to_be_bytes)
            .as_ref()
            .map_or(&[], |code| code.as_slice()),
    )
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A whole text message: UTF-8.
    Text(Bytes),
    /// A part of a message, which is kept until its last one.
    Part,
    /// A ping with this payload.
    Ping(Vec<u8>),
    /// A pong with this payload.
    Pong(Vec<u8>),
    /// A close, with the code that answers it.
    Close(Option<u16>),
}

/// What has come from a client of the frame and of the message that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    frame: Vec<u8>,
    message: Option<Vec<u8>>,
}

/// What the first bytes of a frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    is_last: bool,
    opcode: u8,
    key: [u8; KEY_BYTES],
    /// Where the payload begins.
    at: usize,
    payload: usize,
}

impl Reader {
    /// The next frame of what was read, which is cut off from `input`; none when the rest of it has
    /// not come yet, and was taken over.
    ///
    /// # Errors
    /// The code with which the socket is to be closed. Nothing may be read after that.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Heard>, CloseCode> {
        if self.frame.is_empty() {
            let head = self.head(input)?;
            if let Some(head) = head.filter(|head| input.len() >= head.at + head.payload) {
                let (frame, rest) = input.split_at(head.at + head.payload);
                *input = rest;
                return self
                    .heard(head, frame.get(head.at..).unwrap_or_default().to_vec())
                    .map(Some);
            }
        }

        loop {
            let head = self.head(&self.frame)?;
            let wanted =
                head.map_or_else(|| head_bytes(&self.frame), |head| head.at + head.payload);
            let missing = wanted.saturating_sub(self.frame.len());
            if let (Some(head), 0) = (head, missing) {
                let mut payload = std::mem::take(&mut self.frame);
                payload.drain(..head.at);
                return self.heard(head, payload).map(Some);
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (more, rest) = input.split_at(missing.min(input.len()));
            self.frame.extend_from_slice(more);
            *input = rest;
        }
    }

    /// The head of a frame, when it is whole and the frame is one that may come now.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, CloseCode> {
        let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
            return Ok(None);
        };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0F);
        let is_control = opcode & 0x8 != 0;
        let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let is_bad_control =
            is_control && (!is_last || usize::from(second & 0x7F) > CONTROL_BYTES_MAX);
        if first & 0x70 != 0 || !is_known || is_bad_control {
            return Err(CloseCode::ProtocolError);
        }

        let at = head_bytes(bytes);
        let Some(head) = bytes.get(..at) else {
            return Ok(None);
        };

        let length = head
            .get(2..at.saturating_sub(if second & 0x80 == 0 { 0 } else { KEY_BYTES }))
            .unwrap_or_default();
        let payload = match second & 0x7F {
            short @ 0..=125 => u64::from(short),
            _ => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };

        let begun = self
            .message
            .as_ref()
            .filter(|_| !is_control)
            .map_or(0, Vec::len);
        let payload = usize::try_from(payload)
            .ok()
            .filter(|payload| *payload <= FRAME_BYTES_MAX.saturating_sub(begun));
        let Some(payload) = payload else {
            return Err(CloseCode::TooBig);
        };

        let Some(key) = (second & 0x80 != 0)
            .then(|| head.last_chunk().copied())
            .flatten()
        else {
            return Err(CloseCode::ProtocolError);
        };

        match (opcode, &self.message) {
            (BINARY, _) => Err(CloseCode::UnsupportedData),
            (TEXT, Some(_)) | (CONTINUATION, None) => Err(CloseCode::ProtocolError),
            _ => Ok(Some(Head {
                is_last,
                opcode,
                key,
                at,
                payload,
            })),
        }
    }

    fn heard(&mut self, head: Head, mut payload: Vec<u8>) -> Result<Heard, CloseCode> {
        unmask(&mut payload, head.key);
        match head.opcode {
            PING => return Ok(Heard::Ping(payload)),
            PONG => return Ok(Heard::Pong(payload)),
            CLOSE => return closed_by(&payload).map(Heard::Close),
            _ => {}
        }

        let whole = match self.message.take() {
            None => payload,
            Some(mut begun) => {
                begun.extend_from_slice(&payload);
                begun
            }
        };
        if !head.is_last {
            self.message = Some(whole);
            return Ok(Heard::Part);
        }

        match std::str::from_utf8(&whole) {
            Ok(_) => Ok(Heard::Text(Bytes::from(whole))),
            Err(_) => Err(CloseCode::ProtocolError),
        }
    }
}

/// Bytes of the head of which these are the first, as far as they tell.
fn head_bytes(begun: &[u8]) -> usize {
    let Some(second) = begun.get(1) else { return 2 };
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { KEY_BYTES }
}

/// The code that answers a client's Close: the same, if it may be sent.
fn closed_by(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            let is_good = is_allowed && std::str::from_utf8(reason).is_ok();
            is_good
                .then_some(Some(code))
                .ok_or(CloseCode::ProtocolError)
        }
        [_] => Err(CloseCode::ProtocolError),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [7, 1, 200, 90];

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = encode(0, payload).to_vec();
        let head = frame.len() - payload.len();
        frame[0] = first;
        frame[1] |= 0x80;
        let mut hidden = payload.to_vec();
        unmask(&mut hidden, KEY);
        frame.truncate(head);
        frame.extend_from_slice(&KEY);
        frame.extend_from_slice(&hidden);
        frame
    }

    /// What is heard of these bytes when they come in parts of that many.
    fn read(bytes: &[u8], at_once: usize) -> (Vec<Heard>, Option<CloseCode>) {
        let (mut reader, mut heard) = (Reader::default(), Vec::new());
        for mut part in bytes.chunks(at_once) {
            loop {
                match reader.next(&mut part) {
                    Ok(Some(frame)) => heard.push(frame),
                    Ok(None) => break,
                    Err(code) => return (heard, Some(code)),
                }
            }
            assert!(part.is_empty(), "what was read is taken over");
        }
        (heard, None)
    }

    fn refused(bytes: &[u8]) -> Option<CloseCode> {
        let codes: Vec<_> = [1, 3, bytes.len()]
            .map(|at_once| read(bytes, at_once).1)
            .to_vec();
        assert!(
            codes.iter().all(|code| *code == codes[0]),
            "however it comes: {codes:?}"
        );
        codes[0]
    }

    #[test]
    fn frames_have_the_shortest_header() {
        assert_eq!(&text(b"hi")[..], b"\x81\x02hi");
        assert_eq!(&text(&[b'x'; 126])[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(&text(&[b'x'; 65_536])[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(&close(CloseCode::Unauthorized)[..4], b"\x88\x0e\x11\x31");
        assert_eq!(&close_answer(None)[..], b"\x88\0");
        assert_eq!(&close_answer(Some(1000))[..], b"\x88\x02\x03\xe8");
    }

    #[test]
    fn a_message_in_parts_is_put_together_and_control_frames_come_between() {
        let mut bytes = masked(TEXT, b"{\"t\":");
        bytes.extend(masked(0x80 | PING, b"between"));
        bytes.extend(masked(CONTINUATION, b""));
        bytes.extend(masked(0x80 | CONTINUATION, b"\"ping\"}"));
        bytes.extend(masked(0x80 | CLOSE, b"\x0f\xa0bye"));
        let whole = Heard::Text(Bytes::from_static(b"{\"t\":\"ping\"}"));
        let expected = [
            Heard::Part,
            Heard::Ping(b"between".to_vec()),
            Heard::Part,
            whole,
            Heard::Close(Some(4000)),
        ];
        assert_eq!(read(&bytes, bytes.len()), (expected.to_vec(), None));
    }

    #[test]
    fn what_breaks_the_protocol_is_refused_with_its_code() {
        let broken = Some(CloseCode::ProtocolError);
        assert_eq!(refused(b"\x81\x02{}"), broken, "unmasked");
        assert_eq!(refused(&masked(0x80 | TEXT, b"\xff")), broken, "not UTF-8");
        assert_eq!(
            refused(&masked(0xC0 | TEXT, b"x")),
            broken,
            "a reserved bit"
        );
        assert_eq!(
            refused(&masked(0x80 | 0x3, b"x")),
            broken,
            "an opcode that is none"
        );

        assert_eq!(
            refused(&masked(0x80 | 0xB, b"x")),
            broken,
            "a control opcode that is none"
        );
        assert_eq!(
            refused(&masked(PING, b"x")),
            broken,
            "a control frame in parts"
        );

        assert_eq!(
            refused(&masked(0x80 | PING, &[0; 126])),
            broken,
            "a control frame that is too long"
        );
        assert_eq!(
            refused(&masked(0x80 | CONTINUATION, b"x")),
            broken,
            "the end of what never began"
        );
        assert_eq!(
            refused(&[masked(TEXT, b"x"), masked(0x80 | TEXT, b"y")].concat()),
            broken,
            "two at once"
        );

        for close in [
            &b"\x03"[..],
            b"\x03\xec",
            b"\x03\xee",
            b"\0\0",
            b"\x03\xe8\xff",
            b"\xff\xff",
        ] {
            assert_eq!(
                refused(&masked(0x80 | CLOSE, close)),
                broken,
                "a close that may not be sent: {close:?}"
            );
        }

        assert_eq!(
            refused(&masked(0x80 | BINARY, b"x")),
            Some(CloseCode::UnsupportedData)
        );
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_has_come() {
        let longest = masked(0x80 | TEXT, &vec![b'x'; FRAME_BYTES_MAX]);
        assert_eq!(read(&longest, 4_096).0.len(), 1);

        let too_long = masked(0x80 | TEXT, &vec![b'x'; FRAME_BYTES_MAX + 1]);
        assert_eq!(refused(&too_long[..14]), Some(CloseCode::TooBig));

        let huge = [&[0x81, 0xFF][..], &[0xFF; 8], &KEY].concat();
        assert_eq!(refused(&huge), Some(CloseCode::TooBig));

        let parts = [
            masked(TEXT, &vec![b'x'; 60_000]),
            masked(CONTINUATION, &vec![b'x'; 60_000]),
        ]
        .concat();
        let third = masked(CONTINUATION, &vec![b'x'; 60_000]);

        assert_eq!(
            refused(&[&parts[..], &third[..14]].concat()),
            Some(CloseCode::TooBig),
            "parts count together"
        );
    }

    #[test]
    fn a_reader_between_two_frames_holds_no_memory() {
        let mut reader = Reader::default();
        let frame = masked(0x80 | TEXT, &[b'x'; 5_000]);
        let (mut first, mut second) = frame.split_at(2_000);
        assert_eq!(reader.next(&mut first), Ok(None));
        assert!(!reader.frame.is_empty());
        assert!(
            matches!(reader.next(&mut second), Ok(Some(Heard::Text(text))) if text.len() == 5_000)
        );
        assert!(reader.message.is_none() && reader.frame.capacity() == 0);
    }

    proptest! {
        #[test]
        fn bytes_are_understood_alike_however_they_come(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 1..6),
            at_once in 1_usize..64,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
            prop_assert_eq!(read(&bytes, at_once), read(&bytes, bytes.len()));
        }

        #[test]
        fn rubbish_is_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _outcome = read(&bytes, 7);
        }
    }
}
