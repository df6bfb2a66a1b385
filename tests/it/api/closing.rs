//! A conversation is deleted: for everybody, at once, and for good.

use serde_json::{Value, json};

use crate::support::server::shared;
use crate::support::socket::Socket;
use crate::support::{Fields, Group, unique};

fn is_closed(frame: &Value) -> bool {
    frame["kind"] == "closed"
}

#[tokio::test]
async fn the_admin_alone_deletes_it_and_whoever_took_part_is_told_so() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let stranger = server.client(&unique("stranger"));
    let message = bob.say(&group.name, "words").await;
    carol.remove(&group.name, carol.user()).await.expect(204);

    let path = group.path("");
    bob.delete(&path).await.refused(403, "forbidden");
    for other in [&stranger, carol] {
        other.delete(&path).await.refused(403, "not_participant");
    }
    admin.delete(&path).await.expect(204);
    admin.delete(&path).await.expect(204);
    bob.delete(&path).await.refused(410, "conversation_closed");

    for (client, status, code) in [
        (admin, 410, "conversation_closed"),
        (bob, 410, "conversation_closed"),
        (carol, 403, "not_participant"),
        (&stranger, 403, "not_participant"),
    ] {
        for rest in [
            "",
            "/participants",
            "/messages",
            "/events",
            "/watermarks",
            "/bans",
        ] {
            let answer = client.get(&group.path(rest)).await;
            answer.refused(status, code);
        }
        let text = json!({"text": "hello"});
        let sent = client.post(&group.path("/messages"), &text).await;
        sent.refused(status, code);
        let added = client.add(&group.name, &["dave"]).await;
        added.refused(status, code);
    }

    let of_message = |rest: &str| format!("/v1/messages/{}{rest}", message.text("id"));
    for client in [admin, bob, &stranger] {
        for rest in ["", "/reactions", "/receipts"] {
            let answer = client.get(&of_message(rest)).await;
            answer.refused(404, "message_unknown");
        }
        let read = client.post_nothing(&of_message("/read")).await;
        read.refused(404, "message_unknown");
        client
            .put(&of_message("/reaction"), &json!({"reaction": 7}))
            .await
            .refused(404, "message_unknown");
        client
            .delete(&of_message(""))
            .await
            .refused(404, "message_unknown");
    }
}

#[tokio::test]
async fn it_is_in_no_list_its_name_stays_taken_and_its_key_tells_why() {
    let server = shared();
    let admin = server.client(&unique("admin"));
    let bob = server.client(&unique("bob"));
    let name = unique("closed");
    let body = json!({"participants": [bob.user()], "name": name, "title": "T"});
    let made = admin.post_with_key("/v1/conversations", &body, "k").await;
    made.expect(201);
    admin.say(&name, "one").await;
    let kept = admin.create(&[bob.user()]).await;

    admin
        .delete(&format!("/v1/conversations/{name}"))
        .await
        .expect(204);
    for client in [&admin, &bob] {
        let list = client.get("/v1/conversations").await.expect(200);
        let names: Vec<&str> = list
            .list("items")
            .iter()
            .map(|item| item.text("name"))
            .collect();
        assert_eq!(names, [kept.text("name")]);
    }

    let again = admin.post_with_key("/v1/conversations", &body, "k").await;
    again.refused(410, "conversation_closed");
    for client in [&admin, &bob] {
        let other = json!({"participants": ["x"], "name": name});
        let answer = client.post("/v1/conversations", &other).await;
        answer.refused(409, "name_taken");
    }
}

#[tokio::test]
async fn sessions_get_its_last_event_and_those_who_were_away_a_gap_before_it() {
    let server = shared();
    let group = Group::create(&server, 2).await;
    let (admin, bob, carol) = (&group.admin, &group.members[0], &group.members[1]);
    let mut live = Socket::ready(&server, bob.user()).await;
    let message = admin.say(&group.name, "words").await;
    admin.delete(&group.path("")).await.expect(204);

    let closed = live.until("its last event", is_closed).await;
    assert_eq!((closed.text("by"), closed.number("seq")), (admin.user(), 3));
    assert_eq!(live.seqs(&group.name), [2, 3]);
    for frame in [
        json!({"t": "send", "conversation": group.name, "text": "x"}),
        json!({"t": "watch", "conversations": [group.name]}),
        json!({"t": "typing", "conversation": group.name, "on": true}),
    ] {
        let refused = live.request(frame).await;
        assert_eq!(
            refused["problem"]["code"], "conversation_closed",
            "{refused}"
        );
    }
    let read = json!({"t": "read", "message_id": message["id"]});
    let refused = live.request(read).await;
    assert_eq!(refused["problem"]["code"], "message_unknown", "{refused}");

    for (position, gap) in [(0, Some((1, 2))), (1, Some((2, 2))), (2, None)] {
        let mut socket = Socket::open_at(&server, carol.user(), "/v1/ws?resume=wait").await;
        let resume = json!({"t": "resume", "positions": {&group.name: position}});
        socket.send(&resume).await;
        socket.until_t("ready").await;
        assert_eq!(
            socket.gaps(&group.name),
            gap.into_iter().collect::<Vec<_>>()
        );
        assert_eq!(socket.seqs(&group.name), [3], "from {position}");
        let told = |t: &str| socket.frames.iter().filter(|frame| frame["t"] == t).count();
        assert_eq!(told("live"), 0, "from {position}");
        let gap = socket.frames.iter().find(|frame| frame["t"] == "gap");
        assert!(gap.is_none_or(|gap| gap["reason"] == "closed"), "{gap:?}");
    }

    // Whoever has seen it, and whoever does not ask, hears nothing of it.
    let mut socket = Socket::ready(&server, carol.user()).await;
    assert_eq!(socket.seqs(&group.name), [] as [u64; 0]);
    let seen = json!({"t": "resume", "positions": {&group.name: 3}});
    socket.send(&seen).await;
    let gap = socket.until_t("gap").await;
    assert_eq!(gap.text("reason"), "not_participant");
}
