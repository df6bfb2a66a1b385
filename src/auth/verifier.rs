//! Whether a token is good: its signature, its times, and where it is from and for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::auth::claims::{Claims, NumericDate, TOKEN_BYTES_MAX, UserClaim, decode};
use crate::auth::identity::{Identity, Refused};
use crate::auth::keys::{JwksFile, KeySet};
use crate::auth::secret::checked_secret;
use crate::clock::Clock;

/// Clock differences tolerated in `exp` and `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(30);

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
    /// The generation of the keys by which it was verified.
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

    /// How many verified tokens are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.inner.verified.len()
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
