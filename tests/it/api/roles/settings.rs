//! Title, data and settings of a conversation.

use super::*;

const DEFAULTS: &str = r#"{"post":"all","add":"moderators","edit_window_s":null,"typing":true,"presence":true,"retention_s":null}"#;

fn defaults() -> Value {
    serde_json::from_str(DEFAULTS).unwrap()
}

#[tokio::test]
async fn a_conversation_begins_with_what_is_given_and_settings_are_merged_by_field() {
    let server = shared();
    let admin = server.client("admin-of-settings");
    let body = json!({
        "participants": ["bob-of-settings"], "title": "T", "data": {"z": 1.0, "a": [true]},
        "settings": {"typing": false, "edit_window_s": 60},
    });
    let made = admin
        .post_with_key("/v1/conversations", &body, "with settings")
        .await
        .expect(201);
    let mut settings = defaults();
    (settings["typing"], settings["edit_window_s"]) = (json!(false), json!(60));
    assert_eq!(
        (&made["data"], &made["settings"]),
        (&body["data"], &settings)
    );
    admin
        .post_with_key("/v1/conversations", &body, "with settings")
        .await
        .expect(200);
    let mut other = body.clone();
    other["settings"]["typing"] = json!(true);
    admin
        .post_with_key("/v1/conversations", &other, "with settings")
        .await
        .refused(422, "idempotency_conflict");

    let path = format!("/v1/conversations/{}", made.text("name"));
    let change =
        json!({"title": null, "data": null, "settings": {"edit_window_s": null, "add": "all"}});
    let changed = patch(&admin, &path, &change).await.expect(200);
    (settings["edit_window_s"], settings["add"]) = (Value::Null, json!("all"));
    assert_eq!(
        (&changed["title"], &changed["data"], &changed["settings"]),
        (&Value::Null, &Value::Null, &settings)
    );
    assert_eq!(patch(&admin, &path, &change).await.expect(200), changed);
    let events = admin.all_events(made.text("name")).await;
    assert_eq!(events.len(), 2, "the second time is no event");
    assert_eq!(
        (&events[0]["data"], &events[0]["settings"]["edit_window_s"]),
        (&body["data"], &json!(60))
    );
    let told = json!({"edit_window_s": null, "add": "all"});
    assert_eq!(
        (events[1].text("kind"), &events[1]["settings"]),
        ("updated", &told)
    );
    assert_eq!(events[1].get("title"), Some(&Value::Null));
    patch(&admin, &path, &json!({"title": "only this"}))
        .await
        .expect(200);
    let events = admin.all_events(made.text("name")).await;
    assert_eq!(
        (events[2].get("data"), events[2].get("settings")),
        (None, None)
    );
    let listed = admin.get("/v1/conversations").await.expect(200);
    assert_eq!(listed.list("items")[0]["settings"], settings);
}

#[tokio::test]
async fn what_is_no_setting_is_named_and_nothing_of_the_request_holds() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (admin, bob) = (&group.admin, &group.members[0]);

    for (body, named) in [
        (json!({}), "at least one"),
        (json!({"settings": {}}), "setting"),
        (json!({"settings": null}), "null"),
        (json!({"settings": {"history": "joined"}}), "history"),
        (json!({"settings": {"retention_s": 59}}), "retention_s"),
        (
            json!({"title": "x", "settings": {"post": "nobody"}}),
            "settings.post",
        ),
        (json!({"settings": {"post": null}}), "settings.post"),
        (
            json!({"settings": {"edit_window_s": 3_153_600_001_u64}}),
            "edit_window_s",
        ),
        (json!({"settings": {"typing": "yes"}}), "settings.typing"),
        (json!({"name": "other"}), "name"),
        (json!({"title": ""}), "title"),
        (json!({"data": [1]}), "data"),
    ] {
        let refused = change(admin, &group, &body).await.refused(400, "invalid");
        assert!(refused.text("detail").contains(named), "{body}: {refused}");
    }

    // A creation names a setting too, or has none at all.
    let body = json!({"participants": [bob.user()], "settings": {}});
    admin
        .post("/v1/conversations", &body)
        .await
        .refused(400, "invalid");

    let large = json!({"data": {"x": "x".repeat(5_000)}});
    change(admin, &group, &large)
        .await
        .refused(413, "too_large");
    change(bob, &group, &json!({"title": "x"}))
        .await
        .refused(403, "forbidden");
    let view = admin.get(&group.path("")).await.expect(200);

    assert_eq!(
        (view.number("last_seq"), &view["settings"]),
        (1, &defaults())
    );
}

#[tokio::test]
async fn settings_say_who_sends_adds_edits_and_is_seen() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let own = bob.say(&group.name, "mine").await;
    let path = format!("/v1/messages/{}", own.text("id"));
    let closed = json!({"settings": {"post": "moderators", "add": "all", "presence": false}});
    change(admin, &group, &closed).await.expect(200);
    let refused = try_send(bob, &group).await.refused(403, "forbidden");
    assert!(
        refused.text("detail").contains("settings.post"),
        "{refused}"
    );
    patch(bob, &path, &json!({"text": "changed"}))
        .await
        .refused(403, "forbidden");
    bob.add(&group.name, &["somebody-added"]).await.expect(200);
    carol
        .get(&group.path("/presence"))
        .await
        .refused(403, "forbidden");
    let mut socket = Socket::ready(&server, carol.user()).await;
    let watch = json!({"t": "watch", "conversations": [group.name]});
    let refused = socket.request(watch).await;
    assert_eq!(refused["problem"]["code"], "forbidden", "{refused}");

    let open = json!({"settings": {"post": "all", "edit_window_s": 0}});
    change(admin, &group, &open).await.expect(200);
    patch(bob, &path, &json!({"text": "changed"}))
        .await
        .refused(409, "edit_window_over");
    patch(bob, &path, &json!({"text": "mine"}))
        .await
        .expect(200);
    bob.delete(&path).await.expect(204);
    let wide = json!({"settings": {"edit_window_s": 3_153_600_000_u64}});
    change(admin, &group, &wide).await.expect(200);
    let next = bob.say(&group.name, "next").await;
    let path = format!("/v1/messages/{}", next.text("id"));
    patch(bob, &path, &json!({"text": "changed"}))
        .await
        .expect(200);
}
