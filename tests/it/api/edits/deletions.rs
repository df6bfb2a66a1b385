//! Deleting messages.

use super::*;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_deleted_message_keeps_its_place_and_nothing_else() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let mut socket = Socket::ready(&server, bob.user()).await;
    let secret = unique("secret");
    let body = json!({"text": secret, "data": {"of": secret}, "mentions": [bob.user()]});
    let sent = alice
        .post(&group.path("/messages"), &body)
        .await
        .expect(201);
    let reply = json!({"text": "an answer", "reply_to": sent["id"]});

    let reply = bob.post(&group.path("/messages"), &reply).await.expect(201);
    bob.put(
        &format!("{}/reaction", path(&sent)),
        &json!({"reaction": 128_077}),
    )
    .await
    .expect(204);

    patch(alice, &sent, &json!({"text": format!("{secret} again")}))
        .await
        .expect(200);
    for _ in 0..2 {
        delete(alice, &sent).await.expect(204);
    }

    let live = socket
        .until("the deletion", |frame| frame["kind"] == "deleted")
        .await;
    assert_eq!(
        (
            live.text("by"),
            live.number("message_seq"),
            &live["message_id"]
        ),
        (alice.user(), 2, &sent["id"])
    );

    for client in [alice, bob] {
        for one in shown(client, &group.name, &sent).await {
            assert_eq!(
                (&one["text"], &one["data"], &one["mentions"]),
                (&json!(""), &Value::Null, &json!([])),
                "{one}"
            );
            assert_eq!(
                (&one["deleted"], &one["deleted_by"]),
                (&json!(true), &json!(alice.user())),
                "{one}"
            );
            assert!(one["edited"].is_null(), "{one}");
            for field in ["id", "seq", "source", "created", "reply_to"] {
                assert_eq!(one[field], sent[field], "{field} of {one}");
            }
        }
        assert_eq!(
            client.get(&path(&sent)).await.expect(200)["reactions"],
            json!({})
        );
    }

    let events = bob.all_events(&group.name).await;
    assert!(!json!(events).to_string().contains(&secret), "{events:?}");

    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["created", "edited", "deleted"]);
    assert_eq!(events[3]["superseded"], true);

    // It cannot be changed, answered or reacted to any more; what was there before stays.
    patch(alice, &sent, &json!({"text": "x"}))
        .await
        .refused(409, "message_deleted");
    let late = json!({"text": "late", "reply_to": sent["id"]});

    bob.post(&group.path("/messages"), &late)
        .await
        .refused(409, "message_deleted");
    let reaction = format!("{}/reaction", path(&sent));

    bob.put(&reaction, &json!({"reaction": 1}))
        .await
        .refused(409, "message_deleted");
    bob.delete(&reaction).await.expect(204);

    bob.post_nothing(&format!("{}/read", path(&sent)))
        .await
        .expect(204);
    assert_eq!(
        bob.get(&path(&reply)).await.expect(200)["reply_to"],
        sent["id"]
    );

    let receipt = alice
        .receipt_of(&sent, bob.user())
        .await
        .expect("bob was there");
    assert_eq!(
        (&receipt["reaction"], &receipt["read"]),
        (&Value::Null, &json!(true))
    );
}

#[tokio::test]
async fn a_list_counts_and_shows_no_deleted_messages() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let first = alice.say(&group.name, "first").await;
    let second = alice.say(&group.name, "second").await;
    let item = async || bob.get("/v1/conversations").await.expect(200).list("items")[0].clone();
    assert_eq!(item().await["unread"], 2);

    patch(alice, &first, &json!({"text": "first, mended"}))
        .await
        .expect(200);
    delete(alice, &second).await.expect(204);

    let now = item().await;
    assert_eq!(
        (&now["unread"], &now["last_message"]["text"]),
        (&json!(1), &json!("first, mended"))
    );

    delete(alice, &first).await.expect(204);
    let now = item().await;
    assert_eq!(
        (&now["unread"], &now["last_message"]),
        (&json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn only_the_sender_edits_and_the_sender_or_the_admin_deletes() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let stranger = server.client(&unique("stranger"));
    let of_bob = bob.say(&group.name, "of bob").await;
    let other = bob.say(&group.name, "another of bob").await;

    for client in [admin, carol] {
        patch(client, &of_bob, &json!({"text": "x"}))
            .await
            .refused(403, "not_sender");
    }

    delete(carol, &of_bob).await.refused(403, "forbidden");
    patch(&stranger, &of_bob, &json!({"text": "x"}))
        .await
        .refused(404, "message_unknown");
    delete(&stranger, &of_bob)
        .await
        .refused(404, "message_unknown");
    delete(admin, &of_bob).await.expect(204);

    delete(carol, &of_bob).await.refused(403, "forbidden");
    // Who left is a stranger, also to their own messages.
    bob.remove(&group.name, bob.user()).await.expect(204);

    patch(bob, &other, &json!({"text": "x"}))
        .await
        .refused(404, "message_unknown");
    delete(bob, &other).await.refused(404, "message_unknown");
}
