//! What happens at the limits that protect the server from one client, and the clients from each
//! other.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::Server;
use crate::support::socket::{Next, Socket};
use crate::support::{Fields, Group, SECRET, eventually, token, unique};

/// Sessions that are live, over all nodes.
async fn sessions(server: &Server) -> u64 {
    let live = server.metric("rookery_session_live").await;
    format!("{live}").parse().expect("a whole number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_no_pings_is_dropped_and_one_that_does_stays() {
    let server = Server::start_with(&["--heartbeat", "400ms"]);
    let group = Group::create(&server, 1).await;
    let mut alive = Socket::ready(&server, group.admin.user()).await;
    assert_eq!(alive.frames[0].number("heartbeat_ms"), 400);

    let mut silent = Socket::ready(&server, group.members[0].user()).await;
    eventually("both are counted", || async {
        (sessions(&server).await == 2).then_some(())
    })
    .await;

    // `silent` is not read, so it answers nothing; `alive` answers while it is read.
    let reading = tokio::spawn(async move {
        let marker = alive
            .until("the marker", |frame| frame["text"] == "the marker")
            .await;
        (alive, marker)
    });

    eventually("the silent one is dropped", || async {
        (sessions(&server).await == 1).then_some(())
    })
    .await;
    assert_eq!(silent.closed().await, None, "dropped, not closed");

    // The other one was pinged as often, and is still there after a good number of beats more.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    group.admin.say(&group.name, "the marker").await;

    let (_alive, _marker) = reading.await.unwrap();
    assert_eq!(sessions(&server).await, 1);
}

#[tokio::test]
async fn one_user_too_fast_is_429_with_a_time_to_wait_and_others_are_served() {
    let server = Server::start_with(&["--requests-per-second", "1", "--request-burst", "5"]);
    let (fast, other) = (
        server.client(&unique("fast")),
        server.client(&unique("other")),
    );
    let answers = join_all((0..12).map(|_| fast.get("/v1/conversations"))).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(
        (5..12).contains(&(answers.len() - refused.len())),
        "{}",
        refused.len()
    );

    for answer in &refused {
        answer.refused(429, "rate_limited");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }

    other.get("/v1/conversations").await.expect(200);
    eventually("it is served again", || async {
        (fast.get("/v1/conversations").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_that_sends_too_many_frames_is_closed_with_4429() {
    let server = Server::start_with(&["--frames-per-second-max", "5"]);
    let user = unique("alice");
    let mut socket = Socket::ready(&server, &user).await;
    for _ in 0..10 {
        assert_eq!(
            socket.request(json!({"t": "ping"})).await["t"],
            "pong",
            "a burst is taken"
        );
    }
    for _ in 0..100 {
        socket.try_send_raw(Message::text(r#"{"t":"ping"}"#)).await;
    }
    assert_eq!(socket.closed().await, Some(4429));
    Socket::ready(&server, &user).await;
}

#[tokio::test]
async fn one_session_too_many_of_a_user_is_closed_with_4429_and_the_others_stay() {
    let server = Server::start_with(&["--sessions-per-user-max", "2"]);
    let group = Group::create(&server, 1).await;
    let user = group.admin.user();
    let mut kept = Socket::ready(&server, user).await;
    let gone = Socket::ready(&server, user).await;
    let mut refused = Socket::open(&server, user).await;
    assert_eq!(refused.closed().await, Some(4429));
    assert!(refused.frames.is_empty(), "{:?}", refused.frames);

    Socket::ready(&server, group.members[0].user()).await;
    gone.vanish();
    eventually("there is a place again", || async {
        let mut socket = Socket::open(&server, user).await;
        matches!(socket.next().await, Next::Frame(_)).then_some(())
    })
    .await;

    let said = group.members[0].say(&group.name, "hello").await;
    kept.until("the message", |frame| frame["id"] == said["id"])
        .await;
}

#[tokio::test]
async fn one_session_too_many_of_a_node_is_closed_with_1013() {
    // The router alone would refuse what is too much for all nodes together.
    let server = Server::start_with(&["--nodes", "2", "--sessions-max", "3"]);
    let user = unique("alice");
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(Socket::ready(&server, &user).await);
    }
    let mut refused = Socket::open(&server, &user).await;
    assert_eq!(refused.closed().await, Some(1013));
    assert!(refused.frames.is_empty(), "{:?}", refused.frames);
    for socket in &mut kept {
        assert_eq!(socket.request(json!({"t": "ping"})).await["t"], "pong");
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn every_refused_request_is_in_the_log_by_its_id_and_no_token_or_text_is() {
    // What is refused with a 4xx is told at DEBUG.
    let server = Server::start_with(&["--log-level", "info,rookery=debug"]);
    let group = Group::create(&server, 1).await;
    let stranger = server.client(&unique("stranger"));
    let anonymous = stranger.clone().with_token(None);
    let forged = stranger
        .clone()
        .with_token(Some(format!("{}x", token(stranger.user()))));
    let secret_text = "a text that belongs in no log";
    let messages = group.path("/messages");
    let json_type = ("content-type", "application/json");
    let long = json!({"text": "x".repeat(200_000)}).to_string();
    let text = json!({"text": secret_text}).to_string();

    let requests = [
        (
            &stranger,
            Method::POST,
            messages.as_str(),
            text.as_str(),
            403,
        ),
        (&group.admin, Method::POST, messages.as_str(), "{", 400),
        (
            &group.admin,
            Method::POST,
            messages.as_str(),
            long.as_str(),
            413,
        ),
        (&group.admin, Method::PATCH, messages.as_str(), "", 405),
        (&group.admin, Method::GET, "/v1/nothing", "", 404),
        (&group.admin, Method::GET, "/v1/messages/7", "", 404),
        (
            &group.admin,
            Method::GET,
            "/v1/conversations?limit=0",
            "",
            400,
        ),
        (&anonymous, Method::GET, "/v1/conversations", "", 401),
        (&anonymous, Method::GET, messages.as_str(), "", 401),
        (&anonymous, Method::GET, "/v1/ws", "", 401),
        (&forged, Method::GET, "/v1/conversations", "", 401),
        (&forged, Method::GET, "/v1/ws", "", 401),
        (&stranger, Method::GET, "/v1/ws", "", 426),
    ];

    for (i, (client, method, path, body, status)) in requests.into_iter().enumerate() {
        let id = format!("refused-{i}.{status}");
        let headers = [("x-request-id", id.as_str()), json_type];
        let answer = client
            .call(method, path, &headers, body.to_owned().into())
            .await;
        assert_eq!(
            (answer.status, answer.header("x-request-id")),
            (status, id.as_str()),
            "{answer:?}"
        );
        eventually(&format!("{id} ({path}) is in the log"), || async {
            server.log().contains(&id).then_some(())
        })
        .await;
    }

    let log = server.log();
    let line_of = |id: &str| {
        log.lines()
            .find(|line| line.contains(id))
            .unwrap_or_default()
    };

    for (id, code, user) in [
        ("refused-0.403", "not_participant", stranger.user()),
        ("refused-1.400", "invalid", group.admin.user()),
        ("refused-5.404", "message_unknown", group.admin.user()),
    ] {
        let line = line_of(id);
        assert!(
            [code, user, "route=\"/"]
                .iter()
                .all(|word| line.contains(word)),
            "{id}: {line}"
        );
    }

    group.admin.say(&group.name, secret_text).await;
    let log = server.log();
    assert!(!log.contains(secret_text));
    assert!(
        !log.contains(&token(group.admin.user())),
        "no token in the log"
    );
    assert!(!log.contains(SECRET));
}
