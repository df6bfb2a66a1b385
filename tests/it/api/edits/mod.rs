//! Editing and deleting messages.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

mod deletions;
mod repeats;

fn path(message: &Value) -> String {
    format!("/v1/messages/{}", message.text("id"))
}

async fn patch_with(
    client: &Client,
    message: &Value,
    body: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let headers = [&[("content-type", "application/json")], headers].concat();
    client
        .call(
            Method::PATCH,
            &path(message),
            &headers,
            body.to_string().into(),
        )
        .await
}

async fn patch(client: &Client, message: &Value, body: &Value) -> Answer {
    patch_with(client, message, body, &[]).await
}

async fn delete(client: &Client, message: &Value) -> Answer {
    client.delete(&path(message)).await
}

/// Every answer that shows a message: by id, in the history, as an event, as the last one of the
/// list.
async fn shown(client: &Client, conversation: &str, message: &Value) -> Vec<Value> {
    let seq = message.number("seq");
    let around = client
        .history(conversation, &format!("around={seq}&limit=1"))
        .await;
    let page = format!(
        "/v1/conversations/{conversation}/events?after={}&limit=1",
        seq - 1
    );
    let events = client.get(&page).await.expect(200);
    vec![
        client.get(&path(message)).await.expect(200),
        around.list("items")[0].clone(),
        events.list("items")[0].clone(),
    ]
}

#[tokio::test]
async fn an_edit_is_seen_by_every_read_and_told_live_with_the_whole_new_content() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut socket = Socket::ready(&server, bob.user()).await;
    let sent = alice.say(&group.name, "first").await;

    assert_eq!(
        (&sent["data"], &sent["mentions"], &sent["deleted_by"]),
        (&Value::Null, &json!([]), &Value::Null)
    );

    let body = json!({"text": "second", "data": {"b": 1.5, "a": [true]}, "mentions": [bob.user(), "nobody-here"]});
    let edited = patch(alice, &sent, &body).await.expect(200);
    assert_eq!(
        (edited.text("text"), edited.number("seq"), &edited["id"]),
        ("second", 2, &sent["id"])
    );
    assert!(edited.number("edited") >= sent.number("created"));
    assert_eq!(
        (&edited["data"], &edited["mentions"]),
        (&body["data"], &json!([bob.user()]))
    );

    for client in [alice, bob] {
        for one in shown(client, &group.name, &sent).await {
            for field in [
                "text",
                "data",
                "mentions",
                "edited",
                "created",
                "seq",
                "source",
                "deleted",
                "deleted_by",
            ] {
                assert_eq!(one[field], edited[field], "{field} of {one}");
            }
        }
    }

    let live = socket
        .until("the edit", |frame| frame["kind"] == "edited")
        .await;
    let events = alice.all_events(&group.name).await;

    assert_eq!(live, events[2], "live as in /events");
    assert_eq!(
        (
            live.text("by"),
            live.number("message_seq"),
            &live["message_id"]
        ),
        (alice.user(), 2, &sent["id"])
    );
    assert_eq!(
        (live.text("text"), &live["data"], live.get("superseded")),
        ("second", &body["data"], None)
    );
    assert_eq!(live["mentions"], json!([bob.user()]));

    let list = alice.get("/v1/conversations").await.expect(200);
    assert_eq!(list.list("items")[0]["last_message"]["text"], "second");
}

#[tokio::test]
async fn what_an_edit_does_not_name_stays_and_null_takes_the_data_away() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let body = json!({"text": "first", "data": {"a": 1}, "mentions": [bob.user(), bob.user()]});
    let sent = alice
        .post(&group.path("/messages"), &body)
        .await
        .expect(201);
    assert_eq!(
        (&sent["data"], &sent["mentions"]),
        (&body["data"], &json!([bob.user()]))
    );

    let text = patch(alice, &sent, &json!({"text": "second"}))
        .await
        .expect(200);
    assert_eq!(
        (&text["data"], &text["mentions"]),
        (&sent["data"], &sent["mentions"])
    );
    let cleared = patch(alice, &sent, &json!({"data": null, "mentions": []}))
        .await
        .expect(200);
    assert_eq!(
        (cleared.text("text"), &cleared["data"], &cleared["mentions"]),
        ("second", &Value::Null, &json!([]))
    );

    // The same again is no event.
    for same in [
        json!({"text": "second"}),
        json!({"data": null}),
        json!({"mentions": ["nobody-here"]}),
    ] {
        assert_eq!(patch(alice, &sent, &same).await.expect(200), cleared);
    }

    assert_eq!(alice.all_events(&group.name).await.len(), 4);
}

#[tokio::test]
async fn data_comes_back_with_its_names_in_their_order() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, data) = (
        &group.admin,
        r#"{"z":1,"a":{"é":"\n"},"m":[1.5,18446744073709551615,null]}"#,
    );
    let body = format!(r#"{{"text":"x", "data" : {data} }}"#);
    let json_body = [("content-type", "application/json")];
    let answer = alice
        .call(
            Method::POST,
            &group.path("/messages"),
            &json_body,
            body.into(),
        )
        .await;
    let sent = answer.expect(201);

    let events = alice.get(&group.path("/events?after=1")).await;
    let by_id = alice.get(&path(&sent)).await;
    let history = alice.get(&group.path("/messages")).await;
    for answer in [answer, events, by_id, history] {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains(&format!("\"data\":{data}")), "{text}");
    }

    let nested = |depth: usize| {
        format!(
            "{}{{}}{}",
            r#"{"a":"#.repeat(depth - 1),
            "}".repeat(depth - 1)
        )
    };

    let refused = [
        ("[]".to_owned(), 400, "invalid"),
        ("7".to_owned(), 400, "invalid"),
        (r#"{"a":1,"a":2}"#.to_owned(), 400, "invalid"),
        (r#"{"a":1e400}"#.to_owned(), 400, "invalid"),
        (r#"{"a":18446744073709551616}"#.to_owned(), 400, "invalid"),
        (nested(65), 400, "invalid"),
        (
            format!(r#"{{"a":"{}"}}"#, "x".repeat(4_089)),
            413,
            "too_large",
        ),
    ];

    for (data, status, code) in refused {
        let body = format!(r#"{{"text":"x","data":{data}}}"#);
        for (method, path) in [
            (Method::POST, group.path("/messages")),
            (Method::PATCH, path(&sent)),
        ] {
            alice
                .call(method, &path, &json_body, body.clone().into())
                .await
                .refused(status, code);
        }
    }

    assert_eq!(alice.all_events(&group.name).await.len(), 2);
}

#[tokio::test]
async fn a_malformed_edit_is_refused_and_says_why() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let alice = &group.admin;
    let sent = alice.say(&group.name, "first").await;

    for body in [
        json!({}),
        json!({"text": ""}),
        json!({"text": null}),
        json!({"mentions": null}),
        json!({"mentions": vec!["bob"; 51]}),
        json!({"text": "x", "reply_to": null}),
        json!({"text": 7}),
    ] {
        patch(alice, &sent, &body).await.refused(400, "invalid");
    }

    patch(alice, &sent, &json!({"mentions": ["a b"]}))
        .await
        .refused(400, "invalid_name");
    patch(alice, &sent, &json!({"text": "x".repeat(16_385)}))
        .await
        .refused(413, "text_too_long");
    alice
        .call(Method::PATCH, &path(&sent), &[], "{}".into())
        .await
        .refused(415, "unsupported_media_type");
    for id in ["nonsense", "123e4567-e89b-42d3-a456-426614174000"] {
        patch(alice, &json!({"id": id}), &json!({"text": "x"}))
            .await
            .refused(404, "message_unknown");
        delete(alice, &json!({"id": id}))
            .await
            .refused(404, "message_unknown");
    }

    let answer = alice.put(&path(&sent), &json!({})).await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "DELETE, GET, HEAD, PATCH");
}
