//! What is accepted, what is refused, and what happens when keys change.

use std::fs;
use std::path::PathBuf;

use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;
const RSA: &str = include_str!("../../tests/fixtures/keys/rsa-1.pem");
const EC: &str = include_str!("../../tests/fixtures/keys/ec-1.pem");
const ED: [&str; 2] = [
    include_str!("../../tests/fixtures/keys/ed-1.pem"),
    include_str!("../../tests/fixtures/keys/ed-2.pem"),
];

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
    let mut jwk =
        Jwk::from_encoding_key(&signing_key(algorithm, pem), algorithm).expect("a public key");
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
    Config {
        hs256_secret: Some(SECRET.to_owned()),
        cache_max: 100,
        ..Config::default()
    }
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
        let jwks = Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: clock(),
        };
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
        let config = Config {
            jwks: Some(self.path()),
            cache_max: 100,
            ..Config::default()
        };
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
    let identity = Identity {
        user: bob,
        expires: NOW_S + 60,
    };
    assert_eq!(verifier.verify(&token), Ok(identity.clone()));
    clock.set((NOW_S + 90) * 1_000 - 1);
    assert_eq!(verifier.verify(&token), Ok(identity), "within the leeway");
    clock.set((NOW_S + 90) * 1_000);
    assert_eq!(
        verifier.verify(&token),
        Err(Refused::because("the token has expired")),
        "from the cache"
    );
    let fresh = Verifier::new(with_secret(), clock).expect("a verifier");
    assert_eq!(
        fresh.verify(&token),
        Err(Refused::because("the token has expired")),
        "without the cache"
    );
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
    assert!(
        verifier
            .verify(&hs256(&json!({"sub": "bob", "exp": 1.8e9 + 60.5})))
            .is_ok()
    );
}

#[test]
fn issuer_and_audience_are_checked_where_configured() {
    let config = Config {
        issuer: Some("us".into()),
        audience: Some("chat".into()),
        ..with_secret()
    };
    let verifier = Verifier::new(config, clock()).expect("a verifier");
    let claims =
        |iss: &str, aud: Value| json!({"sub": "bob", "exp": NOW_S + 60, "iss": iss, "aud": aud});
    assert!(
        verifier
            .verify(&hs256(&claims("us", json!("chat"))))
            .is_ok()
    );
    assert!(
        verifier
            .verify(&hs256(&claims("us", json!(["x", "chat"]))))
            .is_ok()
    );
    assert!(refusal(&verifier, &claims("them", json!("chat"))).contains("issuer"));
    assert!(refusal(&verifier, &claims("us", json!("x"))).contains("audience"));
    assert!(refusal(&verifier, &claims("us", json!([]))).contains("audience"));
    assert!(refusal(&verifier, &good()).contains("issuer"));
}

#[test]
fn a_wrong_signature_and_nonsense_are_refused() {
    let verifier = Verifier::new(with_secret(), clock()).expect("a verifier");
    let other = EncodingKey::from_secret(b"another secret of enough length!");
    let forged =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good(), &other).expect("a token");
    assert!(verifier.verify(&forged).is_err());
    let token = hs256(&good());
    let (head, _) = token.rsplit_once('.').expect("dots");
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        head,
        &format!("{head}."),
        &format!("{token}.x"),
        &"x".repeat(20_000),
    ] {
        assert!(verifier.verify(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_unsigned_token_is_refused() {
    let verifier = Verifier::new(with_secret(), clock()).expect("a verifier");
    let payload = URL_SAFE_NO_PAD.encode(good().to_string());
    for alg in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        for token in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.AAAA"),
        ] {
            assert!(verifier.verify(&token).is_err(), "{alg}");
        }
    }
}

#[test]
fn each_algorithm_is_taken_with_a_key_of_its_own() {
    let keys = [
        (Algorithm::RS256, RSA),
        (Algorithm::ES256, EC),
        (Algorithm::EdDSA, ED[0]),
    ];
    let published: Vec<_> = keys
        .iter()
        .map(|(algorithm, pem)| jwk(*algorithm, pem, "k"))
        .collect();
    let verifier = Jwks::new(&published).verifier();
    for (algorithm, pem) in keys {
        assert!(
            verifier
                .verify(&signed(algorithm, pem, Some("k"), &good()))
                .is_ok(),
            "{algorithm:?}"
        );
        assert!(
            verifier
                .verify(&signed(algorithm, pem, None, &good()))
                .is_ok(),
            "{algorithm:?} without kid"
        );
        assert!(
            verifier
                .verify(&signed(algorithm, pem, Some("other"), &good()))
                .is_err(),
            "{algorithm:?}"
        );
    }
    assert!(
        verifier
            .verify(&signed(Algorithm::RS384, RSA, Some("k"), &good()))
            .is_err()
    );
    assert!(
        verifier
            .verify(&signed(Algorithm::PS256, RSA, Some("k"), &good()))
            .is_err()
    );
    assert!(
        verifier.verify(&hs256(&good())).is_err(),
        "no secret is configured"
    );
}

#[test]
fn a_public_key_is_never_taken_as_a_secret() {
    let published = jwk(Algorithm::RS256, RSA, "k");
    let jwks = Jwks::new(std::slice::from_ref(&published));
    let config = Config {
        jwks: Some(jwks.path()),
        ..with_secret()
    };
    let verifiers = [
        jwks.verifier(),
        Verifier::new(config, clock()).expect("a verifier"),
    ];
    let modulus = published["n"].as_str().expect("n");
    let raw = URL_SAFE_NO_PAD.decode(modulus).expect("base64");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k".to_owned());
    for secret in [modulus.as_bytes(), &raw, published.to_string().as_bytes()] {
        let token = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(secret))
            .expect("a token");
        for verifier in &verifiers {
            assert!(verifier.verify(&token).is_err());
        }
    }
}

#[test]
fn a_secret_in_the_jwks_is_no_key() {
    let secret =
        json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256", "kid": "k"});
    let verifier = Jwks::new(&[secret.clone(), jwk(Algorithm::ES256, EC, "e")]).verifier();
    assert!(verifier.verify(&hs256(&good())).is_err());
    let alone = Jwks::new(&[secret]);
    let config = Config {
        jwks: Some(alone.path()),
        ..Config::default()
    };
    assert!(
        Verifier::new(config, clock())
            .expect_err("no usable key")
            .contains("holds no public key")
    );
}

#[test]
fn keys_are_rotated_without_a_restart() {
    let jwks = Jwks::new(&[jwk(Algorithm::EdDSA, ED[0], "old")]);
    let verifier = jwks.verifier();
    let old = signed(Algorithm::EdDSA, ED[0], Some("old"), &good());
    let new = signed(Algorithm::EdDSA, ED[1], Some("new"), &good());
    assert!(verifier.verify(&old).is_ok());
    assert!(verifier.verify(&new).is_err());

    jwks.write(&[
        jwk(Algorithm::EdDSA, ED[0], "old"),
        jwk(Algorithm::EdDSA, ED[1], "new"),
    ]);
    assert!(
        verifier.verify(&new).is_err(),
        "looked at most once a second"
    );
    jwks.a_second_later();
    assert!(verifier.verify(&new).is_ok());
    assert!(verifier.verify(&old).is_ok());

    jwks.write(&[jwk(Algorithm::EdDSA, ED[1], "new")]);
    jwks.a_second_later();
    assert!(
        verifier.verify(&old).is_err(),
        "a remembered token is not good under other keys"
    );
    assert!(verifier.verify(&new).is_ok());
}

#[test]
fn a_broken_or_missing_file_keeps_the_keys_of_before() {
    let jwks = Jwks::new(&[jwk(Algorithm::ES256, EC, "e")]);
    let verifier = jwks.verifier();
    for broken in [
        "{",
        "[]",
        r#"{"keys": []}"#,
        r#"{"keys": [{"kty": "mystery"}, 7]}"#,
    ] {
        fs::write(jwks.path(), broken).expect("written");
        jwks.a_second_later();
        assert!(
            verifier
                .verify(&signed(Algorithm::ES256, EC, Some("e"), &good()))
                .is_ok(),
            "{broken}"
        );
    }
    fs::remove_file(jwks.path()).expect("removed");
    jwks.a_second_later();
    assert!(
        verifier
            .verify(&signed(Algorithm::ES256, EC, None, &good()))
            .is_ok()
    );
    jwks.write(&[jwk(Algorithm::EdDSA, ED[0], "d")]);
    jwks.a_second_later();
    assert!(
        verifier
            .verify(&signed(Algorithm::EdDSA, ED[0], Some("d"), &good()))
            .is_ok()
    );
}

#[test]
fn a_key_for_encryption_or_another_algorithm_verifies_nothing() {
    let mut encryption = jwk(Algorithm::RS256, RSA, "a");
    encryption["use"] = json!("enc");
    let mut other = jwk(Algorithm::RS256, RSA, "b");
    other["alg"] = json!("RS512");
    let verifier = Jwks::new(&[encryption, other, jwk(Algorithm::ES256, EC, "e")]).verifier();
    for kid in ["a", "b"] {
        assert!(
            verifier
                .verify(&signed(Algorithm::RS256, RSA, Some(kid), &good()))
                .is_err(),
            "{kid}"
        );
    }
}

#[test]
fn a_start_without_good_keys_says_why() {
    let start = |config| Verifier::new(config, clock()).expect_err("no start");
    assert!(start(Config::default()).contains("no key"));
    assert!(
        start(Config {
            hs256_secret: Some("short".into()),
            ..Config::default()
        })
        .contains("32 bytes")
    );
    assert!(
        start(Config {
            jwks: Some("/nowhere/jwks.json".into()),
            ..Config::default()
        })
        .contains("/nowhere")
    );
    assert!(
        issue(
            "short",
            &UserId::parse("bob").expect("a name"),
            LEEWAY,
            &clock()
        )
        .is_err()
    );
}

#[test]
fn the_claimed_user_is_read_without_a_key_and_what_is_wrong_is_told() {
    let claimed = |token: &str| claimed_user(token, &UserClaim::default());
    let token = hs256(&json!({"sub": "bob", "exp": 1}));
    assert_eq!(claimed(&token).ok(), UserId::parse("bob").ok());
    assert!(
        claimed(&hs256(&json!({"sub": "no name"})))
            .expect_err("refused")
            .0
            .contains("the id of a user is")
    );
    assert!(
        claimed(&hs256(&json!({"exp": 1})))
            .expect_err("refused")
            .0
            .contains("no sub")
    );
    for bad in ["", "..", "a.b", "a.b.c", "a.b.c.d", &format!("{token}.x")] {
        assert!(
            claimed(bad).expect_err(bad).0.contains("malformed"),
            "{bad}"
        );
    }
}

#[test]
fn the_user_may_be_named_by_another_claim_than_sub() {
    let claim = UserClaim::new("preferred_username");
    let config = Config {
        user_claim: claim.clone(),
        ..with_secret()
    };
    let verifier = Verifier::new(config, clock()).expect("a verifier");
    let claims = json!({"sub": "1f 2e", "preferred_username": "auth0|5f7c", "exp": NOW_S + 60});
    let named = UserId::parse("auth0|5f7c").ok();
    assert_eq!(
        verifier
            .verify(&hs256(&claims))
            .map(|identity| identity.user)
            .ok(),
        named
    );
    assert_eq!(claimed_user(&hs256(&claims), &claim).ok(), named);
    assert!(
        refusal(&verifier, &good()).contains("no preferred_username"),
        "sub is not looked at"
    );
}

#[test]
fn a_jwks_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed() {
    let jwks = Jwks::new(&[jwk(Algorithm::EdDSA, ED[0], "a")]);
    let verifier = jwks.verifier();
    let before = fs::metadata(jwks.path()).expect("there");
    jwks.write(&[jwk(Algorithm::EdDSA, ED[1], "a")]);
    let file = fs::File::options()
        .write(true)
        .open(jwks.path())
        .expect("opens");
    file.set_modified(before.modified().expect("a time"))
        .expect("set");
    assert_eq!(
        fs::metadata(jwks.path()).expect("there").len(),
        before.len(),
        "the premise"
    );
    jwks.a_second_later();
    assert!(
        verifier
            .verify(&signed(Algorithm::EdDSA, ED[1], Some("a"), &good()))
            .is_ok()
    );
    assert!(
        verifier
            .verify(&signed(Algorithm::EdDSA, ED[0], Some("a"), &good()))
            .is_err()
    );
}

#[test]
fn a_jwks_with_a_byte_order_mark_is_read() {
    let jwks = Jwks::new(&[jwk(Algorithm::EdDSA, ED[0], "a")]);
    let text = fs::read_to_string(jwks.path()).expect("read");
    fs::write(jwks.path(), format!("\u{feff}{text}")).expect("written");
    assert!(
        jwks.verifier()
            .verify(&signed(Algorithm::EdDSA, ED[0], Some("a"), &good()))
            .is_ok()
    );
}

#[test]
fn no_secret_is_printed() {
    let config = with_secret();
    let verifier = Verifier::new(config.clone(), clock()).expect("a verifier");
    assert!(!format!("{config:?} {verifier:?}").contains(SECRET));
}

#[test]
fn the_cache_is_bounded() {
    let verifier = Verifier::new(
        Config {
            cache_max: 10,
            ..with_secret()
        },
        clock(),
    )
    .expect("a verifier");
    for number in 0..200 {
        let token = hs256(&json!({"sub": format!("u{number}"), "exp": NOW_S + 60}));
        assert!(verifier.verify(&token).is_ok());
    }
    assert!(verifier.inner.verified.len() <= 10);
}
