//! Tokens of sockets: how they are brought, and what happens when they end.

use serde_json::json;

use super::auth::bad_tokens;
use crate::support::opening::Opening;
use crate::support::server::{Server, shared};
use crate::support::socket::Socket;
use crate::support::{Group, now_s, token, token_until, unique};

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

/// A socket whose token is over, but for the leeway of 30 s that it has.
async fn in_leeway(server: &Server, user: &str, exp: u64) -> Socket {
    let opening = Opening {
        header_token: Some(token_until(user, exp)),
        ..Opening::default()
    };
    Socket::try_open(server, opening)
        .await
        .expect("still within the leeway")
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let server = shared();
    let user = unique("alice");
    // Good for three more seconds of its leeway.
    let mut socket = in_leeway(&server, &user, now_s() - 27).await;
    socket.until_t("ready").await;
    assert_eq!(socket.closed().await, Some(4401));
}

#[tokio::test]
async fn a_newer_token_keeps_the_session() {
    let server = shared();
    let user = unique("alice");
    let ends = now_s() + 4;
    let mut socket = in_leeway(&server, &user, ends - 30).await;
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
    let mut socket = in_leeway(&server, &user, now_s() - 27).await;
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
