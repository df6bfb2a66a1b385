//! Which keys verify which tokens, and a JWKS file that changes, or is broken.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::auth::tests::{SECRET, clock, good, hs256, with_secret};
use crate::auth::{Config, Verifier};
use crate::clock::Clock;

const RSA: &str = include_str!("../../../tests/fixtures/keys/rsa-1.pem");
const EC: &str = include_str!("../../../tests/fixtures/keys/ec-1.pem");
const ED: [&str; 2] = [
    include_str!("../../../tests/fixtures/keys/ed-1.pem"),
    include_str!("../../../tests/fixtures/keys/ed-2.pem"),
];

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
