//! How both ends of a link prove that they hold the cluster key without sending it. Each side
//! chooses a nonce; each answers with an HMAC-SHA256 over its end, both nonces, both ids, the
//! cluster id, the version and, from the version that knows routers, the role of the requester: the
//! proof of a node is none of a router. A proof seen on the wire is of no use again, because the
//! other side's next nonce differs; nor can it be sent back to its maker, because the ends differ.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ids::{ClusterId, NodeId};
use crate::link::{ROUTERS_SINCE, Role};

/// Shortest cluster key, in bytes.
pub const KEY_BYTES_MIN: usize = 32;

/// Length of a nonce and of a proof, in bytes.
pub(super) const PROOF_BYTES: usize = 32;

/// A random value that is used once.
pub(super) type Nonce = [u8; PROOF_BYTES];

/// The secret that all nodes of a cluster share. Printing it shows nothing.
#[derive(Clone)]
pub struct ClusterKey(Arc<[u8]>);

impl ClusterKey {
    /// Takes the key.
    ///
    /// # Errors
    /// One clear line when it is too short.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < KEY_BYTES_MIN {
            return Err(format!(
                "the cluster key has {} bytes; it needs at least {KEY_BYTES_MIN}",
                bytes.len()
            ));
        }
        Ok(Self(Arc::from(bytes)))
    }

    /// An HMAC-SHA256 by this key, for one purpose.
    #[must_use]
    pub fn tag(&self, purpose: &[u8], told: &[u8]) -> [u8; PROOF_BYTES] {
        self.mac(purpose, told)
            .map_or([0; PROOF_BYTES], |mac| mac.finalize().into_bytes().into())
    }

    /// True when `tag` is that of [`ClusterKey::tag`]. Takes the same time wherever it differs.
    #[must_use]
    pub fn is_tag(&self, purpose: &[u8], told: &[u8], tag: &[u8]) -> bool {
        self.mac(purpose, told)
            .is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    fn mac(&self, purpose: &[u8], told: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(purpose);
        mac.update(told);
        Some(mac)
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

/// Which end of the link proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The one that opened the link.
    Requester,
    /// The node that answers.
    Owner,
}

/// What both ends must agree on.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) version: u16,
    /// The role of the requester; the owner is a node.
    pub(super) role: Role,
    pub(super) cluster: ClusterId,
    pub(super) requester: NodeId,
    pub(super) owner: NodeId,
    pub(super) requester_nonce: Nonce,
    pub(super) owner_nonce: Nonce,
}

impl Terms {
    /// The proof of one end.
    pub(super) fn prove(&self, key: &ClusterKey, end: End) -> Option<Nonce> {
        let mac = self.mac(key, end)?;
        Some(mac.finalize().into_bytes().into())
    }

    /// True when `proof` is the proof of that end. Takes the same time wherever it differs.
    pub(super) fn holds(&self, key: &ClusterKey, end: End, proof: &[u8]) -> bool {
        self.mac(key, end)
            .is_some_and(|mac| mac.verify_slice(proof).is_ok())
    }

    fn mac(&self, key: &ClusterKey, end: End) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).ok()?;
        mac.update(match end {
            End::Requester => b"rookery link requester",
            End::Owner => b"rookery link owner....",
        });

        mac.update(&self.version.to_be_bytes());
        mac.update(self.cluster.0.as_bytes());
        for node in [&self.requester, &self.owner] {
            mac.update(
                &u64::try_from(node.0.len())
                    .unwrap_or(u64::MAX)
                    .to_be_bytes(),
            );
            mac.update(node.0.as_bytes());
        }

        if self.version >= ROUTERS_SINCE {
            mac.update(self.role.word().as_bytes());
        }
        mac.update(&self.requester_nonce);
        mac.update(&self.owner_nonce);
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            version: 4,
            role: Role::Node,
            cluster: ClusterId(uuid::Uuid::nil()),
            requester: NodeId::from("a"),
            owner: NodeId::from("b"),
            requester_nonce: [1; 32],
            owner_nonce: [2; 32],
        }
    }

    #[test]
    fn a_proof_holds_for_its_own_terms_and_end_only() {
        let key = ClusterKey::new(&[7; 32]).expect("long enough");
        let proof = terms().prove(&key, End::Requester).expect("a proof");
        assert!(terms().holds(&key, End::Requester, &proof));
        assert!(!terms().holds(&key, End::Owner, &proof));
        assert!(!terms().holds(
            &ClusterKey::new(&[8; 32]).expect("long enough"),
            End::Requester,
            &proof
        ));

        let changed = [
            Terms {
                version: 5,
                ..terms()
            },
            Terms {
                version: 3,
                ..terms()
            },
            Terms {
                role: Role::Router,
                ..terms()
            },
            Terms {
                cluster: ClusterId(uuid::Uuid::max()),
                ..terms()
            },
            Terms {
                requester: NodeId::from("ab"),
                owner: NodeId::from(""),
                ..terms()
            },
            Terms {
                owner: NodeId::from("c"),
                ..terms()
            },
            Terms {
                requester_nonce: [3; 32],
                ..terms()
            },
            Terms {
                owner_nonce: [3; 32],
                ..terms()
            },
        ];

        for other in changed {
            assert!(!other.holds(&key, End::Requester, &proof), "{other:?}");
        }

        assert!(!terms().holds(&key, End::Requester, &[]));
    }

    #[test]
    fn a_key_is_long_and_never_printed() {
        assert!(ClusterKey::new(&[b'k'; 31]).is_err());
        let key = ClusterKey::new(&[b'k'; 32]).expect("long enough");
        assert!(!format!("{key:?}").contains("kk"));
    }
}
