//! What clients send that is nearly right, and the one answer that tells what is wrong with it.

use http::Method;
use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Group, unique};

#[tokio::test]
async fn an_unknown_field_of_a_body_is_refused_by_its_name_and_nothing_is_written() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let alice = &group.members[0];
    let bodies = [
        (
            Method::POST,
            "/v1/conversations".to_owned(),
            json!({"participants": ["bob"], "colour": 1}),
        ),
        (
            Method::POST,
            group.path("/participants"),
            json!({"participants": ["bob"], "colour": 1}),
        ),
        (
            Method::POST,
            group.path("/messages"),
            json!({"text": "x", "colour": {"a": 1}}),
        ),
    ];

    for (method, path, body) in bodies {
        let headers = [("content-type", "application/json")];
        let problem = alice
            .call(method, &path, &headers, body.to_string().into())
            .await
            .refused(400, "invalid");
        assert!(
            problem["detail"].as_str().unwrap().contains("colour"),
            "{path}: {problem}"
        );
    }

    let history = alice.get(&group.path("/messages")).await.expect(200);
    assert_eq!(history["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn an_unknown_field_of_a_frame_is_refused_by_its_name_and_the_session_goes_on() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let mut socket = Socket::open(&server, group.members[0].user()).await;
    let frame =
        json!({"t": "send", "ref": 1, "conversation": group.name, "text": "x", "colour": 1});
    let answer = socket.request(frame).await;

    assert!(
        answer["problem"]["detail"]
            .as_str()
            .unwrap()
            .contains("colour"),
        "{answer}"
    );
    assert_eq!(
        socket.request(json!({"t": "ping", "ref": 2})).await["t"],
        "pong"
    );
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_its_name() {
    let server = shared();
    let problem = server
        .client(&unique("alice"))
        .get("/v1/conversations?colour=1")
        .await
        .refused(400, "invalid");
    assert!(
        problem["detail"].as_str().unwrap().contains("colour"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_fraction_of_zero_everywhere() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let alice = &group.members[0];
    alice.get("/v1/conversations?limit=7.0").await.expect(200);
    alice
        .get(&group.path("/events?after=1e0"))
        .await
        .expect(200);
    let mut socket = Socket::open(&server, alice.user()).await;

    let resume = format!(
        r#"{{"t":"resume","ref":1,"positions":{{"{}":1.0}}}}"#,
        group.name
    );

    socket
        .try_send_raw(tokio_tungstenite::tungstenite::Message::text(resume))
        .await;
    assert_eq!(socket.until_t("ok").await["ref"], 1);
}

#[tokio::test]
async fn an_error_never_repeats_a_long_input() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let alice = &group.members[0];
    let long = "x".repeat(100_000);
    let mut body = json!({"text": "x"});
    body[&long] = json!(1);

    let problem = alice
        .post(&group.path("/messages"), &body)
        .await
        .refused(400, "invalid");
    assert!(
        problem.to_string().len() < 2_000,
        "{}",
        problem.to_string().len()
    );
    let mut socket = Socket::open(&server, alice.user()).await;
    let answer = socket.request(json!({"t": long, "ref": 1})).await;

    assert!(
        answer.to_string().len() < 2_000,
        "{}",
        answer.to_string().len()
    );
}

#[tokio::test]
async fn an_encoded_body_is_415() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let body = bytes::Bytes::from_static(br#"{"text":"x"}"#);
    let answer = group.members[0]
        .call(Method::POST, &group.path("/messages"), &headers, body)
        .await;
    let problem = answer.refused(415, "unsupported_media_type");

    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("Content-Encoding"),
        "{problem}"
    );
}
