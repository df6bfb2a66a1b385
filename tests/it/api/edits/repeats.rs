//! Edits and deletions under keys, over sockets, and read again later.

use super::*;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn keys_of_sends_and_edits_are_one_space_and_a_repeat_is_the_message_as_it_is_now() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, messages, text) = (
        &group.admin,
        group.path("/messages"),
        json!({"text": "once"}),
    );
    let keyed = |key: &'static str| [("idempotency-key", key)];
    let sent = alice
        .post_with_key(&messages, &text, "send")
        .await
        .expect(201);
    let edit = json!({"text": "edited"});

    let edited = patch_with(alice, &sent, &edit, &keyed("edit"))
        .await
        .expect(200);
    patch(alice, &sent, &json!({"text": "edited again"}))
        .await
        .expect(200);
    assert_eq!(
        patch_with(alice, &sent, &edit, &keyed("edit"))
            .await
            .expect(200)["text"],
        "edited again"
    );

    assert_eq!(
        alice
            .post_with_key(&messages, &text, "send")
            .await
            .expect(200)["text"],
        "edited again"
    );
    assert_eq!(alice.all_events(&group.name).await.len(), 4);

    patch_with(alice, &sent, &json!({"text": "other"}), &keyed("edit"))
        .await
        .refused(422, "idempotency_conflict");
    patch_with(alice, &sent, &edit, &keyed("send"))
        .await
        .refused(422, "idempotency_conflict");
    alice
        .post_with_key(&messages, &edit, "edit")
        .await
        .refused(422, "idempotency_conflict");
    // What changes nothing uses its key up too.
    let same = json!({"text": "edited again"});

    patch_with(alice, &sent, &same, &keyed("same"))
        .await
        .expect(200);
    patch(alice, &sent, &json!({"text": "last"}))
        .await
        .expect(200);
    assert_eq!(
        patch_with(alice, &sent, &same, &keyed("same"))
            .await
            .expect(200)["text"],
        "last"
    );

    delete(alice, &sent).await.expect(204);
    for again in [
        patch_with(alice, &sent, &edit, &keyed("edit"))
            .await
            .expect(200),
        alice
            .post_with_key(&messages, &text, "send")
            .await
            .expect(200),
    ] {
        assert_eq!(
            (&again["deleted"], &again["text"], &again["id"]),
            (&json!(true), &json!(""), &edited["id"])
        );
    }

    let absent_is_null = json!({"text": "once", "data": null, "mentions": []});
    assert_eq!(
        alice
            .post_with_key(&messages, &absent_is_null, "send")
            .await
            .expect(200)["id"],
        sent["id"]
    );

    let more = json!({"text": "once", "data": {}});
    alice
        .post_with_key(&messages, &more, "send")
        .await
        .refused(422, "idempotency_conflict");
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_socket_edits_and_deletes_in_the_order_of_its_frames() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut socket = Socket::ready(&server, alice.user()).await;
    let send = json!({"t": "send", "conversation": group.name, "text": "by frame", "data": {"b": 1, "a": 2},
        "mentions": [bob.user()]});
    let sent = socket.request(send).await["result"].clone();

    assert_eq!(
        (&sent["data"], &sent["mentions"]),
        (&json!({"a": 2, "b": 1}), &json!([bob.user()]))
    );

    let edit = |text: &str| json!({"t": "edit", "message_id": sent["id"], "text": text});
    let mut posted = Vec::new();
    for number in 0..20 {
        posted.push(socket.post(edit(&format!("edit {number}"))).await);
    }

    for reference in &posted {
        let answer = socket
            .find("its answer", |frame| frame["ref"] == reference.as_str())
            .await;
        assert_eq!(
            (answer.text("t"), &answer["result"]["id"]),
            ("ok", &sent["id"]),
            "{answer}"
        );
    }

    assert_eq!(bob.get(&path(&sent)).await.expect(200)["text"], "edit 19");
    let keyed = json!({"t": "edit", "message_id": sent["id"], "data": null, "client_id": "mine"});
    assert!(socket.request(keyed.clone()).await["result"]["data"].is_null());

    let other = json!({"t": "edit", "message_id": sent["id"], "text": "x", "client_id": "mine"});
    assert_eq!(
        socket.request(other).await["problem"]["code"],
        "idempotency_conflict"
    );

    for bad in [
        json!({"t": "edit", "message_id": sent["id"]}),
        json!({"t": "edit", "message_id": sent["id"], "text": null}),
        json!({"t": "edit", "message_id": sent["id"], "data": []}),
        json!({"t": "delete"}),
    ] {
        assert_eq!(socket.request(bad).await["problem"]["code"], "invalid");
    }

    let gone = socket
        .request(json!({"t": "delete", "message_id": sent["id"]}))
        .await;
    assert_eq!((gone.text("t"), &gone["result"]), ("ok", &Value::Null));

    assert_eq!(
        socket.request(edit("late")).await["problem"]["code"],
        "message_deleted"
    );

    let unknown = json!({"t": "delete", "message_id": "nonsense"});
    assert_eq!(
        socket.request(unknown).await["problem"]["code"],
        "message_unknown"
    );

    let seqs = 2 + 20 + 1 + 1;
    socket.until_seq(&group.name, seqs).await;
    assert_eq!(
        socket.seqs(&group.name),
        (2..=seqs).collect::<Vec<_>>(),
        "live, dense, once"
    );
}

#[tokio::test]
async fn a_resume_shows_messages_as_they_stand_now() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let kept = alice.say(&group.name, "kept").await;
    let gone = alice.say(&group.name, "gone for good").await;

    for text in ["once", "twice"] {
        patch(alice, &kept, &json!({"text": text}))
            .await
            .expect(200);
    }

    patch(alice, &gone, &json!({"text": "gone for good, edited"}))
        .await
        .expect(200);
    delete(alice, &gone).await.expect(204);

    let mut socket = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    socket
        .send(&json!({"t": "resume", "positions": {group.name.as_str(): 1}}))
        .await;
    socket.until_t("ready").await;

    let changes = socket.changes(&group.name);
    let seqs: Vec<u64> = changes.iter().map(|frame| frame.number("seq")).collect();
    assert_eq!(seqs, (2..=7).collect::<Vec<_>>());

    let texts: Vec<&Value> = changes.iter().map(|frame| &frame["text"]).collect();
    assert_eq!(
        texts,
        [
            &json!("twice"),
            &json!(""),
            &json!(""),
            &json!("twice"),
            &json!(""),
            &Value::Null
        ]
    );

    let superseded: Vec<bool> = changes
        .iter()
        .map(|frame| frame["superseded"] == true)
        .collect();
    assert_eq!(superseded, [false, false, true, false, true, false]);

    assert_eq!(
        json!(changes),
        json!(bob.all_events(&group.name).await[1..]),
        "as /events has them"
    );
}

#[tokio::test]
async fn a_page_of_a_browser_may_patch() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let sent = group.admin.say(&group.name, "first").await;
    let headers = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "PATCH"),
    ];
    let answer = group
        .admin
        .call(Method::OPTIONS, &path(&sent), &headers, bytes::Bytes::new())
        .await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-methods")),
        (204, "DELETE, GET, HEAD, PATCH")
    );
}
