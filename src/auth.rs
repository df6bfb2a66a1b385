//! Token in, identity out. Knows JSON Web Tokens and keys, not HTTP.
//!
//! - A key takes one algorithm: the secret takes HS256, a key of the JWKS the one of its type. What the token's header
//!   says only chooses among them, so a public key never serves as a secret and `none` is nothing.
//! - Times are compared with [`Clock`], never with the system's clock behind its back.
//! - A remembered token is good no longer than its `exp`, and forgotten when the keys change.
//! - Nothing here logs or prints a token or a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::ids::UserId;

/// Clock differences tolerated in `exp` and `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Shortest shared secret, in bytes: as long as the hash of HS256.
pub const SECRET_BYTES_MIN: usize = 32;

/// Longest token looked at, in bytes; a longer one is refused.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The JWKS file is looked at no more often than this.
const JWKS_CHECK_EVERY_MS: u64 = 1_000;

/// Largest JWKS file that is read, in bytes; a larger one is refused.
const JWKS_BYTES_MAX: u64 = 1024 * 1024;

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
    /// Verified tokens remembered; the least recently used are forgotten first.
    pub cache_max: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("hs256_secret", &self.hs256_secret.as_ref().map(|_| "hidden"))
            .field("jwks", &self.jwks)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("cache_max", &self.cache_max)
            .finish()
    }
}

/// What a good token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its `sub`.
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
            return Err("no key to verify tokens with: set a shared secret for HS256 or a JWKS file".to_owned());
        }
        let secret = config.hs256_secret.as_deref().map(checked_secret).transpose()?;
        let jwks = config.jwks.map(|path| JwksFile::open(path, clock.now_ms())).transpose()?;
        let inner = Inner {
            secret: secret.map(DecodingKey::from_secret),
            jwks,
            issuer: config.issuer,
            audience: config.audience,
            clock,
            verified: Cache::new(config.cache_max.max(1)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Verifies signature, algorithm, `exp`, `nbf`, and `iss`/`aud` where configured. Answers from the cache when it can.
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
        self.inner.verified.insert(digest, Verified { identity: identity.clone(), generation });
        Ok(identity)
    }
}

impl Inner {
    fn verify_signature(&self, token: &str, keys: Option<&KeySet>) -> Result<Claims, Refused> {
        // The library's reasons tell nothing that helps an honest client, and may quote the token.
        let malformed = |_| Refused::because("the token is malformed or its algorithm is not accepted");
        let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
        if header.crit.is_some() {
            return Err(Refused::because("the token needs extensions that are not supported"));
        }
        if header.alg == Algorithm::HS256 {
            let secret = self.secret.as_ref().ok_or_else(|| Refused::because("HS256 is not accepted"))?;
            return decode(token, secret, Algorithm::HS256).ok_or_else(bad_signature);
        }
        let mut fitting = keys
            .iter()
            .flat_map(|keys| &keys.keys)
            .filter(|key| key.algorithm == header.alg && key.answers_to(header.kid.as_deref()))
            .peekable();
        if fitting.peek().is_none() {
            return Err(Refused::because("no key fits the algorithm and key id of the token"));
        }
        fitting.find_map(|key| decode(token, &key.key, key.algorithm)).ok_or_else(bad_signature)
    }

    fn check_claims(&self, claims: &Claims, now_ms: u64) -> Result<Identity, Refused> {
        let expires = claims.exp.as_ref().and_then(NumericDate::seconds);
        let expires = expires.ok_or_else(|| Refused::because("the token has no usable exp"))?;
        check_expiry(expires, now_ms)?;
        if let Some(not_before) = &claims.nbf {
            let seconds = not_before.seconds().ok_or_else(|| Refused::because("the token has no usable nbf"))?;
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
        let user = claims.sub.as_deref().and_then(|sub| UserId::parse(sub).ok());
        let user = user.ok_or_else(|| Refused::because("the sub of the token is no valid user name"))?;
        Ok(Identity { user, expires })
    }
}

/// The `sub` that a token claims, unverified: good enough to choose a node, for nothing else.
#[must_use]
pub fn claimed_subject(token: &str) -> Option<UserId> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let subject: Subject = serde_json::from_slice(&payload).ok()?;
    UserId::parse(&subject.sub).ok()
}

/// Makes an HS256 token.
///
/// # Errors
/// When the secret cannot be used.
pub fn issue(secret: &str, user: &UserId, lifetime: Duration, clock: &Clock) -> Result<String, String> {
    #[derive(Serialize)]
    struct Issued<'a> {
        sub: &'a str,
        iat: u64,
        exp: u64,
    }
    let key = EncodingKey::from_secret(checked_secret(secret)?);
    let now = clock.now_ms() / 1_000;
    let claims = Issued { sub: user.as_str(), iat: now, exp: now.saturating_add(lifetime.as_secs()) };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| error.to_string())
}

/// The public keys of a JWKS file, as last read well.
struct JwksFile {
    path: PathBuf,
    keys: ArcSwap<KeySet>,
    watch: Mutex<Watch>,
}

struct Watch {
    checked_ms: u64,
    stamp: Option<Stamp>,
}

/// By which a changed file is known: when it was modified, and its size.
type Stamp = (SystemTime, u64);

struct KeySet {
    /// Grows with each change, and so tells which verified tokens still count.
    generation: u64,
    keys: Vec<PublicKey>,
}

struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that this key takes.
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwksFile {
    fn open(path: PathBuf, now_ms: u64) -> Result<Self, String> {
        let stamp = stamp_of(&path).map_err(|error| unreadable(&path, &error))?;
        let keys = read_keys(&path).map_err(|error| unreadable(&path, &error))?;
        let watch = Mutex::new(Watch { checked_ms: now_ms, stamp: Some(stamp) });
        Ok(Self { path, keys: ArcSwap::from_pointee(KeySet { generation: 1, keys }), watch })
    }

    /// The keys; looks first whether the file has changed, at most once a second. Whoever comes while another looks
    /// gets the keys of before.
    fn current(&self, now_ms: u64) -> Arc<KeySet> {
        if let Ok(mut watch) = self.watch.try_lock()
            && now_ms.abs_diff(watch.checked_ms) >= JWKS_CHECK_EVERY_MS
        {
            watch.checked_ms = now_ms;
            self.reread_if_changed(&mut watch);
        }
        self.keys.load_full()
    }

    fn reread_if_changed(&self, watch: &mut Watch) {
        // Stamped before it is read: what is written meanwhile differs at the next look.
        let stamp = stamp_of(&self.path);
        let seen = stamp.as_ref().ok().copied();
        if seen == watch.stamp {
            return;
        }
        watch.stamp = seen;
        match stamp.and_then(|_| read_keys(&self.path)) {
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
        let fits = jwk.common.key_algorithm.as_ref().is_none_or(|given| *given == named);
        let key = (for_signatures && fits).then(|| DecodingKey::from_jwk(jwk).ok())??;
        Some(Self { kid: jwk.common.key_id.clone(), algorithm, key })
    }

    /// Whether a token with this `kid` may be meant for this key; one without may be meant for any.
    fn answers_to(&self, kid: Option<&str>) -> bool {
        match (self.kid.as_deref(), kid) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iss: Option<String>,
    aud: Option<Audience>,
}

/// Seconds since 1970, possibly with a fraction (RFC 7519).
#[derive(Deserialize)]
struct NumericDate(serde_json::Number);

impl NumericDate {
    fn seconds(&self) -> Option<u64> {
        if let Some(whole) = self.0.as_u64() {
            return Some(whole);
        }
        let fractional = self.0.as_f64().filter(|seconds| (0.0..9e15).contains(seconds))?;
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
    jsonwebtoken::decode::<Claims>(token, key, &signature_only).ok().map(|decoded| decoded.claims)
}

fn bad_signature() -> Refused {
    Refused::because("the signature or a claim of the token is not good")
}

fn leeway_ms() -> u64 {
    LEEWAY.as_secs() * 1_000
}

fn check_expiry(expires: u64, now_ms: u64) -> Result<(), Refused> {
    let good_until_ms = expires.saturating_mul(1_000).saturating_add(leeway_ms());
    if now_ms < good_until_ms { Ok(()) } else { Err(Refused::because("the token has expired")) }
}

fn checked_secret(secret: &str) -> Result<&[u8], String> {
    if secret.len() >= SECRET_BYTES_MIN {
        Ok(secret.as_bytes())
    } else {
        Err(format!("the shared secret of HS256 must have at least {SECRET_BYTES_MIN} bytes"))
    }
}

fn unreadable(path: &Path, error: &str) -> String {
    format!("jwks file {}: {error}", path.display())
}

fn stamp_of(path: &Path) -> Result<Stamp, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let modified = found.modified().map_err(|error| error.to_string())?;
    Ok((modified, found.len()))
}

fn read_keys(path: &Path) -> Result<Vec<PublicKey>, String> {
    #[derive(Deserialize)]
    struct File {
        keys: Vec<serde_json::Value>,
    }
    let (_, size) = stamp_of(path)?;
    if size > JWKS_BYTES_MAX {
        return Err(format!("larger than {JWKS_BYTES_MAX} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    // Key by key: one of a kind that we do not know must not take the others away.
    let known = file.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<_> = known.filter_map(|jwk| PublicKey::from_jwk(&jwk)).collect();
    if keys.is_empty() { Err("holds no public key for RS256, ES256 or EdDSA".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW_S: u64 = 1_800_000_000;
    const RSA: &str = include_str!("../tests/fixtures/keys/rsa-1.pem");
    const EC: &str = include_str!("../tests/fixtures/keys/ec-1.pem");
    const ED: [&str; 2] =
        [include_str!("../tests/fixtures/keys/ed-1.pem"), include_str!("../tests/fixtures/keys/ed-2.pem")];

    fn clock() -> Clock {
        Clock::manual(NOW_S * 1_000)
    }

    fn signing_key(algorithm: Algorithm, pem: &str) -> EncodingKey {
        let pem = pem.as_bytes();
        match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::PS256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => panic!("no such test key"),
        }
        .expect("a test key")
    }

    fn jwk(algorithm: Algorithm, pem: &str, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&signing_key(algorithm, pem), algorithm).expect("a public key");
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).expect("json")
    }

    fn signed(algorithm: Algorithm, pem: &str, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &signing_key(algorithm, pem)).expect("a token")
    }

    fn hs256(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
    }

    fn good() -> Value {
        json!({"sub": "bob", "exp": NOW_S + 60})
    }

    fn with_secret() -> Config {
        Config { hs256_secret: Some(SECRET.to_owned()), cache_max: 100, ..Config::default() }
    }

    fn refusal(verifier: &Verifier, claims: &Value) -> String {
        verifier.verify(&hs256(claims)).expect_err("refused").0
    }

    /// A JWKS file in a folder of its own.
    struct Jwks {
        folder: tempfile::TempDir,
        clock: Clock,
    }

    impl Jwks {
        fn new(keys: &[Value]) -> Self {
            let jwks = Self { folder: tempfile::tempdir().expect("a folder"), clock: clock() };
            jwks.write(keys);
            jwks
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("jwks.json")
        }

        fn write(&self, keys: &[Value]) {
            fs::write(self.path(), json!({ "keys": keys }).to_string()).expect("written");
        }

        fn verifier(&self) -> Verifier {
            let config = Config { jwks: Some(self.path()), cache_max: 100, ..Config::default() };
            Verifier::new(config, self.clock.clone()).expect("a verifier")
        }

        fn a_second_later(&self) {
            self.clock.set(self.clock.now_ms() + 1_000);
        }
    }

    #[test]
    fn an_issued_token_is_good_until_its_end_and_the_leeway() {
        let clock = clock();
        let verifier = Verifier::new(with_secret(), clock.clone()).expect("a verifier");
        let bob = UserId::parse("bob").expect("a name");
        let token = issue(SECRET, &bob, Duration::from_secs(60), &clock).expect("a token");
        let identity = Identity { user: bob, expires: NOW_S + 60 };
        assert_eq!(verifier.verify(&token), Ok(identity.clone()));
        clock.set((NOW_S + 90) * 1_000 - 1);
        assert_eq!(verifier.verify(&token), Ok(identity), "within the leeway");
        clock.set((NOW_S + 90) * 1_000);
        assert_eq!(verifier.verify(&token), Err(Refused::because("the token has expired")), "from the cache");
        let fresh = Verifier::new(with_secret(), clock).expect("a verifier");
        assert_eq!(fresh.verify(&token), Err(Refused::because("the token has expired")), "without the cache");
    }

    #[test]
    fn claims_are_checked() {
        let verifier = Verifier::new(with_secret(), clock()).expect("a verifier");
        assert!(refusal(&verifier, &json!({"sub": "bob"})).contains("exp"));
        assert!(refusal(&verifier, &json!({"sub": "bob", "exp": -5})).contains("exp"));
        assert!(refusal(&verifier, &json!({"exp": NOW_S + 60})).contains("sub"));
        assert!(refusal(&verifier, &json!({"sub": "not a name", "exp": NOW_S + 60})).contains("sub"));
        assert!(refusal(&verifier, &json!({"sub": "..", "exp": NOW_S + 60})).contains("sub"));
        let early = |nbf| json!({"sub": "bob", "exp": NOW_S + 600, "nbf": nbf});
        assert!(refusal(&verifier, &early(NOW_S + 31)).contains("not valid yet"));
        assert!(verifier.verify(&hs256(&early(NOW_S + 30))).is_ok());
        assert!(verifier.verify(&hs256(&json!({"sub": "bob", "exp": 1.8e9 + 60.5}))).is_ok());
    }

    #[test]
    fn issuer_and_audience_are_checked_where_configured() {
        let config = Config { issuer: Some("us".into()), audience: Some("chat".into()), ..with_secret() };
        let verifier = Verifier::new(config, clock()).expect("a verifier");
        let claims = |iss: &str, aud: Value| json!({"sub": "bob", "exp": NOW_S + 60, "iss": iss, "aud": aud});
        assert!(verifier.verify(&hs256(&claims("us", json!("chat")))).is_ok());
        assert!(verifier.verify(&hs256(&claims("us", json!(["x", "chat"])))).is_ok());
        assert!(refusal(&verifier, &claims("them", json!("chat"))).contains("issuer"));
        assert!(refusal(&verifier, &claims("us", json!("x"))).contains("audience"));
        assert!(refusal(&verifier, &claims("us", json!([]))).contains("audience"));
        assert!(refusal(&verifier, &good()).contains("issuer"));
    }

    #[test]
    fn a_wrong_signature_and_nonsense_are_refused() {
        let verifier = Verifier::new(with_secret(), clock()).expect("a verifier");
        let other = EncodingKey::from_secret(b"another secret of enough length!");
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good(), &other).expect("a token");
        assert!(verifier.verify(&forged).is_err());
        let token = hs256(&good());
        let (head, _) = token.rsplit_once('.').expect("dots");
        for bad in ["", ".", "..", "a.b.c", head, &format!("{head}."), &format!("{token}.x"), &"x".repeat(20_000)] {
            assert!(verifier.verify(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let verifier = Verifier::new(with_secret(), clock()).expect("a verifier");
        let payload = URL_SAFE_NO_PAD.encode(good().to_string());
        for alg in ["none", "None", "NONE", ""] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
            for token in [format!("{header}.{payload}."), format!("{header}.{payload}.AAAA")] {
                assert!(verifier.verify(&token).is_err(), "{alg}");
            }
        }
    }

    #[test]
    fn each_algorithm_is_taken_with_a_key_of_its_own() {
        let keys = [(Algorithm::RS256, RSA), (Algorithm::ES256, EC), (Algorithm::EdDSA, ED[0])];
        let published: Vec<_> = keys.iter().map(|(algorithm, pem)| jwk(*algorithm, pem, "k")).collect();
        let verifier = Jwks::new(&published).verifier();
        for (algorithm, pem) in keys {
            assert!(verifier.verify(&signed(algorithm, pem, Some("k"), &good())).is_ok(), "{algorithm:?}");
            assert!(verifier.verify(&signed(algorithm, pem, None, &good())).is_ok(), "{algorithm:?} without kid");
            assert!(verifier.verify(&signed(algorithm, pem, Some("other"), &good())).is_err(), "{algorithm:?}");
        }
        assert!(verifier.verify(&signed(Algorithm::RS384, RSA, Some("k"), &good())).is_err());
        assert!(verifier.verify(&signed(Algorithm::PS256, RSA, Some("k"), &good())).is_err());
        assert!(verifier.verify(&hs256(&good())).is_err(), "no secret is configured");
    }

    #[test]
    fn a_public_key_is_never_taken_as_a_secret() {
        let published = jwk(Algorithm::RS256, RSA, "k");
        let jwks = Jwks::new(std::slice::from_ref(&published));
        let config = Config { jwks: Some(jwks.path()), ..with_secret() };
        let verifiers = [jwks.verifier(), Verifier::new(config, clock()).expect("a verifier")];
        let modulus = published["n"].as_str().expect("n");
        let raw = URL_SAFE_NO_PAD.decode(modulus).expect("base64");
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".to_owned());
        for secret in [modulus.as_bytes(), &raw, published.to_string().as_bytes()] {
            let token = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(secret)).expect("a token");
            for verifier in &verifiers {
                assert!(verifier.verify(&token).is_err());
            }
        }
    }

    #[test]
    fn a_secret_in_the_jwks_is_no_key() {
        let secret = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256", "kid": "k"});
        let verifier = Jwks::new(&[secret.clone(), jwk(Algorithm::ES256, EC, "e")]).verifier();
        assert!(verifier.verify(&hs256(&good())).is_err());
        let alone = Jwks::new(&[secret]);
        let config = Config { jwks: Some(alone.path()), ..Config::default() };
        assert!(Verifier::new(config, clock()).expect_err("no usable key").contains("holds no public key"));
    }

    #[test]
    fn keys_are_rotated_without_a_restart() {
        let jwks = Jwks::new(&[jwk(Algorithm::EdDSA, ED[0], "old")]);
        let verifier = jwks.verifier();
        let old = signed(Algorithm::EdDSA, ED[0], Some("old"), &good());
        let new = signed(Algorithm::EdDSA, ED[1], Some("new"), &good());
        assert!(verifier.verify(&old).is_ok());
        assert!(verifier.verify(&new).is_err());

        jwks.write(&[jwk(Algorithm::EdDSA, ED[0], "old"), jwk(Algorithm::EdDSA, ED[1], "new")]);
        assert!(verifier.verify(&new).is_err(), "looked at most once a second");
        jwks.a_second_later();
        assert!(verifier.verify(&new).is_ok());
        assert!(verifier.verify(&old).is_ok());

        jwks.write(&[jwk(Algorithm::EdDSA, ED[1], "new")]);
        jwks.a_second_later();
        assert!(verifier.verify(&old).is_err(), "a remembered token is not good under other keys");
        assert!(verifier.verify(&new).is_ok());
    }

    #[test]
    fn a_broken_or_missing_file_keeps_the_keys_of_before() {
        let jwks = Jwks::new(&[jwk(Algorithm::ES256, EC, "e")]);
        let verifier = jwks.verifier();
        for broken in ["{", "[]", r#"{"keys": []}"#, r#"{"keys": [{"kty": "mystery"}, 7]}"#] {
            fs::write(jwks.path(), broken).expect("written");
            jwks.a_second_later();
            assert!(verifier.verify(&signed(Algorithm::ES256, EC, Some("e"), &good())).is_ok(), "{broken}");
        }
        fs::remove_file(jwks.path()).expect("removed");
        jwks.a_second_later();
        assert!(verifier.verify(&signed(Algorithm::ES256, EC, None, &good())).is_ok());
        jwks.write(&[jwk(Algorithm::EdDSA, ED[0], "d")]);
        jwks.a_second_later();
        assert!(verifier.verify(&signed(Algorithm::EdDSA, ED[0], Some("d"), &good())).is_ok());
    }

    #[test]
    fn a_key_for_encryption_or_another_algorithm_verifies_nothing() {
        let mut encryption = jwk(Algorithm::RS256, RSA, "a");
        encryption["use"] = json!("enc");
        let mut other = jwk(Algorithm::RS256, RSA, "b");
        other["alg"] = json!("RS512");
        let verifier = Jwks::new(&[encryption, other, jwk(Algorithm::ES256, EC, "e")]).verifier();
        for kid in ["a", "b"] {
            assert!(verifier.verify(&signed(Algorithm::RS256, RSA, Some(kid), &good())).is_err(), "{kid}");
        }
    }

    #[test]
    fn a_start_without_good_keys_says_why() {
        let start = |config| Verifier::new(config, clock()).expect_err("no start");
        assert!(start(Config::default()).contains("no key"));
        assert!(start(Config { hs256_secret: Some("short".into()), ..Config::default() }).contains("32 bytes"));
        assert!(start(Config { jwks: Some("/nowhere/jwks.json".into()), ..Config::default() }).contains("/nowhere"));
        assert!(issue("short", &UserId::parse("bob").expect("a name"), LEEWAY, &clock()).is_err());
    }

    #[test]
    fn the_claimed_subject_is_read_without_a_key() {
        let token = hs256(&json!({"sub": "bob", "exp": 1}));
        assert_eq!(claimed_subject(&token), UserId::parse("bob").ok());
        assert_eq!(claimed_subject(&hs256(&json!({"sub": "no name"}))), None);
        assert_eq!(claimed_subject(&hs256(&json!({"exp": 1}))), None);
        for bad in ["", "..", "a.b", "a.b.c", "a.b.c.d", &format!("{token}.x")] {
            assert_eq!(claimed_subject(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let config = with_secret();
        let verifier = Verifier::new(config.clone(), clock()).expect("a verifier");
        assert!(!format!("{config:?} {verifier:?}").contains(SECRET));
    }

    #[test]
    fn the_cache_is_bounded() {
        let verifier = Verifier::new(Config { cache_max: 10, ..with_secret() }, clock()).expect("a verifier");
        for number in 0..200 {
            let token = hs256(&json!({"sub": format!("u{number}"), "exp": NOW_S + 60}));
            assert!(verifier.verify(&token).is_ok());
        }
        assert!(verifier.inner.verified.len() <= 10);
    }
}
