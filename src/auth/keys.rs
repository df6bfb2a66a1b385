//! The public keys of a JWKS file: read at start, again when its content changes, and kept when
//! what it then holds is not usable. A key takes the one algorithm of its type.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The file is looked at no more often than this.
const CHECK_EVERY_MS: u64 = 1_000;

/// Largest file that is read, in bytes; a larger one is refused.
const BYTES_MAX: u64 = 1024 * 1024;

/// The public keys of a JWKS file, as last read well.
pub(super) struct JwksFile {
    /// Where it lies.
    pub(super) path: PathBuf,
    keys: ArcSwap<KeySet>,
    watch: Mutex<Watch>,
}

struct Watch {
    checked_ms: u64,
    /// Of what was read last, usable or not; `None` when it could not be read.
    content: Option<ContentHash>,
}

/// By which a changed file is known. Its size and the time of its change do not decide: a key may
/// be replaced by one of the same length within one tick of the file system's clock, or by a file
/// that was made earlier.
type ContentHash = [u8; 32];

/// The keys of one state of the file.
pub(super) struct KeySet {
    /// Grows with each change, and so tells which verified tokens still count.
    pub(super) generation: u64,
    keys: Vec<PublicKey>,
}

/// One key, and what it is good for.
pub(super) struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that this key takes.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl JwksFile {
    /// Reads it.
    ///
    /// # Errors
    /// One clear line: it cannot be read, or holds no key that we accept.
    pub(super) fn open(path: PathBuf, now_ms: u64) -> Result<Self, String> {
        let bytes = read(&path).map_err(|error| unreadable(&path, &error))?;
        let keys = keys_in(&bytes).map_err(|error| unreadable(&path, &error))?;
        let watch = Mutex::new(Watch {
            checked_ms: now_ms,
            content: Some(hash_of(&bytes)),
        });
        Ok(Self {
            path,
            keys: ArcSwap::from_pointee(KeySet {
                generation: 1,
                keys,
            }),
            watch,
        })
    }

    /// The keys; looks first whether the file has changed, at most once a second. Whoever comes
    /// while another looks gets the keys of before.
    pub(super) fn current(&self, now_ms: u64) -> Arc<KeySet> {
        if let Ok(mut watch) = self.watch.try_lock()
            && now_ms.abs_diff(watch.checked_ms) >= CHECK_EVERY_MS
        {
            watch.checked_ms = now_ms;
            self.reread_if_changed(&mut watch);
        }
        self.keys.load_full()
    }

    fn reread_if_changed(&self, watch: &mut Watch) {
        let bytes = read(&self.path);
        let content = bytes.as_deref().ok().map(hash_of);
        if content == watch.content {
            return;
        }
        watch.content = content;

        match bytes.and_then(|bytes| keys_in(&bytes)) {
            Ok(keys) => {
                let generation = self.keys.load().generation + 1;
                tracing::info!(path = %self.path.display(), keys = keys.len(), "jwks file re-read");
                self.keys.store(Arc::new(KeySet { generation, keys }));
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "jwks file not usable, the keys of before are kept");
            }
        }
    }
}

impl KeySet {
    /// The keys that a token of this algorithm and `kid` may be signed with.
    pub(super) fn fitting(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &PublicKey> {
        self.keys
            .iter()
            .filter(move |key| key.algorithm == algorithm && key.answers_to(kid))
    }
}

impl PublicKey {
    /// None for a key that verifies nothing we accept.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            // A secret in a file of public keys is a mistake, and must not make HS256 accepted.
            _ => return None,
        };

        let for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
        let fits = jwk
            .common
            .key_algorithm
            .as_ref()
            .is_none_or(|given| *given == named);
        let key = (for_signatures && fits).then(|| DecodingKey::from_jwk(jwk).ok())??;

        Some(Self {
            kid: jwk.common.key_id.clone(),
            algorithm,
            key,
        })
    }

    /// Whether a token with this `kid` may be meant for this key; one without may be meant for any.
    fn answers_to(&self, kid: Option<&str>) -> bool {
        match (self.kid.as_deref(), kid) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        }
    }
}

fn unreadable(path: &Path, error: &str) -> String {
    format!("jwks file {}: {error}", path.display())
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    Sha256::digest(bytes).into()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > BYTES_MAX) {
        Err(format!("larger than {BYTES_MAX} bytes"))
    } else {
        Ok(bytes)
    }
}

fn keys_in(bytes: &[u8]) -> Result<Vec<PublicKey>, String> {
    #[derive(Deserialize)]
    struct File {
        keys: Vec<serde_json::Value>,
    }

    // Some editors put a byte order mark before the text.
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    // Key by key: one of a kind that we do not know must not take the others away.
    let known = file
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<_> = known.filter_map(|jwk| PublicKey::from_jwk(&jwk)).collect();

    if keys.is_empty() {
        Err("holds no public key for RS256, ES256 or EdDSA".to_owned())
    } else {
        Ok(keys)
    }
}
