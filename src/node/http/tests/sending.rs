//! Sends, and what is done to a message: their names, keys and answers.

use super::*;

fn refused(code: Code) -> ShardError {
    ShardError::Problem(Problem::new(code, "no"))
}

#[tokio::test]
async fn what_a_send_names_is_checked() {
    let face = Fixture::new();
    let send = |path| face.request("POST", path).json(&json!({"text": "x"}));

    assert_eq!(
        send("/v1/conversations/a%2Fb/messages").code().await,
        Code::InvalidName
    );
    assert_eq!(
        send("/v1/conversations/../messages").code().await,
        Code::InvalidName
    );
    assert_eq!(
        send("/v1/conversations/%zz/messages").code().await,
        Code::InvalidName
    );

    let text = |body: Value| face.request("POST", MESSAGES).json(&body).code();
    assert_eq!(text(json!({"text": ""})).await, Code::Invalid);
    assert_eq!(
        text(json!({"text": "x", "reply_to": "m1"})).await,
        Code::Invalid
    );

    for key in ["", &"k".repeat(129)] {
        assert_eq!(
            send(MESSAGES).header("idempotency-key", key).code().await,
            Code::Invalid
        );
        let add = face
            .request("POST", "/v1/conversations/team/participants")
            .header("idempotency-key", key);
        assert_eq!(
            add.json(&json!({"participants": ["x"]})).code().await,
            Code::Invalid
        );
    }

    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn a_message_is_sent_once_and_repeated_as_the_same() {
    let sent = |replayed| Done::Sent {
        message: message(2),
        replayed,
    };
    let face = Fixture::new().writes(sent(false)).writes(sent(true));
    let body = json!({"text": "x".repeat(16_384)});
    let send = || {
        face.request("POST", "/conversations/te%61m/messages")
            .header("idempotency-key", "k ü")
            .json(&body)
    };
    let first = send().answer().await;

    assert_eq!(
        (first.status.as_u16(), &first.json["seq"]),
        (201, &json!(2))
    );

    let again = send().answer().await;
    assert_eq!((again.status.as_u16(), again.bytes), (200, first.bytes));

    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"conversation: "team", source: "bob""#),
        "{}",
        asked[0]
    );
    assert!(
        asked[0].contains(r#"IdempotencyKey { key: "k ü", stamped: false }"#),
        "{}",
        asked[0]
    );
}

#[tokio::test]
async fn a_stamped_key_counts_where_the_client_gave_none() {
    let sent = || Done::Sent {
        message: message(2),
        replayed: false,
    };
    let face = Fixture::new().writes(sent()).writes(sent());
    let send = || {
        face.request("POST", MESSAGES)
            .header("test-stamped-key", "s1")
            .json(&json!({"text": "x"}))
    };

    assert_eq!(send().answer().await.status, 201);
    assert_eq!(
        send().header("idempotency-key", "c1").answer().await.status,
        201
    );

    let asked = face.script.asked();
    assert!(
        asked[0].contains(r#"key: "s1", stamped: true"#)
            && asked[1].contains(r#"key: "c1", stamped: false"#)
    );
}

#[tokio::test]
async fn a_reply_to_any_uuid_reaches_the_shard_which_knows_the_order() {
    let face = Fixture::new().writes_as(Err(refused(Code::NotParticipant)));
    let body = json!({"text": "x", "reply_to": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"});
    assert_eq!(
        face.request("POST", MESSAGES).json(&body).code().await,
        Code::NotParticipant
    );
}

#[tokio::test]
async fn an_id_that_is_none_names_no_message() {
    let face = Fixture::new();
    for id in ["x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "%00"] {
        assert_eq!(
            face.request("GET", &format!("/v1/messages/{id}"))
                .code()
                .await,
            Code::MessageUnknown
        );
        assert_eq!(
            face.request("GET", &format!("/v1/messages/{id}/receipts"))
                .code()
                .await,
            Code::MessageUnknown
        );
        assert_eq!(
            face.request("GET", &format!("/v1/messages/{id}/reactions"))
                .code()
                .await,
            Code::MessageUnknown
        );
        assert_eq!(
            face.request("POST", &format!("/v1/messages/{id}/read"))
                .code()
                .await,
            Code::MessageUnknown
        );
        let put = face.request("PUT", &format!("/v1/messages/{id}/reaction"));
        assert_eq!(
            put.json(&json!({"reaction": 0})).code().await,
            Code::Invalid,
            "400 before 404"
        );
        assert_eq!(
            face.request("DELETE", &format!("/v1/messages/{id}/reaction"))
                .code()
                .await,
            Code::MessageUnknown
        );
    }
}

#[tokio::test]
async fn reactions_and_reads_are_answered_without_content() {
    let face = Fixture::new()
        .writes(Done::Marked)
        .writes(Done::Marked)
        .writes(Done::Marked);
    let path = format!("/v1/messages/{}", MessageId::new(1, Slot(9), 1));

    for bad in [
        json!({"reaction": 1_114_112}),
        json!({"reaction": -1}),
        json!({"reaction": null}),
        json!({}),
    ] {
        assert_eq!(
            face.request("PUT", &format!("{path}/reaction"))
                .json(&bad)
                .code()
                .await,
            Code::Invalid
        );
    }

    let put = face
        .request("PUT", &format!("{path}/reaction"))
        .json(&json!({"reaction": 1_114_111}))
        .answer()
        .await;
    assert_eq!((put.status.as_u16(), put.bytes.len()), (204, 0));

    assert_eq!(
        face.request("DELETE", &format!("{path}/reaction"))
            .answer()
            .await
            .status,
        204
    );
    assert_eq!(
        face.request("POST", &format!("{path}/read"))
            .raw("any")
            .answer()
            .await
            .status,
        204
    );
    assert!(face.script.asked()[2].contains("origin: None"));
}
