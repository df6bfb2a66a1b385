//! What is accepted, what is refused, and what happens when keys change.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::auth::{Config, Verifier};
use crate::clock::Clock;

mod tokens;

mod keys;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::manual(NOW_S * 1_000)
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
