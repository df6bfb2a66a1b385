//! What a token has to say, and be signed with, to be accepted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::auth::tests::{NOW_S, SECRET, clock, good, hs256, refusal, with_secret};
use crate::auth::{Config, Identity, LEEWAY, Refused, UserClaim, Verifier, claimed_user, issue};
use crate::ids::UserId;

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
    assert!(verifier.remembered() <= 10);
}
