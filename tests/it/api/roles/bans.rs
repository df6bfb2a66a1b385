//! Who is banned, and what that means.

use super::*;

async fn ban(by: &Client, group: &Group, whom: &str, reason: &Value) -> Answer {
    by.put(&group.path(&format!("/bans/{whom}")), reason).await
}

async fn bans(by: &Client, group: &Group, query: &str) -> Value {
    by.get(&group.path(&format!("/bans{query}")))
        .await
        .expect(200)
}

#[tokio::test]
async fn a_ban_removes_and_keeps_out_until_it_is_ended() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let mut socket = Socket::ready(&server, bob.user()).await;
    ban(admin, &group, bob.user(), &json!({"reason": "spam"}))
        .await
        .expect(204);
    let left = socket
        .until("the ban", |frame| frame["kind"] == "left")
        .await;
    assert_eq!(left["banned"], true);

    assert_eq!(left.get("reason"), None);
    bob.get(&group.path(""))
        .await
        .refused(403, "not_participant");
    let refused = admin
        .add(&group.name, &["somebody-new", bob.user()])
        .await
        .refused(403, "banned");
    assert!(refused.text("detail").contains(bob.user()), "{refused}");

    let view = admin.get(&group.path("")).await.expect(200);
    assert_eq!(view.number("participants_count"), 2, "nobody was added");

    let listed = bans(admin, &group, "").await;
    let one = &listed.list("items")[0];
    assert_eq!(
        (one.text("user"), one.text("by"), one.text("reason")),
        (bob.user(), admin.user(), "spam")
    );

    // Again: another reason, no event; a plain `left` has no `banned`.
    let seq = view.number("last_seq");
    ban(admin, &group, bob.user(), &json!({"reason": null}))
        .await
        .expect(204);
    let path = group.path(&format!("/bans/{}", bob.user()));

    let bodyless = admin
        .call(Method::PUT, &path, &[], bytes::Bytes::new())
        .await;
    bodyless.expect(204);
    let listed = bans(admin, &group, "").await;
    assert_eq!(listed.list("items")[0]["reason"], Value::Null);

    for _ in 0..2 {
        admin.delete(&path).await.expect(204);
    }

    assert_eq!(bans(admin, &group, "").await.list("items").len(), 0);
    let view = admin.get(&group.path("")).await.expect(200);
    assert_eq!(view.number("last_seq"), seq);

    admin.add(&group.name, &[bob.user()]).await.expect(200);
    carol.remove(&group.name, carol.user()).await.expect(204);

    let events = admin.all_events(&group.name).await;
    let last = events.last().expect("events");
    assert_eq!((last.text("kind"), last.get("banned")), ("left", None));
}

#[tokio::test]
async fn bans_are_for_those_who_lead_and_are_listed_by_name() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (admin, bob) = (&group.admin, &group.members[0]);
    for name in ["u-c", "u-a", "u-b"] {
        ban(admin, &group, name, &json!({})).await.expect(204);
    }

    let first = bans(admin, &group, "?limit=2").await;
    let names = |page: &Value| -> Vec<String> {
        page.list("items")
            .iter()
            .map(|one| one.text("user").to_owned())
            .collect()
    };

    assert_eq!(
        (names(&first), first.text("next")),
        (vec!["u-a".to_owned(), "u-b".to_owned()], "u-b")
    );

    let rest = bans(admin, &group, "?limit=2&after=u-b").await;
    assert_eq!(
        (names(&rest), &rest["next"]),
        (vec!["u-c".to_owned()], &Value::Null)
    );

    for answer in [
        bob.get(&group.path("/bans")).await,
        ban(bob, &group, "u-d", &json!({})).await,
        bob.delete(&group.path("/bans/u-a")).await,
    ] {
        answer.refused(403, "forbidden");
    }

    ban(admin, &group, admin.user(), &json!({}))
        .await
        .refused(400, "invalid");
    for body in [
        json!({"reason": "x".repeat(257)}),
        json!({"why": "x"}),
        json!([]),
    ] {
        ban(admin, &group, "u-d", &body)
            .await
            .refused(400, "invalid");
    }

    admin
        .get(&group.path("/bans?limit=1001"))
        .await
        .refused(400, "invalid");
    for (path, allowed) in [("/bans", "GET, HEAD"), ("/bans/u-a", "DELETE, PUT")] {
        let answer = admin.post(&group.path(path), &json!({})).await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allowed);
    }

    let stranger = server.client("stranger-of-bans");
    stranger
        .get(&group.path("/bans"))
        .await
        .refused(403, "not_participant");
}
