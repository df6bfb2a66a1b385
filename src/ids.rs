//! Identifiers and numbers, each a type of its own: an offset, a seq and an epoch are all `u64`,
//! and the compiler should catch the swap. Nothing here knows where a thing lives; see
//! `cluster::map` for that.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest user id or conversation name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// What the name of a conversation may consist of beside ASCII letters and digits. The hyphen is
/// last, so that it is no range in a pattern.
pub const NAME_SIGNS: &str = "._@:-";

/// The same for the id of a user. Identity providers make subjects such as `auth0|5f7c` and
/// `google-oauth2|1`, and some use addresses with a plus sign.
pub const USER_SIGNS: &str = "._@:|+-";

/// What is no name although it keeps to the alphabet: paths would be read as something else.
pub const NAMES_RESERVED: [&str; 2] = [".", ".."];

/// Why a string is no name: shown to clients as `invalid_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It is no name of a conversation.
    #[error(
        "the name of a conversation is 1 to 128 bytes of A-Z a-z 0-9 . _ @ : - and not '.' or '..'"
    )]
    Conversation,
    /// It is no id of a user.
    #[error("the id of a user is 1 to 128 bytes of A-Z a-z 0-9 . _ @ : | + - and not '.' or '..'")]
    User,
}

fn is_name(name: &str, signs: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || signs.as_bytes().contains(&b);
    let length_ok = (1..=NAME_BYTES_MAX).contains(&name.len());
    let is_reserved = NAMES_RESERVED.contains(&name);
    length_ok && !is_reserved && name.bytes().all(allowed)
}

/// The same rules, as OpenAPI tells them.
fn name_schema(what: &str, signs: &str) -> Schema {
    json_schema!({
        "description": what,
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_BYTES_MAX,
        "pattern": format!("^[A-Za-z0-9{signs}]+$"),
        "not": {"enum": NAMES_RESERVED},
    })
}

macro_rules! name_type {
    ($what:literal $name:ident, $signs:ident, $wrong:ident) => {
        #[doc = $what]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the rules for names and takes a copy.
            ///
            /// # Errors
            /// [`InvalidName`] when the text breaks a rule.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                if is_name(text, $signs) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidName::$wrong)
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Where this name hashes to.
            #[must_use]
            pub fn slot(&self) -> Slot {
                Slot::of(self.0.as_bytes())
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                name_schema($what, $signs)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!("A user: the `sub` of a token, and the name of a participant." UserId, USER_SIGNS, User);
name_type!("The name of a conversation; its only identity." ConversationName, NAME_SIGNS, Conversation);

/// One of the 65,536 places names hash to. Fixed for ever: stored conversations are found by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

impl Slot {
    /// FNV-1a over the bytes (64 bit, offset basis `cbf29ce484222325`, prime `100000001b3`), then
    /// the 64-bit finalizer of MurmurHash3, then the top 16 bits. Spelled out here, and pinned by
    /// golden vectors, because a change would orphan everything stored.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        let [high, low, ..] = hash.to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number_type!(
    /// A shard of the cluster, `0 .. S`. Prints as `s12`.
    ShardId, u16, "s"
);
number_type!(
    /// Number of an ownership of a shard; grows by one with each new owner. 0 means never owned.
    /// Prints as `e7`.
    Epoch, u64, "e"
);
number_type!(
    /// Place of a record in one stream of a shard, from 1; 0 means before the first. Prints as
    /// `o42`.
    Offset, u64, "o"
);
number_type!(
    /// Number of a durable change in its conversation, dense from 1; 0 means before the first.
    /// Prints as the number.
    Seq, u64, ""
);

impl JsonSchema for Seq {
    fn schema_name() -> Cow<'static, str> {
        "Seq".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Number of a durable change in its conversation, dense from 1; 0 means before the first.",
            "type": "integer",
            "format": "int64",
            "minimum": 0,
        })
    }
}

/// A node of the cluster; in Kubernetes the name of its pod. Checked like a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Arc<str>);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for NodeId {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

/// Made when the cluster is created; kept in the log and in every SQLite file, so that files of one
/// cluster are never opened by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl ClusterId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One live WebSocket of one user.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Id of a message: a UUID version 8 that carries the slot of its conversation, so that a request
/// with nothing but the id finds its shard without a look-up, whatever the number of shards is.
///
/// Bits from the most significant: 0–47 unix milliseconds, 48–51 version (8), 52–63 the high 12
/// bits of the slot, 64–65 variant (binary 10), 66–69 the low 4 bits of the slot, 70–127 random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// Builds an id. Of `random` the low 58 bits are used, of `unix_ms` the low 48.
    #[must_use]
    pub fn new(unix_ms: u64, slot: Slot, random: u64) -> Self {
        let slot = u64::from(slot.0);
        let high = (unix_ms << 16) | (8 << 12) | (slot >> 4);
        let low = (0b10 << 62) | ((slot & 0xf) << 58) | (random & ((1 << 58) - 1));
        Self(Uuid::from_u64_pair(high, low))
    }

    /// Parses the hyphenated form; `None` for anything that is no id of ours (another version or
    /// variant).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        Self::from_uuid(Uuid::try_parse(text).ok()?)
    }

    /// Takes a UUID that is one of our ids.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        let ours = uuid.get_version_num() == 8 && uuid.get_variant() == uuid::Variant::RFC4122;
        ours.then_some(Self(uuid))
    }

    /// The 16 bytes, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the message was sent: the low 48 bits of the unix milliseconds that it was built with.
    #[must_use]
    pub fn sent_ms(&self) -> u64 {
        self.0.as_u64_pair().0 >> 16
    }

    /// The slot of the conversation that the message is in.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let (high, low) = self.0.as_u64_pair();
        let [.., b6, b7] = high.to_be_bytes();
        let high12 = u16::from_be_bytes([b6, b7]) & 0x0fff;
        let low4 = low.to_be_bytes()[0] >> 2 & 0xf;
        Slot(high12 << 4 | u16::from(low4))
    }
}

impl JsonSchema for MessageId {
    fn schema_name() -> Cow<'static, str> {
        "MessageId".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Id of a message: a UUID that carries its conversation's slot, so it routes by itself.",
            "type": "string",
            "format": "uuid",
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Names one write of one sender, so that a retry of it has no second effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The key: the client's bytes, or a UUID that the router stamped.
    pub key: Arc<str>,
    /// Stamped by the router, not chosen by the client: remembered for 60 s in memory, not for 24 h
    /// in SQLite.
    pub stamped: bool,
}

impl IdempotencyKey {
    /// A key chosen by a client; `None` unless it is 1 to 128 bytes of visible ASCII or spaces.
    #[must_use]
    pub fn from_client(key: &str) -> Option<Self> {
        let length_ok = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
        (length_ok && !key.bytes().any(|b| b.is_ascii_control())).then(|| Self {
            key: Arc::from(key),
            stamped: false,
        })
    }

    /// A key made by us for a request that had none.
    #[must_use]
    pub fn stamp() -> Self {
        Self {
            key: Arc::from(Uuid::now_v7().to_string()),
            stamped: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with a second implementation, in another language. Never change one: stored
    /// conversations are found by it.
    const GOLDEN_SLOTS: [(&[u8], u16); 7] = [
        (b"", 0xefd0),
        (b"a", 0x82a2),
        (b"alice", 0x3507),
        (b"bob", 0xf649),
        (b"general", 0x1cf2),
        (b"team.rookery@example:42-x", 0x98a2),
        (&[b'x'; 128], 0xf49a),
    ];

    #[test]
    fn the_slot_of_a_name_is_pinned_for_ever() {
        for (name, slot) in GOLDEN_SLOTS {
            assert_eq!(
                Slot::of(name),
                Slot(slot),
                "{}",
                String::from_utf8_lossy(name)
            );
        }
    }

    #[test]
    fn the_bits_of_a_message_id_are_pinned_for_ever() {
        let golden = [
            ((0, 0, 0), "00000000-0000-8000-8000-000000000000"),
            (
                (u64::MAX, 0xffff, u64::MAX),
                "ffffffff-ffff-8fff-bfff-ffffffffffff",
            ),
            (
                (1_732_270_000_000, 0x1cf2, 0),
                "01935356-8780-81cf-8800-000000000000",
            ),
            (
                (1_732_270_000_000, 0x000f, 1),
                "01935356-8780-8000-bc00-000000000001",
            ),
            (
                (1_732_270_000_000, 0xfff0, u64::MAX),
                "01935356-8780-8fff-83ff-ffffffffffff",
            ),
        ];
        for ((unix_ms, slot, random), text) in golden {
            assert_eq!(
                MessageId::new(unix_ms, Slot(slot), random).to_string(),
                text
            );
        }
    }

    #[test]
    fn a_message_id_is_pinned_and_carries_its_slot() {
        let id = MessageId::new(0x0123_4567_89ab, Slot(0xcdef), 0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-8cde-bd23-456789abcdef");
        assert_eq!(id.slot(), Slot(0xcdef));
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn every_slot_survives_the_way_through_an_id() {
        for slot in 0..=u16::MAX {
            assert_eq!(
                MessageId::new(u64::MAX, Slot(slot), u64::MAX).slot(),
                Slot(slot)
            );
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        assert_eq!(
            MessageId::parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            None
        );
        assert_eq!(MessageId::parse("0123456789ab8cdebd23456789abcdef"), None);
        assert_eq!(MessageId::parse("x"), None);
    }

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "A.b_c@d:e-9", "...", &"x".repeat(128)] {
            assert!(UserId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", "a\0", &"x".repeat(129)] {
            assert!(UserId::parse(bad).is_err(), "{bad}");
            assert!(ConversationName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects_of_identity_providers_are_user_ids_but_no_names_of_conversations() {
        for subject in [
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "google-oauth2|103547991597142817347",
            "a+b@example.org",
        ] {
            assert!(UserId::parse(subject).is_ok(), "{subject}");
            assert_eq!(
                ConversationName::parse(subject),
                Err(InvalidName::Conversation),
                "{subject}"
            );
        }
    }
}
