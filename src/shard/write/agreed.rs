//! What the nodes of a cluster have in common, as far as a shard goes by it: which records all of
//! them read, and a secret with which requests are hashed, so that what is kept of a deleted
//! message does not give its words to whoever tries some.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::ids::UserId;
use crate::log::record::{ANY_REQUEST, EDITS_SINCE, Fingerprint};
use crate::shard::command::{Edit, Patch, Send};

/// First bytes of what is hashed of requests that the first version did not know: no text begins
/// with them.
const SEND_WITH_MORE: u8 = 0xff;
const EDIT: u8 = 0xfe;

/// One for all shards of a node.
pub struct Agreed {
    records: AtomicU32,
    /// The hash with the secret in it, and nothing else yet.
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl Default for Agreed {
    /// Nothing is known of the other nodes yet.
    fn default() -> Self {
        Self::new([0; 32], 1)
    }
}

impl Agreed {
    /// With that secret; `records`: the version of records that every node reads.
    #[must_use]
    pub fn new(secret: [u8; 32], records: u32) -> Self {
        // A key shorter than a block is filled with zeros, as the standard has it.
        let block: [u8; 64] = std::array::from_fn(|at| secret.get(at).copied().unwrap_or_default());
        Self {
            records: AtomicU32::new(records),
            keyed: Hmac::new(&block.into()),
        }
    }

    /// From now on every node reads that version of records, or an earlier one at least.
    pub fn note_records(&self, version: u32) {
        self.records.store(version, Ordering::Relaxed);
    }

    /// Whether every node reads what that version brought.
    #[must_use]
    pub fn all_read(&self, version: u32) -> bool {
        self.records.load(Ordering::Relaxed) >= version
    }

    /// Of the known fields of a send, as they were sent.
    pub(in crate::shard) fn of_send<'a>(&'a self, send: &'a Send) -> Hashed<'a> {
        Hashed {
            agreed: self,
            request: Request::Send(send),
        }
    }

    /// Of those of an edit.
    pub(in crate::shard) fn of_edit<'a>(&'a self, edit: &'a Edit) -> Hashed<'a> {
        Hashed {
            agreed: self,
            request: Request::Edit(edit),
        }
    }
}

/// What is hashed.
enum Request<'a> {
    Send(&'a Send),
    Edit(&'a Edit),
}

impl Request<'_> {
    /// Gives all known fields to a hash. A send of text alone is what the first version made of it.
    fn give(&self, take: &mut impl FnMut(&[u8])) {
        match self {
            Self::Send(send) => {
                if send.has_more() {
                    take(&[SEND_WITH_MORE]);
                    give(take, Some(&send.text));
                    give(take, send.data.as_deref());
                    give_names(take, Some(&send.mentions));
                } else {
                    take(send.text.as_bytes());
                    take(&[0]);
                }
                take(send.reply_to.as_ref().map_or(&[0; 16], |id| id.as_bytes()));
            }
            Self::Edit(edit) => {
                take(&[EDIT]);
                take(edit.message_id.as_bytes());
                give(take, edit.text.as_deref());
                match &edit.data {
                    Patch::Keep => take(&[0]),
                    Patch::Set(data) => {
                        take(&[1]);
                        give(take, data.as_deref());
                    }
                }
                give_names(take, edit.mentions.as_deref());
            }
        }
    }
}

/// Gives a text with its length, or that there is none.
fn give(take: &mut impl FnMut(&[u8]), text: Option<&str>) {
    let length = text.map_or(u32::MAX, |text| {
        u32::try_from(text.len()).unwrap_or(u32::MAX)
    });
    take(&length.to_be_bytes());
    take(text.unwrap_or_default().as_bytes());
}

fn give_names(take: &mut impl FnMut(&[u8]), names: Option<&[UserId]>) {
    let count = names.map_or(u32::MAX, |names| {
        u32::try_from(names.len()).unwrap_or(u32::MAX)
    });
    take(&count.to_be_bytes());
    for name in names.unwrap_or_default() {
        give(take, Some(name.as_str()));
    }
}

/// The hash of a request: made once for what is written, and again only to compare with what was.
pub(in crate::shard) struct Hashed<'a> {
    agreed: &'a Agreed,
    request: Request<'a>,
}

impl Hashed<'_> {
    /// Whether the request is the one that this was written of.
    pub(in crate::shard) fn is(&self, written: Fingerprint) -> bool {
        written == self.keyed() || written == self.plain() || written == ANY_REQUEST
    }

    /// What is written of the request: what every node that may own the shard next recognises.
    pub(in crate::shard) fn to_write(&self) -> Fingerprint {
        if self.agreed.all_read(EDITS_SINCE) {
            self.keyed()
        } else {
            self.plain()
        }
    }

    fn keyed(&self) -> Fingerprint {
        let mut mac = self.agreed.keyed.clone();
        self.request.give(&mut |bytes| mac.update(bytes));
        first(mac.finalize().into_bytes().into())
    }

    /// As the first version of records has it.
    fn plain(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        self.request.give(&mut |bytes| hash.update(bytes));
        first(hash.finalize().into())
    }
}

fn first(digest: [u8; 32]) -> Fingerprint {
    *digest.first_chunk::<16>().unwrap_or(&[0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::shard::file::store::tests::{conversation, user};

    fn send(text: &str, more: bool) -> Send {
        let mentions = if more { vec![user("bob")] } else { Vec::new() };
        Send {
            mentions,
            ..Send::plain(conversation("c"), user("alice"), text)
        }
    }

    fn edit(
        text: Option<&str>,
        data: Patch<Option<std::sync::Arc<str>>>,
        mentions: Option<Vec<UserId>>,
    ) -> Edit {
        let message_id = MessageId::new(1, conversation("c").slot(), 2);
        Edit {
            message_id,
            by: user("alice"),
            text: text.map(Into::into),
            data,
            mentions,
            key: None,
            unless: Vec::new(),
        }
    }

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let agreed = Agreed::new([1; 32], EDITS_SINCE);
        let id = MessageId::new(1, conversation("c").slot(), 2);
        let sends = [
            send("a", false),
            send("b", false),
            Send {
                reply_to: Some(id),
                ..send("a", false)
            },
            send("a", true),
            Send {
                data: Some("{}".into()),
                ..send("a", false)
            },
        ];

        let edits = [
            edit(Some("a"), Patch::Keep, None),
            edit(Some("a"), Patch::Set(None), None),
            edit(Some("a"), Patch::Set(Some("{}".into())), None),
            edit(Some("a"), Patch::Keep, Some(Vec::new())),
            edit(None, Patch::Keep, Some(Vec::new())),
        ];

        let sends = sends.iter().map(|send| agreed.of_send(send));
        let all: Vec<_> = sends
            .chain(edits.iter().map(|edit| agreed.of_edit(edit)))
            .collect();
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one.is(other.to_write()), at == other_at, "{at} {other_at}");
            }
        }
    }

    #[test]
    fn what_is_written_is_recognised_by_the_version_before_until_every_node_is_newer() {
        let agreed = Agreed::new([1; 32], 1);
        let sent = send("hello", false);
        let before = agreed.of_send(&sent).to_write();
        let mut old = Sha256::new();
        old.update(b"hello\0");
        old.update([0; 16]);
        assert_eq!(before, old.finalize()[..16]);

        agreed.note_records(EDITS_SINCE);
        let after = agreed.of_send(&sent);
        assert_ne!(after.to_write(), before);
        assert!(after.is(before) && after.is(after.to_write()));

        let elsewhere = Agreed::new([2; 32], EDITS_SINCE);
        let elsewhere = elsewhere.of_send(&sent);
        assert_ne!(
            elsewhere.to_write(),
            after.to_write(),
            "the words alone do not tell it"
        );
        assert!(!elsewhere.is(after.to_write()) && elsewhere.is(ANY_REQUEST));
    }
}
