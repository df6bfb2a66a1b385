//! Reactions to messages.

use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group};

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
