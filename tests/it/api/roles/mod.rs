//! Roles, mutes, bans and settings of a conversation.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, now_s};

mod bans;
mod settings;

pub(super) async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    client
        .call(Method::PATCH, path, &headers, body.to_string().into())
        .await
}

async fn set(by: &Client, group: &Group, whom: &str, body: &Value) -> Answer {
    by.put(&group.path(&format!("/participants/{whom}")), body)
        .await
}

async fn change(by: &Client, group: &Group, body: &Value) -> Answer {
    patch(by, &group.path(""), body).await
}

async fn try_send(client: &Client, group: &Group) -> Answer {
    client
        .post(&group.path("/messages"), &json!({"text": "hello"}))
        .await
}

fn soon_ms() -> u64 {
    (now_s() + 3_600) * 1_000
}

#[tokio::test]
async fn what_a_participant_may_do_is_changed_seen_and_told() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let mut socket = Socket::ready(&server, carol.user()).await;
    let told = set(admin, &group, bob.user(), &json!({"role": "moderator"}))
        .await
        .expect(200);
    assert_eq!(
        told,
        json!({"name": bob.user(), "role": "moderator", "muted_until": null, "joined_seq": 1})
    );

    let live = socket
        .until("the role", |frame| frame["kind"] == "role")
        .await;
    assert_eq!(
        (live.text("by"), live.text("user"), live.text("role")),
        (admin.user(), bob.user(), "moderator")
    );
    assert_eq!(live["muted_until"], Value::Null);

    let until = soon_ms();
    set(bob, &group, carol.user(), &json!({"muted_until": until}))
        .await
        .expect(200);
    let own = carol.get(&group.path("")).await.expect(200);

    assert_eq!(
        (own.text("my_role"), own.number("my_muted_until")),
        ("member", until)
    );

    let listed = carol.get("/v1/conversations").await.expect(200);
    assert_eq!(listed.list("items")[0]["my_muted_until"], until);

    let page = admin.get(&group.path("/participants")).await.expect(200);
    let roles: Vec<_> = page
        .list("items")
        .iter()
        .map(|one| (one.text("role"), one["muted_until"].as_u64()))
        .collect();
    assert!(roles.contains(&("admin", None)) && roles.contains(&("moderator", None)));

    assert!(roles.contains(&("member", Some(until))));
    try_send(carol, &group).await.refused(403, "muted");
    try_send(bob, &group).await.expect(201);

    // The same again is no event.
    let before = admin.get(&group.path("")).await.expect(200)["last_seq"].clone();
    for same in [
        json!({"muted_until": until}),
        json!({"role": "member"}),
        json!({"role": "member", "muted_until": until}),
    ] {
        set(bob, &group, carol.user(), &same).await.expect(200);
    }

    let after = admin.get(&group.path("")).await.expect(200)["last_seq"].clone();
    assert_eq!(before, after);
}

#[tokio::test]
async fn who_may_not_is_told_which_role_may_and_what_is_malformed_is_400() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let refused = set(bob, &group, carol.user(), &json!({"role": "reader"}))
        .await
        .refused(403, "forbidden");
    assert!(refused.text("detail").contains("admin"), "{refused}");

    for body in [
        json!({}),
        json!({"role": null}),
        json!({"role": "owner"}),
        json!({"muted_until": -1}),
        json!({"muted_until": 9_007_199_254_740_992_u64}),
        json!({"muted": true}),
    ] {
        set(admin, &group, bob.user(), &body)
            .await
            .refused(400, "invalid");
    }

    for body in [json!({"muted_until": soon_ms()}), json!({"role": "member"})] {
        set(admin, &group, admin.user(), &body)
            .await
            .refused(400, "invalid");
    }

    set(admin, &group, "nobody-here", &json!({"role": "reader"}))
        .await
        .refused(404, "participant_unknown");
    let stranger = server.client("stranger-of-roles");

    set(&stranger, &group, bob.user(), &json!({"role": "reader"}))
        .await
        .refused(403, "not_participant");
    set(admin, &group, "a%20b", &json!({"role": "reader"}))
        .await
        .refused(400, "invalid_name");
}

#[tokio::test]
async fn the_office_is_handed_over_and_goes_to_a_moderator_when_its_holder_leaves() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let admin = &group.admin;
    let [bob, carol, dave] = [0, 1, 2].map(|at| &group.members[at]);
    set(admin, &group, dave.user(), &json!({"role": "moderator"}))
        .await
        .expect(200);
    let told = set(admin, &group, bob.user(), &json!({"role": "admin"}))
        .await
        .expect(200);
    assert_eq!(told.text("role"), "admin");

    let view = admin.get(&group.path("")).await.expect(200);
    assert_eq!(
        (view.text("admin"), view.text("my_role")),
        (bob.user(), "moderator")
    );

    change(admin, &group, &json!({"title": "x"}))
        .await
        .refused(403, "forbidden");
    admin.remove(&group.name, admin.user()).await.expect(204);

    bob.remove(&group.name, bob.user()).await.expect(204);
    let view = carol.get(&group.path("")).await.expect(200);
    assert_eq!(view.text("admin"), dave.user(), "the moderator, not carol");
}

#[tokio::test]
async fn moderators_delete_and_remove_and_members_do_not() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let admin = &group.admin;
    let [bob, carol, dave] = [0, 1, 2].map(|at| &group.members[at]);
    set(admin, &group, bob.user(), &json!({"role": "moderator"}))
        .await
        .expect(200);
    let message = admin.say(&group.name, "of the admin").await;

    let path = format!("/v1/messages/{}", message.text("id"));
    carol.delete(&path).await.refused(403, "forbidden");
    bob.delete(&path).await.expect(204);

    assert_eq!(
        admin.get(&path).await.expect(200).text("deleted_by"),
        bob.user()
    );

    carol
        .remove(&group.name, dave.user())
        .await
        .refused(403, "forbidden");
    bob.remove(&group.name, admin.user())
        .await
        .refused(403, "forbidden");
    bob.remove(&group.name, dave.user()).await.expect(204);

    bob.add(&group.name, &[dave.user()]).await.expect(200);
    carol
        .add(&group.name, &["somebody-else"])
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn one_who_is_muted_or_a_reader_types_no_more() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (admin, bob) = (&group.admin, &group.members[0]);
    let mut watcher = Socket::ready(&server, admin.user()).await;
    let mut socket = Socket::ready(&server, bob.user()).await;
    let on = json!({"t": "typing", "conversation": group.name, "on": true});
    socket.send(&on).await;

    let begun = watcher.until_t("typing").await;
    set(
        admin,
        &group,
        bob.user(),
        &json!({"muted_until": soon_ms()}),
    )
    .await
    .expect(200);

    let ended = watcher.until_t("typing").await;
    assert!(ended.number("until") < begun.number("until"));

    let refused = socket.request(on.clone()).await;
    assert_eq!(refused["problem"]["code"], "muted", "{refused}");

    set(
        admin,
        &group,
        bob.user(),
        &json!({"muted_until": null, "role": "reader"}),
    )
    .await
    .expect(200);

    let refused = socket.request(on).await;
    assert_eq!(refused["problem"]["code"], "forbidden", "{refused}");

    let send = json!({"t": "send", "conversation": group.name, "text": "x"});
    let refused = socket.request(send).await;
    assert_eq!(refused["problem"]["code"], "forbidden", "{refused}");
}
