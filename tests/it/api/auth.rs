//! Which tokens are good.

use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::{Opening, Socket};
use crate::support::{Group, SECRET, now_s, percent, signed, token, token_until, unique};

fn bad_tokens(user: &str) -> Vec<(&'static str, String)> {
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
async fn a_socket_with_a_bad_header_is_refused_before_the_upgrade() {
    let server = shared();
    let user = unique("alice");
    for (what, bad) in bad_tokens(&user) {
        let opening = Opening {
            header_token: Some(bad),
            ..Opening::default()
        };
        assert_eq!(
            Socket::try_open(&server, opening).await.err(),
            Some(401),
            "{what}"
        );
    }
    assert_eq!(
        Socket::try_open(&server, Opening::default()).await.err(),
        Some(401)
    );
}

#[tokio::test]
async fn a_browser_brings_its_token_as_a_subprotocol() {
    let server = shared();
    let user = unique("alice");
    // The client library fails unless the server chooses `rookery.v1`, one of those it offered.
    let opening = Opening {
        subprotocol_token: Some(token(&user)),
        ..Opening::default()
    };
    let mut socket = Socket::try_open(&server, opening)
        .await
        .expect("an upgrade");
    assert_eq!(socket.until_t("hello").await["user"], user.as_str());
    socket.until_t("ready").await;
    for bad in [token_until(&user, now_s() - 120), "nonsense".to_owned()] {
        let opening = Opening {
            subprotocol_token: Some(bad),
            ..Opening::default()
        };
        let mut socket = Socket::try_open(&server, opening)
            .await
            .expect("a browser cannot see a 401: an upgrade");
        assert_eq!(socket.closed().await, Some(4401));
        assert!(socket.frames.is_empty(), "{:?}", socket.frames);
    }
}

#[tokio::test]
async fn a_token_in_the_query_string_is_refused() {
    let server = shared();
    let user = unique("alice");
    for name in ["token", "access_token", "jwt"] {
        let path = format!("/v1/ws?{name}={}", token(&user));
        let alone = Opening {
            path: path.clone(),
            ..Opening::default()
        };
        assert_eq!(
            Socket::try_open(&server, alone).await.err(),
            Some(400),
            "{name}"
        );
        let beside = Opening {
            path,
            header_token: Some(token(&user)),
            ..Opening::default()
        };
        assert_eq!(
            Socket::try_open(&server, beside).await.err(),
            Some(400),
            "{name}"
        );
    }
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
async fn a_session_ends_with_its_token() {
    let server = shared();
    let user = unique("alice");
    // Good for three more seconds of its leeway.
    let opening = Opening {
        header_token: Some(token_until(&user, now_s() - 27)),
        ..Opening::default()
    };
    let mut socket = Socket::try_open(&server, opening)
        .await
        .expect("still within the leeway");
    socket.until_t("ready").await;
    assert_eq!(socket.closed().await, Some(4401));
}

#[tokio::test]
async fn a_newer_token_keeps_the_session() {
    let server = shared();
    let user = unique("alice");
    let ends = now_s() + 4;
    let opening = Opening {
        header_token: Some(token_until(&user, ends - 30)),
        ..Opening::default()
    };
    let mut socket = Socket::try_open(&server, opening)
        .await
        .expect("still within the leeway");
    socket.until_t("ready").await;
    for refused in [
        token("someone-else"),
        token_until(&user, now_s() - 120),
        "nonsense".to_owned(),
    ] {
        let answer = socket.request(json!({"t": "auth", "token": refused})).await;
        assert_eq!(
            (&answer["t"], &answer["problem"]["code"]),
            (&json!("error"), &json!("unauthorized"))
        );
    }
    let answer = socket
        .request(json!({"t": "auth", "token": token(&user)}))
        .await;
    assert_eq!(answer["t"], "ok");
    // Alive beyond the end of the first token.
    loop {
        let over = now_s() > ends + 2;
        let pong = socket.request(json!({"t": "ping"})).await;
        assert_eq!(pong["t"], "pong");
        if over {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_refused_token_does_not_prolong_the_session() {
    let server = shared();
    let user = unique("alice");
    let opening = Opening {
        header_token: Some(token_until(&user, now_s() - 27)),
        ..Opening::default()
    };
    let mut socket = Socket::try_open(&server, opening)
        .await
        .expect("still within the leeway");
    let answer = socket
        .request(json!({"t": "auth", "token": token("someone-else")}))
        .await;
    assert_eq!(answer["problem"]["code"], "unauthorized");
    assert_eq!(socket.closed().await, Some(4401));
}

#[tokio::test]
async fn a_browser_and_another_client_chat() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut alice = Socket::ready(&server, group.admin.user()).await;
    let opening = Opening {
        subprotocol_token: Some(token(group.members[0].user())),
        ..Opening::default()
    };
    let mut browser = Socket::try_open(&server, opening)
        .await
        .expect("an upgrade");
    browser.until_t("ready").await;
    for i in 0..10 {
        let (from, to) = if i % 2 == 0 {
            (&mut alice, &mut browser)
        } else {
            (&mut browser, &mut alice)
        };
        let ok = from
            .request(json!({"t": "send", "conversation": group.name, "text": format!("m{i}")}))
            .await;
        let id = &ok["result"]["id"];
        to.find("the message", |frame| {
            frame["t"] == "message" && frame["id"] == *id
        })
        .await;
    }
    for socket in [&mut alice, &mut browser] {
        socket.until_seq(&group.name, 11).await;
        assert_eq!(socket.seqs(&group.name), (2..=11).collect::<Vec<u64>>());
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
    ] {
        let answer = group
            .admin
            .call(http::Method::GET, &path, &strict, bytes::Bytes::new())
            .await;
        assert!(answer.header("rookery-stale").is_empty(), "{path}");
        answer.expect(200);
    }
}
