//! The durable changes of a conversation, dense by seq.

use serde_json::json;

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

#[tokio::test]
async fn events_are_the_frames_that_a_live_socket_got() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let alice = &group.admin;
    // Opened before the conversation of the check exists, so that it sees all of it.
    let mut socket = Socket::ready(&server, group.members[0].user()).await;
    let made = alice.create(&[group.members[0].user()]).await;
    let name = made.text("name");
    let first = alice.say(name, "one").await;
    let carol = unique("carol");

    alice
        .add(name, &[&carol, &unique("dora")])
        .await
        .expect(200);
    let reply = json!({"text": "two", "reply_to": first["id"]});
    alice
        .post(&format!("/v1/conversations/{name}/messages"), &reply)
        .await
        .expect(201);
    alice.remove(name, &carol).await.expect(204);

    socket.until_seq(name, 5).await;
    let events = alice.all_events(name).await;
    assert_eq!(json!(socket.changes(name)), json!(events));

    let created = &events[0];
    assert_eq!(
        (created.text("t"), created.text("kind"), created.text("by")),
        ("event", "created", alice.user())
    );
    assert_eq!(created.number("participants_count"), 2);
    assert_eq!(created.list("participants").len(), 2);
    assert!(created["title"].is_null());
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].number("created") <= pair[1].number("created")),
        "{events:?}"
    );

    for message in events.iter().filter(|event| event["t"] == "message") {
        assert!(
            message.get("reactions").is_none() && message.get("my_reaction").is_none(),
            "{message}"
        );
    }
}

#[tokio::test]
async fn events_page_by_seq() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    for i in 0..9 {
        group.admin.say(&group.name, &format!("m{i}")).await;
    }

    let path = group.path("/events");
    let page = group
        .admin
        .get(&format!("{path}?after=3&limit=4"))
        .await
        .expect(200);
    assert_eq!(page.seqs(), [4, 5, 6, 7]);
    assert!(!page["next"].is_null());

    let rest = group
        .admin
        .get(&format!("{path}?after=7&limit=4"))
        .await
        .expect(200);
    assert_eq!(
        (rest.seqs(), rest["next"].is_null()),
        (vec![8, 9, 10], true)
    );

    assert!(
        group
            .admin
            .get(&format!("{path}?after=10"))
            .await
            .expect(200)
            .seqs()
            .is_empty()
    );
    assert_eq!(
        group.admin.get(&path).await.expect(200).seqs(),
        (1..=10).collect::<Vec<u64>>()
    );

    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "after=x",
        "after=-1",
        "before=3",
        "order=asc",
    ] {
        group
            .admin
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }
}
