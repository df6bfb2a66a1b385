//! The list of the conversations of a user.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::shared;
use crate::support::{Fields, Group, eventually, percent, unique};

// what must not happen: 30 — the list is paged by a cursor and tells unread and the last message.
#[tokio::test]
async fn the_list_has_the_newest_joined_first_in_pages_without_overlap() {
    let server = shared();
    let (alice, bob) = (
        server.client(&unique("alice")),
        server.client(&unique("bob")),
    );
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, alice.create(&[bob.user()]).await.text("name").to_owned());
    }

    // Joined later than made: on top.
    let carols = server
        .client(&unique("carol"))
        .create(&[&unique("dora")])
        .await;
    let admin = server.client(carols.text("admin"));

    for name in &expected {
        assert!(bob.get(&format!("/v1/conversations/{name}")).await.status == 200);
    }

    admin
        .add(carols.text("name"), &[bob.user()])
        .await
        .expect(200);
    expected.insert(0, carols.text("name").to_owned());

    let listed = eventually("all of bob's conversations are listed", || async {
        let mut names = Vec::new();
        let mut path = "/v1/conversations?limit=3".to_owned();
        loop {
            let page = bob.get(&path).await.expect(200);
            assert!(page.list("items").len() <= 3, "{page}");
            assert!(
                names.len() <= expected.len(),
                "the cursor does not move on: {names:?}"
            );
            names.extend(
                page.list("items")
                    .iter()
                    .map(|item| item.text("name").to_owned()),
            );
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/v1/conversations?limit=3&after={}", percent(next));
        }
        (names.len() >= expected.len()).then_some(names)
    })
    .await;
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn the_creator_finds_the_conversation_in_the_list_at_once() {
    let server = shared();
    let alice = server.client(&unique("alice"));
    for _ in 0..5 {
        let made = alice.create(&["bob"]).await;
        let list = alice.get("/v1/conversations?limit=1").await.expect(200);
        assert_eq!(list.list("items")[0].text("name"), made.text("name"));
    }
}

#[tokio::test]
async fn the_list_counts_what_others_wrote_after_the_read_watermark() {
    let server = shared();
    let group = Group::create(&server, 1).await;
    let (alice, bob) = (&group.admin, &group.members[0]);
    let item = |client: &Client| {
        let client = client.clone();
        async move {
            client
                .get("/v1/conversations")
                .await
                .expect(200)
                .list("items")
                .first()
                .cloned()
        }
    };

    eventually("bob has it in the list", || item(bob)).await;
    assert!(item(bob).await.unwrap()["last_message"].is_null());

    let mut last = Value::Null;
    for text in ["one", "two", "three"] {
        last = alice.say(&group.name, text).await;
    }

    let bobs = item(bob).await.unwrap();
    assert_eq!((bobs.number("unread"), bobs.number("last_seq")), (3, 4));
    assert_eq!(bobs["last_message"]["id"], last["id"]);
    assert_eq!(bobs["last_message"]["text"], "three");

    let alices = item(alice).await.unwrap();
    assert_eq!(
        alices.number("unread"),
        0,
        "one's own messages are not unread"
    );

    let second = alice.history(&group.name, "order=asc").await.list("items")[1].clone();
    bob.post_nothing(&format!("/v1/messages/{}/read", second.text("id")))
        .await
        .expect(204);
    assert_eq!(item(bob).await.unwrap().number("unread"), 1);

    let answer = bob.say(&group.name, "four").await;
    assert_eq!(item(bob).await.unwrap().number("unread"), 1);

    bob.post_nothing(&format!("/v1/messages/{}/read", answer.text("id")))
        .await
        .expect(204);
    assert_eq!(item(bob).await.unwrap().number("unread"), 0);
    assert_eq!(item(alice).await.unwrap().number("unread"), 1);
}

#[tokio::test]
async fn the_list_refuses_limits_and_cursors_that_are_none() {
    let server = shared();
    let alice = server.client(&unique("alice"));

    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "after=nonsense",
        "offset=3",
        "page=1",
    ] {
        alice
            .get(&format!("/v1/conversations?{query}"))
            .await
            .refused(400, "invalid");
    }

    let empty = alice.get("/v1/conversations?limit=200").await.expect(200);
    assert_eq!(
        (empty.list("items").len(), empty["next"].is_null()),
        (0, true)
    );
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/conversations?{query}")).await;
    let page = page.expect(200);
    let items = page.list("items").iter();
    items.map(|item| item.text("name").to_owned()).collect()
}

#[tokio::test]
async fn the_list_has_what_is_pinned_first_and_is_narrowed_and_sorted_as_asked() {
    let server = shared();
    let (alice, bob) = (
        server.client(&unique("alice")),
        server.client(&unique("bob")),
    );
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(alice.create(&[bob.user()]).await.text("name").to_owned());
    }
    let [a, b, c, d, e] = made.as_slice() else {
        panic!("five")
    };
    let set = async |name: &str, body: Value| {
        let path = format!("/v1/conversations/{name}/me");
        alice.put(&path, &body).await.expect(200);
    };
    set(a, json!({"pinned": 1})).await;
    set(c, json!({"pinned": 0, "archived": true})).await;
    set(d, json!({"archived": true})).await;

    let all = [c, a, e, d, b].map(String::clone);
    eventually("the list has the pins", || async {
        (names(&alice, "").await == all).then_some(())
    })
    .await;
    assert_eq!(names(&alice, "archived=true").await, [c.clone(), d.clone()]);
    let open = [a, e, b].map(String::clone);
    assert_eq!(names(&alice, "archived=false").await, open);

    for query in ["limit=2", "limit=2&sort=activity"] {
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/conversations?{query}{after}");
            let page = alice.get(&path).await.expect(200);
            assert_eq!(page["now"].is_u64(), after.is_empty(), "{page}");
            let items = page.list("items").iter();
            paged.extend(items.map(|item| item.text("name").to_owned()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={}", percent(next));
        }
        assert_eq!(paged, all, "{query}");
    }

    bob.say(b, "on top").await;
    bob.say(d, "higher still").await;
    let active = [c, a, d, b, e].map(String::clone);
    assert_eq!(names(&alice, "sort=activity").await, active);
    let first = alice.get("/v1/conversations?limit=1").await.expect(200);
    assert_eq!(first.number("unread_total"), 2);
    assert_eq!(names(&bob, "sort=joined").await[0], *e);
}

#[tokio::test]
async fn the_list_tells_what_changed_since() {
    let server = shared();
    let (alice, bob) = (
        server.client(&unique("alice")),
        server.client(&unique("bob")),
    );
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(alice.create(&[bob.user()]).await.text("name").to_owned());
    }
    let list = alice.get("/v1/conversations").await.expect(200);
    // Later than all of that by the clock of whoever decides, however fast this test is.
    let since = list.number("now") + 1;
    let later = async |name: &str| {
        eventually("its time has come", || async {
            let sent = bob.say(name, "later").await;
            (sent.number("created") >= since).then_some(sent)
        })
        .await
    };
    later(&made[1]).await;
    let changed = names(&alice, &format!("changed_since={since}")).await;
    assert_eq!(changed, [made[1].clone()]);

    let path = format!("/v1/conversations/{}/me", made[0]);
    alice
        .put(&path, &json!({"archived": true}))
        .await
        .expect(200);
    let changed = names(&alice, &format!("changed_since={since}")).await;
    assert_eq!(changed, [made[1].clone(), made[0].clone()]);
    assert_eq!(
        names(&alice, "changed_since=9007199254740991").await,
        Vec::<String>::new()
    );
    for bad in ["archived=yes", "sort=name", "changed_since=-1"] {
        let path = format!("/v1/conversations?{bad}");
        alice.get(&path).await.refused(400, "invalid");
    }
}
