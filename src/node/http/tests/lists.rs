//! Lists of conversations: how fresh they are, and what they may lack.

use super::*;
use crate::ids::Offset;
use crate::protocol::Changed;
use crate::protocol::ConversationItem;
use crate::shard::command::{IndexItem, Listed};

fn item(of: &str, version: u64) -> Listed {
    let item = IndexItem {
        conversation: name(of),
        seq: Seq(1),
        joined: true,
        version: Offset(version),
    };
    Listed {
        item,
        pinned: None,
        archived: false,
    }
}

fn whole(event: u64) -> ConversationItem {
    ConversationItem {
        conversation: seen(3),
        last_message: None,
        changed: Some(Changed { event, own: 0 }),
    }
}

#[tokio::test]
async fn a_list_is_as_fresh_as_its_stalest_part() {
    let stale = |ms| Freshness::Stale { ms };
    let cases = [
        (Freshness::Strict, Freshness::Strict, None),
        (Freshness::Strict, stale(7), Some("7")),
        (stale(5), Freshness::Strict, Some("5")),
        (stale(5), stale(7), Some("7")),
    ];

    for (of_index, of_summaries, told) in cases {
        let index = Found::Index(vec![item("a", 9)]);
        let face = Fixture::new().reads_as(Ok((index, of_index)));
        *face.script.summaries.lock().expect("a lock") = (vec![Ok(Some(whole(5)))], of_summaries);
        let answered = face.request("GET", "/v1/conversations").answer().await;
        let mark = answered
            .headers
            .get("rookery-stale")
            .map(|value| value.to_str().expect("text"));
        assert_eq!((answered.status.as_u16(), mark), (200, told));
    }
}

#[tokio::test]
async fn a_list_that_may_lack_what_was_acknowledged_says_so_or_is_refused() {
    let index = || Found::Index(vec![]);
    let face = Fixture::new()
        .reads(index())
        .reads(index())
        .reads(index())
        .reads(index());
    let list = || face.request("GET", "/v1/conversations");
    assert!(!list().answer().await.headers.contains_key("rookery-stale"));

    face.script.clear.store(false, Ordering::SeqCst);
    let marked = list().answer().await;
    assert_eq!(marked.status, 200);
    assert!(
        marked
            .header("rookery-stale")
            .parse::<u64>()
            .expect("milliseconds")
            >= 1
    );
    assert_eq!(
        list().header("rookery-consistency", "strict").code().await,
        Code::Stale
    );

    face.script.clear.store(true, Ordering::SeqCst);
    let strict = list()
        .header("rookery-consistency", "strict")
        .answer()
        .await;
    assert_eq!(
        (strict.status.as_u16(), strict.header("rookery-stale")),
        (200, "")
    );
}

#[tokio::test]
async fn a_list_tells_which_owners_did_not_answer() {
    let index = vec![item("a", 9), item("b", 8), item("c", 6), item("d", 5)];
    let face = Fixture::new().reads(Found::Index(index));
    // Of the one that is not on the page first, and then of the page.
    face.script.summaries.lock().expect("a lock").0 = vec![
        Ok(Some(whole(5))),
        Ok(Some(whole(5))),
        Ok(None),
        Err(Problem::unavailable("x")),
    ];
    let path = "/v1/conversations?limit=3";
    let answered = face.request("GET", path).answer().await;
    let items = answered.json["items"].as_array().expect("items");
    assert_eq!((items.len(), &answered.json["partial"]), (2, &json!(true)));
    assert_eq!(
        (&items[0]["name"], &items[0]["unread"]),
        (&json!("team"), &json!(3))
    );
    assert_eq!(
        (
            &items[1]["name"],
            &items[1]["unread"],
            &items[1]["last_message"]
        ),
        (&json!("c"), &Value::Null, &Value::Null)
    );
    assert_eq!(answered.json["unread_total"], Value::Null);
    assert!(answered.json["now"].is_u64());
    let asked = face.script.asked();
    assert!(
        asked[0].starts_with("outboxes to") && asked[1].starts_with("Index"),
        "before it is read: {asked:?}"
    );
    assert_eq!(
        asked[2..],
        [
            r#"Brief summaries ["d"]"#,
            r#"Whole summaries ["a", "b", "c"]"#
        ]
    );

    let next = answered.json["next"].as_str().expect("a cursor");
    let face = face.reads(Found::Index(vec![]));
    let last = face
        .request("GET", &format!("/v1/conversations?limit=7&after={next}"))
        .answer()
        .await;
    assert_eq!(last.json, json!({"items": [], "next": null}));
    assert_eq!(
        face.script.asked()[1..],
        [
            r#"Index { user: "bob", after: Some(ListPlace { pinned: None, version: o6 }), archived: None, limit: 8 }"#
        ]
    );
}

#[tokio::test]
async fn the_first_page_tells_what_is_unread_in_all_and_sorts_by_what_happened() {
    let index = || Found::Index(vec![item("a", 9), item("b", 8), item("c", 6)]);
    let told = |events: &[u64]| {
        let told = events.iter().map(|event| Ok(Some(whole(*event))));
        (told.collect(), Freshness::Strict)
    };
    let face = Fixture::new().reads(index()).reads(index());
    // Of all, to sort them, and then of the page.
    *face.script.summaries.lock().expect("a lock") = told(&[3, 9, 5, 9, 5]);
    let path = "/v1/conversations?sort=activity&limit=2&changed_since=4";
    let answered = face.request("GET", path).answer().await;
    assert_eq!(answered.json["unread_total"], 9);
    assert_eq!(answered.json["items"].as_array().map(Vec::len), Some(2));

    let next = answered.json["next"].as_str().expect("a cursor");
    *face.script.summaries.lock().expect("a lock") = told(&[3, 9, 5, 3]);
    let rest = face.request("GET", &format!("{path}&after={next}"));
    let last = rest.answer().await;
    assert_eq!(
        last.json,
        json!({"items": [], "next": null}),
        "the third did not change since then"
    );
    let other_order = format!("/v1/conversations?after={next}");
    assert_eq!(
        face.request("GET", &other_order).code().await,
        Code::Invalid
    );
}

#[tokio::test]
async fn only_lists_that_are_gathered_whole_can_be_sorted_by_what_happened() {
    let many: Vec<_> = (0..=2_000)
        .map(|number| item("a", 9_000 - number))
        .collect();
    let face = Fixture::new().reads(Found::Index(many));
    let path = "/v1/conversations?sort=activity";
    assert_eq!(
        face.request("GET", path).code().await,
        Code::TooManyConversations
    );
}
