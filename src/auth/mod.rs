//! Token in, identity out. Knows JSON Web Tokens and keys, not HTTP.
//!
//! - A key takes one algorithm: the secret takes HS256, a key of the JWKS the one of its type. What
//!   the token's header says only chooses among them, so a public key never serves as a secret and
//!   `none` is nothing.
//! - Times are compared with [`Clock`], never with the system's clock behind its back.
//! - A remembered token is good no longer than its `exp`, and forgotten when the keys change.
//! - Nothing here logs or prints a token or a secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::auth::keys::{JwksFile, KeySet};
use crate::clock::Clock;
use crate::ids::UserId;

/// Clock differences tolerated in `exp` and `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Shortest shared secret, in bytes: as long as the hash of HS256.
pub const SECRET_BYTES_MIN: usize = 32;

/// Longest token looked at, in bytes; a longer one is refused.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Which tokens are good.
#[derive(Clone, Default)]
pub struct Config {
    /// Shared secret of HS256 (at least 32 bytes), if that is accepted.
    pub hs256_secret: Option<String>,
    /// JWKS file with the public keys of RS256, ES256 and `EdDSA`; re-read when it changes.
    pub jwks: Option<PathBuf>,
    /// Required `iss`, if any.
    pub issuer: Option<String>,
    /// Required `aud`, if any.
    pub audience: Option<String>,
    /// The claim that names the user.
    pub user_claim: UserClaim,
    /// Verified tokens remembered; the least recently used are forgotten first.
    pub cache_max: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field(
                "hs256_secret",
                &self.hs256_secret.as_ref().map(|_| "hidden"),
            )
            .field("jwks", &self.jwks)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("user_claim", &self.user_claim)
            .field("cache_max", &self.cache_max)
            .finish()
    }
}

/// The claim of a token that names the user; `sub` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaim(Arc<str>);

impl UserClaim {
    /// The claim of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The user that a set of claims names.
    ///
    /// # Errors
    /// [`Refused`], with what is wrong: there is no such claim, or it holds what is no user id.
    fn user(&self, claims: &Map<String, Value>) -> Result<UserId, Refused> {
        let named = claims.get(&*self.0).and_then(Value::as_str);
        let named = named
            .ok_or_else(|| Refused(format!("the token has no {} that is a string", self.0)))?;
        UserId::parse(named).map_err(|wrong| {
            Refused(format!(
                "the {} of the token is no user id: {wrong}",
                self.0
            ))
        })
    }
}

impl Default for UserClaim {
    fn default() -> Self {
        Self::new("sub")
    }
}

/// What a good token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user that it names.
    pub user: UserId,
    /// Its `exp`, unix seconds, without leeway.
    pub expires: u64,
}

/// Why a token is refused; the text is for the client and holds nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    fn because(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    secret: Option<DecodingKey>,
    jwks: Option<JwksFile>,
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: UserClaim,
    clock: Clock,
    /// By the SHA-256 of the token, so that memory holds no token.
    verified: Cache<[u8; 32], Verified>,
}

#[derive(Clone)]
struct Verified {
    identity: Identity,
    /// Of the keys by which it was verified.
    generation: u64,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("hs256", &self.inner.secret.is_some())
            .field("jwks", &self.inner.jwks.as_ref().map(|file| &file.path))
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// One clear line: no key at all, a secret too short, a JWKS file that cannot be read.
    pub fn new(config: Config, clock: Clock) -> Result<Self, String> {
        if config.hs256_secret.is_none() && config.jwks.is_none() {
            return Err(
                "no key to verify tokens with: set a shared secret for HS256 or a JWKS file"
                    .to_owned(),
            );
        }
        let secret = config
            .hs256_secret
            .as_deref()
            .map(checked_secret)
            .transpose()?;
        let jwks = config
            .jwks
            .map(|path| JwksFile::open(path, clock.now_ms()))
            .transpose()?;
        let inner = Inner {
            secret: secret.map(DecodingKey::from_secret),
            jwks,
            issuer: config.issuer,
            audience: config.audience,
            user_claim: config.user_claim,
            clock,
            verified: Cache::new(config.cache_max.max(1)),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Verifies signature, algorithm, `exp`, `nbf`, and `iss`/`aud` where configured. Answers from
    /// the cache when it can.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, token: &str) -> Result<Identity, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::because("the token is too long"));
        }
        let now_ms = self.inner.clock.now_ms();
        let keys = self.inner.jwks.as_ref().map(|file| file.current(now_ms));
        let generation = keys.as_ref().map_or(0, |keys| keys.generation);
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.inner.verified.get(&digest)
            && known.generation == generation
        {
            check_expiry(known.identity.expires, now_ms)?;
            return Ok(known.identity);
        }
        let claims = self.inner.verify_signature(token, keys.as_deref())?;
        let identity = self.inner.check_claims(&claims, now_ms)?;
        self.inner.verified.insert(
            digest,
            Verified {
                identity: identity.clone(),
                generation,
            },
        );
        Ok(identity)
    }
}

impl Inner {
    fn verify_signature(&self, token: &str, keys: Option<&KeySet>) -> Result<Claims, Refused> {
        // The library's reasons tell nothing that helps an honest client, and may quote the token.
        let malformed =
            |_| Refused::because("the token is malformed or its algorithm is not accepted");
        let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(Refused::because(
                "the token needs extensions that are not supported",
            ));
        }
        if header.alg == Algorithm::HS256 {
            let secret = self
                .secret
                .as_ref()
                .ok_or_else(|| Refused::because("HS256 is not accepted"))?;
            return decode(token, secret, Algorithm::HS256).ok_or_else(bad_signature);
        }
        let mut fitting = keys
            .iter()
            .flat_map(|keys| keys.fitting(header.alg, header.kid.as_deref()))
            .peekable();
        if fitting.peek().is_none() {
            return Err(Refused::because(
                "no key fits the algorithm and key id of the token",
            ));
        }
        fitting
            .find_map(|key| decode(token, &key.key, key.algorithm))
            .ok_or_else(bad_signature)
    }

    fn check_claims(&self, claims: &Claims, now_ms: u64) -> Result<Identity, Refused> {
        let expires = claims.exp.as_ref().and_then(NumericDate::seconds);
        let expires = expires.ok_or_else(|| Refused::because("the token has no usable exp"))?;
        check_expiry(expires, now_ms)?;
        if let Some(not_before) = &claims.nbf {
            let seconds = not_before
                .seconds()
                .ok_or_else(|| Refused::because("the token has no usable nbf"))?;
            if seconds.saturating_mul(1_000) > now_ms.saturating_add(leeway_ms()) {
                return Err(Refused::because("the token is not valid yet"));
            }
        }
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(Refused::because("the token is from another issuer"));
        }
        if let Some(audience) = &self.audience
            && !claims.aud.as_ref().is_some_and(|aud| aud.names(audience))
        {
            return Err(Refused::because("the token is for another audience"));
        }
        let user = self.user_claim.user(&claims.others)?;
        Ok(Identity { user, expires })
    }
}

/// The user that a token claims to be of, unverified: good enough to choose a node, for nothing
/// else.
///
/// # Errors
/// [`Refused`]: it is no token, or names no user.
pub fn claimed_user(token: &str, claim: &UserClaim) -> Result<UserId, Refused> {
    let claims =
        unverified_claims(token).ok_or_else(|| Refused::because("the token is malformed"))?;
    claim.user(&claims)
}

fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Makes an HS256 token.
///
/// # Errors
/// When the secret cannot be used.
pub fn issue(
    secret: &str,
    user: &UserId,
    lifetime: Duration,
    clock: &Clock,
) -> Result<String, String> {
    #[derive(Serialize)]
    struct Issued<'a> {
        sub: &'a str,
        iat: u64,
        exp: u64,
    }
    let key = EncodingKey::from_secret(checked_secret(secret)?);
    let now = clock.now_ms() / 1_000;
    let claims = Issued {
        sub: user.as_str(),
        iat: now,
        exp: now.saturating_add(lifetime.as_secs()),
    };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iss: Option<String>,
    aud: Option<Audience>,
    /// Among them the one that names the user.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Seconds since 1970, possibly with a fraction (RFC 7519).
#[derive(Deserialize)]
struct NumericDate(serde_json::Number);

impl NumericDate {
    fn seconds(&self) -> Option<u64> {
        if let Some(whole) = self.0.as_u64() {
            return Some(whole);
        }
        let fractional = self
            .0
            .as_f64()
            .filter(|seconds| (0.0..9e15).contains(seconds))?;
        Some(Duration::from_secs_f64(fractional).as_secs())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// The claims, if the signature is good; the claims themselves are checked by us.
fn decode(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Claims> {
    let mut signature_only = Validation::new(algorithm);
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    signature_only.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &signature_only)
        .ok()
        .map(|decoded| decoded.claims)
}

fn bad_signature() -> Refused {
    Refused::because("the signature or a claim of the token is not good")
}

fn leeway_ms() -> u64 {
    LEEWAY.as_secs() * 1_000
}

fn check_expiry(expires: u64, now_ms: u64) -> Result<(), Refused> {
    let good_until_ms = expires.saturating_mul(1_000).saturating_add(leeway_ms());
    if now_ms < good_until_ms {
        Ok(())
    } else {
        Err(Refused::because("the token has expired"))
    }
}

fn checked_secret(secret: &str) -> Result<&[u8], String> {
    if secret.len() >= SECRET_BYTES_MIN {
        Ok(secret.as_bytes())
    } else {
        Err(format!(
            "the shared secret of HS256 must have at least {SECRET_BYTES_MIN} bytes"
        ))
    }
}

mod keys;

#[cfg(test)]
mod tests;
