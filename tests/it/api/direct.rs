//! The conversation of two: one of each two, of which neither has rights over the other.

use serde_json::json;

use crate::api::roles::patch;
use crate::support::client::Client;
use crate::support::server::{Server, shared};
use crate::support::socket::Socket;
use crate::support::{Fields, unique};

/// Two users who have nothing with each other yet.
fn two(server: &Server) -> (Client, Client) {
    let client = |name: &str| server.client(&unique(name));
    (client("alice"), client("bob"))
}

#[tokio::test]
async fn two_have_one_conversation_whoever_opens_it() {
    let server = shared();
    let (alice, bob) = two(&server);
    let open = json!({"user": bob.user()});

    let made = alice.post("/v1/direct", &open).await.expect(201);
    let name = made.text("name");
    assert!(name.starts_with("d:"), "{name}");
    assert_eq!(
        (&made["direct"], &made["title"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(made.number("participants_count"), 2);

    let again = alice.post("/v1/direct", &open).await.expect(200);
    let of_bob = json!({"user": alice.user()});
    let other = bob.post("/v1/direct", &of_bob).await.expect(200);
    for conversation in [&again, &other] {
        assert_eq!(conversation.text("name"), name);
        assert_eq!(conversation.number("last_seq"), 1, "no event");
    }

    bob.say(name, "hello").await;
    let listed = alice.get("/v1/conversations").await.expect(200);
    assert_eq!(listed["items"][0]["direct"], json!(true));
    assert_eq!(listed["items"][0]["unread"], json!(1));
}

#[tokio::test]
async fn both_at_once_open_the_same() {
    let server = shared();
    let (alice, bob) = two(&server);
    let (of_alice, of_bob) = (json!({"user": bob.user()}), json!({"user": alice.user()}));
    let (one, other) = tokio::join!(
        alice.post("/v1/direct", &of_alice),
        bob.post("/v1/direct", &of_bob),
    );

    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    let made = one.expect(one.status);
    let events = alice.all_events(made.text("name")).await;
    assert_eq!(events.len(), 1, "one creation: {events:?}");
}

#[tokio::test]
async fn neither_has_rights_over_the_other_and_nobody_else_is_added() {
    let server = shared();
    let (alice, bob) = two(&server);
    let open = json!({"user": bob.user()});
    let made = alice.post("/v1/direct", &open).await.expect(201);
    let name = made.text("name");
    let path = |rest: &str| format!("/v1/conversations/{name}{rest}");
    let of_bob = bob.say(name, "mine").await;

    for client in [&alice, &bob] {
        let other = if client.user() == alice.user() {
            bob.user()
        } else {
            alice.user()
        };
        let refused = client.add(name, &["carol"]).await;
        refused.refused(403, "forbidden");
        let refused = client.remove(name, other).await;
        refused.refused(403, "forbidden");
        let refused = client.delete(&path("")).await;
        refused.refused(403, "forbidden");
        let refused = client.get(&path("/bans")).await;
        refused.refused(403, "forbidden");
        let ban = path(&format!("/bans/{other}"));
        let refused = client.put(&ban, &json!({})).await;
        refused.refused(403, "forbidden");
        let title = json!({"title": "ours"});
        let refused = patch(client, &path(""), &title).await;
        refused.refused(403, "forbidden");
        let member = path(&format!("/participants/{other}"));
        let refused = client.put(&member, &json!({"role": "reader"})).await;
        refused.refused(403, "forbidden");
    }
    let message = format!("/v1/messages/{}", of_bob.text("id"));
    alice.delete(&message).await.refused(403, "forbidden");
    bob.delete(&message).await.expect(204);
    let stranger = server.client(&unique("stranger"));
    let refused = stranger.get(&path("")).await;
    refused.refused(403, "not_participant");
}

#[tokio::test]
async fn whoever_left_takes_part_again_when_either_opens_it() {
    let server = shared();
    let (alice, bob) = two(&server);
    let open = json!({"user": bob.user()});
    let made = alice.post("/v1/direct", &open).await.expect(201);
    let name = made.text("name");

    bob.remove(name, bob.user()).await.expect(204);
    let mut socket = Socket::ready(&server, bob.user()).await;
    let opened = alice.post("/v1/direct", &open).await.expect(200);
    assert_eq!(opened.number("participants_count"), 2);
    let is_joined = |frame: &serde_json::Value| frame["kind"] == "joined";
    let joined = socket.find("their return", is_joined).await;
    assert_eq!(
        (joined.text("conversation"), &joined["users"]),
        (name, &json!([bob.user()]))
    );

    for client in [&alice, &bob] {
        client.remove(name, client.user()).await.expect(204);
    }
    let of_bob = json!({"user": alice.user()});
    let opened = bob.post("/v1/direct", &of_bob).await.expect(200);
    assert_eq!(
        (
            opened.number("participants_count"),
            opened.number("last_seq")
        ),
        (2, 6),
        "created, left, joined, left, left, joined"
    );
    alice.say(name, "here again").await;
}

#[tokio::test]
async fn bad_requests_are_refused_and_no_other_creation_takes_such_a_name() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    for (body, code) in [
        (json!({"user": alice.user()}), "invalid"),
        (json!({"user": "a b"}), "invalid_name"),
        (json!({"user": 7}), "invalid"),
        (json!({}), "invalid"),
        (json!({"user": "bob", "title": "T"}), "invalid"),
    ] {
        alice.post("/v1/direct", &body).await.refused(400, code);
    }

    let body = json!({"participants": ["bob"], "name": "d:ours"});
    let refused = alice.post("/v1/conversations", &body).await;
    refused.refused(400, "invalid");
}
