//! Who is in a conversation, who may change that, and what it shows to whom.

use serde_json::json;

use crate::support::server::shared;
use crate::support::{Fields, Group, percent, unique};

#[tokio::test]
async fn the_admin_adds_and_removes_and_each_is_one_event() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, carol, dora) = (
        &group.admin,
        server.client(&unique("carol")),
        unique("dora"),
    );

    let grown = alice
        .add(&group.name, &[carol.user(), &dora, carol.user()])
        .await
        .expect(200);
    assert_eq!(
        (grown.number("participants_count"), grown.number("last_seq")),
        (4, 2)
    );
    let again = alice.add(&group.name, &[carol.user()]).await.expect(200);
    assert_eq!(again.number("last_seq"), 2, "members again: no event");

    carol.say(&group.name, "hello").await;
    alice.remove(&group.name, carol.user()).await.expect(204);
    alice.remove(&group.name, carol.user()).await.expect(204);
    alice
        .remove(&group.name, &unique("nobody"))
        .await
        .expect(204);
    let events = alice.all_events(&group.name).await;

    assert_eq!(
        events.len(),
        4,
        "created, joined, message, left: {events:?}"
    );
    assert_eq!(events[0]["kind"], "created");
    assert_eq!(
        (events[1].text("kind"), events[1].text("by")),
        ("joined", alice.user())
    );

    assert_eq!(events[1]["users"], json!([carol.user(), dora]));
    assert_eq!(events[2]["t"], "message");
    assert_eq!(
        (events[3].text("kind"), events[3].text("by")),
        ("left", alice.user())
    );
    assert_eq!(events[3].text("user"), carol.user());
    assert!(
        events[3]["admin"].is_null(),
        "the admin did not change: {}",
        events[3]
    );
}

#[tokio::test]
async fn only_the_admin_changes_others_and_anyone_leaves() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (bob, carol) = (&group.members[0], &group.members[1]);
    let mallory = server.client(&unique("mallory"));

    bob.add(&group.name, &["dora"])
        .await
        .refused(403, "forbidden");
    bob.remove(&group.name, carol.user())
        .await
        .refused(403, "forbidden");
    bob.remove(&group.name, group.admin.user())
        .await
        .refused(403, "forbidden");
    mallory
        .add(&group.name, &["dora"])
        .await
        .refused(403, "not_participant");
    mallory
        .remove(&group.name, bob.user())
        .await
        .refused(403, "not_participant");
    bob.remove(&group.name, bob.user()).await.expect(204);

    bob.get(&group.path(""))
        .await
        .refused(403, "not_participant");
    assert_eq!(
        group.admin.all_events(&group.name).await.len(),
        2,
        "refusals leave no trace"
    );
}

#[tokio::test]
async fn the_longest_standing_participant_follows_an_admin_who_leaves() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob, carol) = (
        &group.admin,
        &group.members[0],
        server.client(&unique("carol")),
    );
    alice.add(&group.name, &[carol.user()]).await.expect(200);
    alice.remove(&group.name, alice.user()).await.expect(204);

    let left = bob.all_events(&group.name).await.pop().unwrap();
    assert_eq!(
        (left.text("kind"), left.text("user"), left.text("admin")),
        ("left", alice.user(), bob.user())
    );
    assert_eq!(
        bob.get(&group.path("")).await.expect(200).text("admin"),
        bob.user()
    );

    carol
        .add(&group.name, &["dora"])
        .await
        .refused(403, "forbidden");
    bob.add(&group.name, &[alice.user()]).await.expect(200);

    alice
        .add(&group.name, &["dora"])
        .await
        .refused(403, "forbidden");
    bob.remove(&group.name, bob.user()).await.expect(204);

    // Alice is back, but carol has been there longer.
    assert_eq!(
        alice.get(&group.path("")).await.expect(200).text("admin"),
        carol.user()
    );
}

#[tokio::test]
async fn a_conversation_that_everyone_left_keeps_its_name() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let body = json!({"participants": [alice.user()], "name": unique("left")});
    alice.post("/v1/conversations", &body).await.expect(201);

    alice
        .remove(body.text("name"), alice.user())
        .await
        .expect(204);
    alice
        .get(&format!("/v1/conversations/{}", body.text("name")))
        .await
        .refused(403, "not_participant");
    alice
        .post("/v1/conversations", &body)
        .await
        .refused(409, "name_taken");
}

#[tokio::test]
async fn someone_who_comes_back_reads_the_whole_history() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    alice.say(&group.name, "before").await;
    alice.remove(&group.name, bob.user()).await.expect(204);
    alice.say(&group.name, "between").await;
    bob.get(&group.path("/messages"))
        .await
        .refused(403, "not_participant");
    alice.add(&group.name, &[bob.user()]).await.expect(200);
    alice.say(&group.name, "after").await;
    assert_eq!(
        bob.history(&group.name, "order=asc").await.seqs(),
        [2, 4, 6]
    );
}

// what must not happen: 17 — more than a thousand members, and each can post and read.
#[tokio::test]
async fn a_conversation_of_more_than_a_thousand_works_for_the_last_member_too() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let prefix = unique("crowd");
    let names: Vec<String> = (0..1_500).map(|i| format!("{prefix}-{i:04}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let made = alice.create(&all[..1_000]).await;
    assert_eq!(made.number("participants_count"), 1_001);
    assert!(made.list("participants").len() <= 100);

    let name = made.text("name");
    assert_eq!(
        alice
            .add(name, &all[1_000..])
            .await
            .expect(200)
            .number("participants_count"),
        1_501
    );

    for user in [&names[999], &names[1_000], &names[1_499]] {
        let client = server.client(user);
        let sent = client.say(name, "here").await;
        assert_eq!(
            client.history(name, "limit=1").await.list("items")[0]["id"],
            sent["id"]
        );
    }
}

// what must not happen: 16 — nobody is lost between the request and the conversation.
#[tokio::test]
async fn every_participant_named_is_a_participant() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let prefix = unique("p");
    let mut names: Vec<String> = (0..1_000).map(|i| format!("{prefix}-{i:04}")).collect();
    let made = alice
        .create(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    names.push(alice.user().to_owned());
    names.sort();

    let mut listed = Vec::new();
    let mut after = String::new();

    loop {
        let path = format!(
            "/v1/conversations/{}/participants?limit=300{after}",
            made.text("name")
        );
        let page = alice.get(&path).await.expect(200);
        listed.extend(
            page.list("items")
                .iter()
                .map(|item| item.text("name").to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        assert!(listed.len() < names.len(), "the cursor does not move on");
        assert_eq!(page.list("items").len(), 300);
        after = format!("&after={}", percent(next));
    }

    listed.sort();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn the_list_of_participants_begins_after_a_name() {
    let server = shared();
    let group = Group::create(&server, 3).await;
    let path = group.path("/participants");
    let whole = group.admin.get(&path).await.expect(200);
    let names: Vec<&str> = whole
        .list("items")
        .iter()
        .map(|item| item.text("name"))
        .collect();
    assert_eq!(names.len(), 4);
    assert!(whole["next"].is_null());

    let rest = group
        .admin
        .get(&format!("{path}?after={}", names[1]))
        .await
        .expect(200);
    assert_eq!(json!(rest.list("items")), json!(whole.list("items")[2..]));

    for query in ["limit=0", "limit=1001", "limit=-1", "before=x"] {
        group
            .admin
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn adding_what_is_no_list_of_names_is_400() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let many: Vec<String> = (0..1_001).map(|i| format!("user-{i}")).collect();

    for body in [
        json!({}),
        json!({"participants": []}),
        json!({"participants": many}),
        json!({"participants": [{}]}),
    ] {
        group
            .admin
            .post(&group.path("/participants"), &body)
            .await
            .refused(400, "invalid");
    }

    group
        .admin
        .add(&group.name, &["not a name"])
        .await
        .refused(400, "invalid_name");
    assert_eq!(
        group
            .admin
            .get(&group.path(""))
            .await
            .expect(200)
            .number("participants_count"),
        2
    );
}
