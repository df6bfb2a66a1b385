//! How things are spelled in Redis: the names of keys, tokens and tails as strings, and the control
//! record as a hash.

use redis::Value;

use crate::ids::{ClusterId, Epoch, NodeId, Offset, ShardId};
use crate::log::record::{Chain, Tail};
use crate::log::{Control, Identity, LogError, PerStream, Stream, Token};

/// Hash slots of Redis Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The keys of one shard; one hash tag, so one slot.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    control: String,
    streams: PerStream<String>,
    slot: u16,
}

impl Keys {
    pub(super) fn of(prefix: &str, shard: ShardId) -> Self {
        let tag = format!("{prefix}:{shard}");
        Self {
            control: format!("{{{tag}}}:ctl"),
            streams: PerStream::from_fn(|stream| format!("{{{tag}}}:{}", stream.as_str())),
            slot: slot(tag.as_bytes()),
        }
    }

    pub(super) fn control(&self) -> &str {
        &self.control
    }

    pub(super) fn stream(&self, stream: Stream) -> &str {
        &self.streams[stream]
    }

    /// The slot of Redis Cluster that holds them.
    pub(super) fn slot(&self) -> u16 {
        self.slot
    }
}

/// The slot of any key: of its hash tag, where it has one.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag);
    slot(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes())
}

/// CRC16 (XMODEM) of a hash tag, modulo the number of slots.
fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    crc % SLOTS
}

pub(super) fn token_text(token: Token) -> String {
    format!("{}:{:016x}", token.epoch.0, token.nonce)
}

/// The empty text, of a shard without control record, is no one's token, of epoch 0.
pub(super) fn token_of(text: &[u8]) -> Option<Token> {
    if text.is_empty() {
        return Some(Token {
            epoch: Epoch(0),
            nonce: 0,
        });
    }
    let (epoch, nonce) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Token {
        epoch: Epoch(epoch.parse().ok()?),
        nonce: u64::from_str_radix(nonce, 16).ok()?,
    })
}

pub(super) fn tail_text(tail: &Tail) -> String {
    format!("{}:{:?}", tail.offset.0, tail.chain)
}

pub(super) fn tail_of(text: &[u8]) -> Option<Tail> {
    let (offset, chain) = std::str::from_utf8(text).ok()?.split_once(':')?;
    if chain.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(chain.get(at..at + 2)?, 16).ok()?;
    }
    Some(Tail {
        offset: Offset(offset.parse().ok()?),
        chain: Chain(bytes),
    })
}

/// Id of the entry that ends at this offset.
pub(super) fn entry_id(last: Offset) -> String {
    format!("{}-0", last.0)
}

pub(super) fn offset_of(id: &[u8]) -> Option<Offset> {
    let (offset, zero) = std::str::from_utf8(id).ok()?.split_once('-')?;
    (zero == "0").then_some(Offset(offset.parse().ok()?))
}

/// Reads the answer to HGETALL; `None` when there is no control record.
pub(super) fn control_of(value: Value) -> Result<Option<Control>, LogError> {
    let malformed =
        |what: &str| LogError::Malformed(format!("the control record is malformed: {what}"));
    let fields: std::collections::HashMap<String, Vec<u8>> =
        redis::from_redis_value(value).map_err(|error| malformed(&error.to_string()))?;
    if fields.is_empty() {
        return Ok(None);
    }

    let field = |name: &str| {
        fields
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| malformed(name))
    };
    let text = |name: &str| {
        field(name)
            .and_then(|bytes| std::str::from_utf8(bytes).map_err(|_malformed| malformed(name)))
    };
    let tail = |stream: Stream| {
        field(stream.as_str())
            .and_then(|bytes| tail_of(bytes).ok_or_else(|| malformed(stream.as_str())))
    };

    let cluster = text("cluster")?
        .parse()
        .map_err(|_malformed| malformed("cluster"))?;
    let identity = Identity {
        cluster: ClusterId(cluster),
        shards: text("shards")?
            .parse()
            .map_err(|_malformed| malformed("shards"))?,
    };

    Ok(Some(Control {
        identity,
        token: token_of(field("token")?).ok_or_else(|| malformed("token"))?,
        owner: NodeId::from(text("owner")?),
        beat: text("beat")?
            .parse()
            .map_err(|_malformed| malformed("beat"))?,
        tails: PerStream {
            messages: tail(Stream::Messages)?,
            receipts: tail(Stream::Receipts)?,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_the_one_of_redis_cluster() {
        // The check value of CRC16/XMODEM, and what CLUSTER KEYSLOT answers.
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(Keys::of("rk", ShardId(12)).slot(), slot(b"rk:s12"));
    }

    #[test]
    fn keys_are_spelled_with_one_hash_tag() {
        let keys = Keys::of("rk", ShardId(12));
        assert_eq!(keys.control(), "{rk:s12}:ctl");
        assert_eq!(keys.stream(Stream::Messages), "{rk:s12}:messages");
        assert_eq!(keys.stream(Stream::Receipts), "{rk:s12}:receipts");
    }

    #[test]
    fn tokens_and_tails_come_back_as_they_were() {
        let token = Token {
            epoch: Epoch(7),
            nonce: 0xab,
        };

        assert_eq!(token_text(token), "7:00000000000000ab");
        assert_eq!(token_of(token_text(token).as_bytes()), Some(token));
        assert_eq!(
            token_of(b""),
            Some(Token {
                epoch: Epoch(0),
                nonce: 0
            })
        );

        let mut tail = Tail {
            offset: Offset(u64::MAX),
            ..Tail::EMPTY
        };
        tail.chain.0[15] = 0x1f;

        assert_eq!(
            tail_text(&tail),
            format!("{}:{}1f", u64::MAX, "0".repeat(30))
        );
        assert_eq!(tail_of(tail_text(&tail).as_bytes()), Some(tail));

        for broken in [&b"7"[..], b"x:00", b":", b"1:zz", b"\xff:1"] {
            assert_eq!(
                (token_of(broken), tail_of(broken)),
                (None, None),
                "{broken:?}"
            );
        }

        assert_eq!(
            (offset_of(b"42-0"), offset_of(b"42-1"), offset_of(b"x")),
            (Some(Offset(42)), None, None)
        );
    }
}
