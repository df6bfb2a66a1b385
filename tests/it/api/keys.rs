//! Tokens signed with the key pairs of others, verified by the JWKS file that the server is given.

use std::path::PathBuf;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::opening::Opening;
use crate::support::server::Server;
use crate::support::socket::Socket;
use crate::support::{Fields, eventually, now_s, signed, unique};

/// A key pair of the fixtures.
#[derive(Clone, Copy)]
struct Pair {
    algorithm: Algorithm,
    pem: &'static str,
    kid: &'static str,
}

const RSA: Pair = Pair {
    algorithm: Algorithm::RS256,
    pem: include_str!("../../fixtures/keys/rsa-1.pem"),
    kid: "rsa",
};
const EC: Pair = Pair {
    algorithm: Algorithm::ES256,
    pem: include_str!("../../fixtures/keys/ec-1.pem"),
    kid: "ec",
};
const ED_OLD: Pair = Pair {
    algorithm: Algorithm::EdDSA,
    pem: include_str!("../../fixtures/keys/ed-1.pem"),
    kid: "ed-old",
};
const ED_NEW: Pair = Pair {
    algorithm: Algorithm::EdDSA,
    pem: include_str!("../../fixtures/keys/ed-2.pem"),
    kid: "ed-new",
};

impl Pair {
    fn key(self) -> EncodingKey {
        let pem = self.pem.as_bytes();
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_ed_pem(pem),
        }
        .unwrap()
    }

    fn published(self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key(), self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn token(self, user: &str) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        jsonwebtoken::encode(
            &header,
            &json!({"sub": user, "exp": now_s() + 600}),
            &self.key(),
        )
        .unwrap()
    }
}

struct Jwks(tempfile::TempDir);

impl Jwks {
    fn of(pairs: &[Pair]) -> Self {
        let jwks = Self(tempfile::tempdir().unwrap());
        jwks.publish(pairs);
        jwks
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("jwks.json")
    }

    /// Replaces the file whole, as a deployment does.
    fn publish(&self, pairs: &[Pair]) {
        let keys: Vec<Value> = pairs.iter().map(|pair| pair.published()).collect();
        let next = self.0.path().join("next");
        std::fs::write(&next, json!({ "keys": keys }).to_string()).unwrap();
        std::fs::rename(next, self.path()).unwrap();
    }

    fn server(&self) -> Server {
        Server::start_with(&["--jwks", self.path().to_str().unwrap()])
    }
}

fn client(server: &Server, pair: Pair, user: &str) -> Client {
    server.client(user).with_token(Some(pair.token(user)))
}

#[tokio::test]
async fn tokens_of_each_kind_of_key_are_taken_over_rest_and_sockets() {
    let jwks = Jwks::of(&[RSA, EC, ED_OLD]);
    let server = jwks.server();
    let mut users = Vec::new();

    for pair in [RSA, EC, ED_OLD] {
        let user = unique(pair.kid);
        client(&server, pair, &user)
            .get("/v1/conversations")
            .await
            .expect(200);
        users.push((pair, user));
    }

    let names: Vec<&str> = users.iter().map(|(_, user)| user.as_str()).collect();
    let made = client(&server, RSA, names[0]).create(&names).await;
    let mut sockets = Vec::new();

    for (pair, user) in &users {
        let opening = Opening {
            header_token: Some(pair.token(user)),
            ..Opening::default()
        };
        let mut socket = Socket::try_open(&server, opening).await.unwrap();
        socket.until_t("ready").await;
        sockets.push(socket);
    }

    let said = client(&server, EC, names[1])
        .say(made.text("name"), "signed")
        .await;
    for socket in &mut sockets {
        socket
            .until("the message", |frame| frame["id"] == said["id"])
            .await;
    }

    // The shared secret still serves beside them.
    server
        .client(names[0])
        .get("/v1/conversations")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_token_of_an_unknown_key_or_with_the_wrong_algorithm_is_401() {
    let jwks = Jwks::of(&[RSA, ED_OLD]);
    let server = jwks.server();
    let user = unique("mallory");
    let claims = json!({"sub": user, "exp": now_s() + 600});
    let public = RSA.published().text("n").to_owned();
    let lies = |pair: Pair, kid: &'static str| Pair { kid, ..pair }.token(&user);
    let bad = [
        EC.token(&user),
        lies(ED_NEW, ED_OLD.kid),
        lies(ED_OLD, RSA.kid),
        // The public key used as if it were a secret.
        signed(&json!({"alg": "HS256", "kid": RSA.kid}), &claims, &public),
        signed(&json!({"alg": "RS256", "kid": RSA.kid}), &claims, &public),
    ];

    for token in bad {
        let answer = server
            .client(&user)
            .with_token(Some(token.clone()))
            .get("/v1/conversations")
            .await;
        answer.refused(401, "unauthorized");
        let opening = Opening {
            header_token: Some(token),
            ..Opening::default()
        };
        assert_eq!(Socket::try_open(&server, opening).await.err(), Some(401));
    }
}

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let jwks = Jwks::of(&[ED_OLD]);
    let server = jwks.server();
    let user = unique("alice");
    let status = async |pair: Pair| {
        client(&server, pair, &user)
            .get("/v1/conversations")
            .await
            .status
    };
    assert_eq!((status(ED_OLD).await, status(ED_NEW).await), (200, 401));

    jwks.publish(&[ED_OLD, ED_NEW]);
    eventually("the new key is taken", || async {
        (status(ED_NEW).await == 200).then_some(())
    })
    .await;

    assert_eq!(
        status(ED_OLD).await,
        200,
        "both, for as long as both are published"
    );

    jwks.publish(&[ED_NEW]);
    eventually("the old key is refused", || async {
        (status(ED_OLD).await == 401).then_some(())
    })
    .await;
    assert_eq!(status(ED_NEW).await, 200);
}
