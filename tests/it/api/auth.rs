//! Which tokens are good.

use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Group, SECRET, now_s, percent, signed, token, token_until, unique};

pub(super) fn bad_tokens(user: &str) -> Vec<(&'static str, String)> {
    let (hs256, exp) = (json!({"alg": "HS256", "typ": "JWT"}), now_s() + 3_600);
    let claims = json!({"sub": user, "exp": exp});
    let good = token(user);
    let (body, signature) = good.rsplit_once('.').unwrap();
    let alg = |alg: &str| signed(&json!({"alg": alg, "typ": "JWT"}), &claims, SECRET);
    let with = |claims: serde_json::Value| signed(&hs256, &claims, SECRET);
    let none = signed(&json!({"alg": "none"}), &claims, SECRET);
    let swapped = signed(&hs256, &json!({"sub": "someone-else", "exp": exp}), SECRET);
    let swapped_body = swapped.rsplit_once('.').unwrap().0;

    vec![
        ("empty", String::new()),
        ("no token at all", "nonsense".to_owned()),
        ("dots", "..".to_owned()),
        (
            "another secret",
            signed(
                &hs256,
                &claims,
                "another-secret-0123456789-0123456789-0123456789",
            ),
        ),
        ("no signature", format!("{body}.")),
        ("a cut signature", format!("{body}.{}", &signature[..20])),
        (
            "another body under the signature",
            format!("{swapped_body}.{signature}"),
        ),
        ("alg none, signed", none.clone()),
        (
            "alg none, unsigned",
            format!("{}.", none.rsplit_once('.').unwrap().0),
        ),
        ("alg None", alg("None")),
        ("alg HS512", alg("HS512")),
        ("alg RS256 with the secret as key", alg("RS256")),
        ("no alg", signed(&json!({"typ": "JWT"}), &claims, SECRET)),
        ("expired", token_until(user, now_s() - 120)),
        ("no exp", with(json!({"sub": user}))),
        (
            "exp as text",
            with(json!({"sub": user, "exp": exp.to_string()})),
        ),
        (
            "not yet valid",
            with(json!({"sub": user, "exp": exp, "nbf": now_s() + 600})),
        ),
        ("no sub", with(json!({"exp": exp}))),
        ("sub is no text", with(json!({"sub": 7, "exp": exp}))),
        ("sub is empty", with(json!({"sub": "", "exp": exp}))),
        ("sub is dots", with(json!({"sub": "..", "exp": exp}))),
        ("sub with a space", with(json!({"sub": "a b", "exp": exp}))),
        (
            "sub too long",
            with(json!({"sub": "x".repeat(129), "exp": exp})),
        ),
        ("a long one", "x".repeat(6_000)),
    ]
}

#[tokio::test]
async fn a_bad_token_is_401_everywhere() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    alice.get("/v1/conversations").await.expect(200);

    for (what, bad) in bad_tokens(alice.user()) {
        let client = alice.clone().with_token(Some(bad));
        for path in [
            "/v1/conversations",
            "/v1/conversations/c/messages",
            "/v1/messages/7",
        ] {
            let answer = client.get(path).await;
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
            answer.refused(401, "unauthorized");
        }
        let body = json!({"participants": ["bob"]});
        client
            .post("/v1/conversations", &body)
            .await
            .refused(401, "unauthorized");
    }

    let anonymous = alice.with_token(None);
    anonymous
        .get("/v1/conversations")
        .await
        .refused(401, "unauthorized");
    let good = token("bob");

    for header in [
        format!("Basic {good}"),
        good.clone(),
        "Bearer".to_owned(),
        format!("Token {good}"),
    ] {
        let headers = [("authorization", header.as_str())];
        let answer = anonymous
            .call(
                http::Method::GET,
                "/v1/conversations",
                &headers,
                bytes::Bytes::new(),
            )
            .await;
        answer.refused(401, "unauthorized");
    }

    anonymous
        .get(&format!("/v1/conversations?access_token={good}"))
        .await
        .refused(401, "unauthorized");
}

#[tokio::test]
async fn clocks_may_differ_by_thirty_seconds() {
    let server = shared();
    let user = unique("alice");
    let alice = server.client(&user);
    let hs256 = json!({"alg": "HS256"});
    let late = token_until(&user, now_s() - 20);

    alice
        .clone()
        .with_token(Some(late))
        .get("/v1/conversations")
        .await
        .expect(200);
    let early = signed(
        &hs256,
        &json!({"sub": user, "exp": now_s() + 600, "nbf": now_s() + 20}),
        SECRET,
    );

    alice
        .clone()
        .with_token(Some(early))
        .get("/v1/conversations")
        .await
        .expect(200);
}

#[tokio::test]
async fn people_of_an_identity_provider_are_users_by_their_subjects() {
    let server = shared();
    let (alice, bob) = (unique("auth0|5f7c"), unique("google-oauth2|1+x"));
    let client = server.client(&alice);
    let name = client.create(&[&bob]).await["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = Socket::ready(&server, &bob).await;
    client.say(&name, "hello").await;
    assert_eq!(socket.until_t("message").await["source"], alice.as_str());

    let path = format!("/v1/conversations/{name}/participants/{}", percent(&bob));
    assert_eq!(client.delete(&path).await.status, 204);

    let refused = client
        .post(
            "/v1/conversations",
            &json!({"participants": ["x"], "name": "a|b"}),
        )
        .await;
    refused.refused(400, "invalid_name");
}

#[tokio::test]
async fn a_token_whose_subject_is_no_user_id_is_refused_with_that_reason() {
    let server = shared();
    let claims = json!({"sub": "two words", "exp": now_s() + 60});
    let token = signed(&json!({"alg": "HS256"}), &claims, SECRET);
    let client = server.client("alice").with_token(Some(token));
    for path in ["/v1/conversations", "/v1/conversations/c", "/v1/messages/7"] {
        let problem = client.get(path).await.refused(401, "unauthorized");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("the sub of the token is no user id"),
            "{path}: {problem}"
        );
    }
}

#[tokio::test]
async fn a_strict_read_is_served_where_it_can_be() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let sent = group.admin.say(&group.name, "hello").await;
    let strict = [("rookery-consistency", "strict")];

    for path in [
        "/v1/conversations".to_owned(),
        group.path(""),
        group.path("/messages"),
        group.path("/events"),
        group.path("/participants"),
        group.path("/watermarks"),
        format!("/v1/messages/{}", sent["id"].as_str().unwrap()),
        format!("/v1/messages/{}/receipts", sent["id"].as_str().unwrap()),
        format!("/v1/messages/{}/reactions", sent["id"].as_str().unwrap()),
    ] {
        let answer = group
            .admin
            .call(http::Method::GET, &path, &strict, bytes::Bytes::new())
            .await;
        assert!(answer.header("rookery-stale").is_empty(), "{path}");
        answer.expect(200);
    }
}
