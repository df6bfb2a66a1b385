//! Reactions to messages.

use http::Method;
use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

pub(super) fn reaction_path(message: &Value) -> String {
    format!("/v1/messages/{}/reaction", message.text("id"))
}

#[tokio::test]
async fn reactions_are_one_per_user_and_counted() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let sent = group.admin.say(&group.name, "vote").await;
    let path = reaction_path(&sent);

    for (client, code) in group.members.iter().zip([1, 1, 1_114_111]) {
        client
            .put(&path, &json!({"reaction": code}))
            .await
            .expect(204);
    }

    group
        .admin
        .put(&path, &json!({"reaction": 1}))
        .await
        .expect(204);
    let message_path = format!("/v1/messages/{}", sent.text("id"));

    let shown = group.members[2].get(&message_path).await.expect(200);
    assert_eq!(
        (&shown["reactions"], &shown["my_reaction"]),
        (&json!({"1": 3, "1114111": 1}), &json!(1_114_111))
    );

    group.members[2]
        .put(&path, &json!({"reaction": 1}))
        .await
        .expect(204);
    group.members[0].delete(&path).await.expect(204);

    group.members[0].delete(&path).await.expect(204);
    let shown = group.members[0].get(&message_path).await.expect(200);
    assert_eq!(
        (&shown["reactions"], &shown["my_reaction"]),
        (&json!({"1": 3}), &json!(null))
    );

    let bodies = [
        json!({"reaction": 0}),
        json!({"reaction": 1_114_112}),
        json!({"reaction": -1}),
        json!({}),
    ];

    for body in bodies.iter().chain(&[
        json!({"reaction": "x"}),
        json!({"reaction": null}),
        json!({"reaction": 1.5}),
    ]) {
        group.admin.put(&path, body).await.refused(400, "invalid");
    }

    assert_eq!(
        group.admin.get(&message_path).await.expect(200)["reactions"],
        json!({"1": 3})
    );
}

#[tokio::test]
async fn a_reaction_is_shown_to_all_participants() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let sent = group.admin.say(&group.name, "hello").await;
    let mut sockets = Vec::new();
    for client in [&group.admin, &group.members[0], &group.members[1]] {
        sockets.push(Socket::ready(&server, client.user()).await);
    }

    let bob = &group.members[0];
    bob.put(&reaction_path(&sent), &json!({"reaction": 128_077}))
        .await
        .expect(204);
    for code in [json!(128_077), json!(null)] {
        if code.is_null() {
            let frame = json!({"t": "react", "message_id": sent["id"], "reaction": null});
            assert_eq!(sockets[1].request(frame).await.text("t"), "ok");
        }
        for socket in &mut sockets {
            let fits =
                |frame: &Value| frame["kind"] == "reaction" && frame.get("reaction") == Some(&code);
            let receipt = socket.find("the reaction", fits).await;
            assert_eq!(
                (receipt.text("t"), receipt.text("user")),
                ("receipt", bob.user())
            );
            assert_eq!(
                (&receipt["message_id"], receipt.text("conversation")),
                (&sent["id"], group.name.as_str())
            );
        }
    }
}

fn page_path(message: &Value, query: &str) -> String {
    format!("/v1/messages/{}/reactions{query}", message.text("id"))
}

/// (user, reaction) of each item.
fn reactions(page: &Value) -> Vec<(String, u64)> {
    let items = page.list("items").iter();
    items
        .map(|item| (item.text("user").to_owned(), item.number("reaction")))
        .collect()
}

#[tokio::test]
async fn every_participant_pages_through_who_reacted_by_name() {
    let server = shared();
    let group = Group::create(&server, 4).await;
    let (alice, gone) = (&group.admin, &group.members[3]);
    let sent = alice.say(&group.name, "vote").await;
    let empty = alice.get(&page_path(&sent, "")).await.expect(200);
    assert_eq!(empty, json!({"items": [], "next": null}));

    let mut expected = Vec::new();
    for (client, code) in group.members.iter().zip([1, 1, 128_077, 4]) {
        let reaction = json!({"reaction": code});
        client
            .put(&reaction_path(&sent), &reaction)
            .await
            .expect(204);
        expected.push((client.user().to_owned(), code));
    }
    expected.sort();
    alice.remove(&group.name, gone.user()).await.expect(204);

    for reader in [alice, &group.members[0]] {
        let page = reader.get(&page_path(&sent, "")).await.expect(200);
        assert_eq!(reactions(&page), expected, "those who have left included");
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let path = page_path(&sent, &format!("?limit=3{after}"));
            let page = reader.get(&path).await.expect(200);
            all.extend(reactions(&page));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={next}");
        }
        assert_eq!(all, expected);
    }

    let page = alice.get(&page_path(&sent, "?limit=1")).await.expect(200);
    assert!(page.list("items")[0].number("ts") >= sent.number("created"));
    for query in ["limit=0", "limit=1001", "limit=-1", "offset=1"] {
        let path = page_path(&sent, &format!("?{query}"));
        alice.get(&path).await.refused(400, "invalid");
    }
    let path = page_path(&sent, "?after=a%20b");
    alice.get(&path).await.refused(400, "invalid_name");
    let path = page_path(&sent, "");
    let headed = alice.call(Method::HEAD, &path, &[], "".into()).await;
    assert_eq!((headed.status, headed.body.len()), (200, 0));
}

#[tokio::test]
async fn the_page_of_reactions_has_each_change_at_once() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "vote").await;
    let (of, at) = (reaction_path(&sent), page_path(&sent, ""));

    for code in [5, 6, 5] {
        bob.put(&of, &json!({"reaction": code})).await.expect(204);
        let page = alice.get(&at).await.expect(200);
        assert_eq!(reactions(&page), [(bob.user().to_owned(), code)]);
    }
    bob.delete(&of).await.expect(204);
    assert_eq!(reactions(&alice.get(&at).await.expect(200)), []);

    bob.put(&of, &json!({"reaction": 7})).await.expect(204);
    let path = format!("/v1/messages/{}", sent.text("id"));
    alice.delete(&path).await.expect(204);
    let page = bob.get(&at).await.expect(200);
    assert_eq!(
        page,
        json!({"items": [], "next": null}),
        "of a deleted message"
    );
}

// what must not happen: 12 — strangers learn nothing of who reacted.
#[tokio::test]
async fn who_reacted_is_told_to_participants_alone() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let sent = alice.say(&group.name, "vote").await;
    let reaction = json!({"reaction": 7});
    bob.put(&reaction_path(&sent), &reaction).await.expect(204);
    alice.remove(&group.name, bob.user()).await.expect(204);

    for nobody in [bob, &server.client(&unique("mallory"))] {
        for id in [sent.text("id"), "123e4567-e89b-42d3-a456-426614174000", "7"] {
            nobody
                .get(&format!("/v1/messages/{id}/reactions"))
                .await
                .refused(404, "message_unknown");
        }
    }
}
