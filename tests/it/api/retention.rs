//! Conversations that do not keep everything for ever.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::server::{Server, shared};
use crate::support::socket::Socket;
use crate::support::{Fields, Group, eventually_within, unique};

/// A minute at most after it is due, and a machine that is busy.
const GONE_WITHIN: Duration = Duration::from_secs(120);

async fn change(client: &Client, group: &Group, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let body = body.to_string().into();
    client
        .call(Method::PATCH, &group.path(""), &headers, body)
        .await
}

#[tokio::test]
async fn a_retention_is_set_shown_and_taken_away() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    let body = json!({"participants": [unique("bob")], "settings": {"retention_s": 86_400}});
    let made = alice.post("/v1/conversations", &body).await.expect(201);
    assert_eq!(
        (
            &made["settings"]["retention_s"],
            &made["retention_effective_s"],
            &made["first_seq"]
        ),
        (&json!(86_400), &json!(86_400), &json!(1))
    );

    let group = Group::create(&server, 1).await;
    let shown = group.admin.get(&group.path("")).await.expect(200);
    let none = &Value::Null;
    assert_eq!(
        (
            &shown["settings"]["retention_s"],
            &shown["retention_effective_s"]
        ),
        (none, none)
    );

    for retention in [json!(60), json!(3_153_600_000_u64), Value::Null] {
        let body = json!({"settings": {"retention_s": retention}});
        let shown = change(&group.admin, &group, &body).await.expect(200);
        assert_eq!(shown["settings"]["retention_s"], retention);
        assert_eq!(shown["retention_effective_s"], retention);
    }
    let told: Vec<Value> = group
        .admin
        .all_events(&group.name)
        .await
        .into_iter()
        .filter(|event| event["kind"] == "updated")
        .map(|event| event["settings"].clone())
        .collect();
    assert_eq!(told.len(), 3);
    assert_eq!(told[2], json!({"retention_s": null}));

    let list = group.admin.get("/v1/conversations").await.expect(200);
    let item = &list.list("items")[0];
    assert_eq!(
        (&item["first_seq"], &item["retention_effective_s"]),
        (&json!(1), none)
    );

    for wrong in [json!(59), json!(3_153_600_001_u64), json!("1d"), json!(-1)] {
        let body = json!({"settings": {"retention_s": wrong}});
        let refused = change(&group.admin, &group, &body).await;
        let refused = refused.refused(400, "invalid");
        assert!(refused.text("detail").contains("settings.retention_s"));
    }
}

fn gap(name: &str, from: u64, to: u64) -> Value {
    json!({"t": "gap", "conversation": name, "from": from, "to": to, "reason": "pruned"})
}

/// Nothing of the two first events is given, and their message is not known; it was `old`.
async fn gone_by_rest(group: &Group, (sent, old): (&Value, &Value)) {
    let (alice, bob) = (&group.admin, &group.members[0]);
    let messages = group.path("/messages");
    let of_message = |rest: &str| format!("/v1/messages/{}{rest}", sent.text("id"));
    let page = alice.history(&group.name, "").await;
    assert_eq!(
        (&page["items"], &page["before"]),
        (&json!([]), &Value::Null)
    );
    let gap = |from: u64| gap(&group.name, from, 2);
    for (after, items) in [(0, json!([gap(1)])), (1, json!([gap(2)])), (2, json!([]))] {
        let page = alice
            .get(&group.path(&format!("/events?after={after}")))
            .await;
        assert_eq!(page.expect(200), json!({"items": items, "next": null}));
    }
    for path in [
        of_message(""),
        of_message("/reactions"),
        of_message("/receipts"),
    ] {
        alice.get(&path).await.refused(404, "message_unknown");
    }
    let reply = json!({"text": "re", "reply_to": sent["id"]});
    let refused = bob.post(&messages, &reply).await;
    refused.refused(404, "reply_to_unknown");
    let again = alice.post_with_key(&messages, old, "k").await;
    again.refused(404, "message_unknown");
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_is_gone_for_every_way_to_it() {
    let flags = ["--retention-default", "15s", "--retention-max", "2m"];
    let server = Server::start_with(&flags);
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let body = json!({"settings": {"retention_s": 121}});
    let refused = change(alice, &group, &body).await.refused(400, "invalid");
    assert!(refused.text("detail").contains("120"), "{refused}");

    let mut live = Socket::ready(&server, bob.user()).await;
    let messages = group.path("/messages");
    let old = json!({"text": "old"});
    let sent = alice.post_with_key(&messages, &old, "k").await.expect(201);
    let of_message = |rest: &str| format!("/v1/messages/{}{rest}", sent.text("id"));
    bob.put(&of_message("/reaction"), &json!({"reaction": 7}))
        .await
        .expect(204);
    bob.post_nothing(&of_message("/read")).await.expect(204);

    let shown = eventually_within(GONE_WITHIN, "all of it is gone", || async {
        let shown = alice.get(&group.path("")).await.expect(200);
        (shown["first_seq"] == json!(3)).then_some(shown)
    })
    .await;
    assert_eq!(
        (&shown["last_seq"], &shown["retention_effective_s"]),
        (&json!(2), &json!(15))
    );
    let is_pruned = |frame: &Value| frame["t"] == "pruned" && frame["up_to_seq"] == json!(2);
    live.until("that all is gone", is_pruned).await;

    let gap = |from: u64| gap(&group.name, from, 2);
    gone_by_rest(&group, (&sent, &old)).await;

    let mut resumed = Socket::open_at(&server, bob.user(), "/v1/ws?resume=wait").await;
    let positions = json!({"t": "resume", "positions": {&group.name: 0}});
    resumed.send(&positions).await;
    let frame = resumed
        .until("what is gone", |frame| frame["t"] == "gap")
        .await;
    assert_eq!(frame, gap(1));
    resumed.until_t("ready").await;
    let next = alice.say(&group.name, "new").await;
    assert_eq!(next["seq"], json!(3));
    for socket in [&mut live, &mut resumed] {
        socket.until_seq(&group.name, 3).await;
    }
}
