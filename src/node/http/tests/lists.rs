//! Lists of conversations: how fresh they are, and what they may lack.

use super::*;
use crate::ids::Offset;
use crate::protocol::ConversationItem;
use crate::shard::command::IndexItem;

fn item(of: &str, version: u64, joined: bool) -> IndexItem {
    IndexItem {
        conversation: name(of),
        seq: Seq(1),
        joined,
        version: Offset(version),
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
        let index = Found::Index {
            items: vec![item("a", 9, true)],
            next: None,
        };
        let face = Fixture::new().reads_as(Ok((index, of_index)));
        let whole = ConversationItem {
            conversation: seen(3),
            last_message: None,
        };
        *face.script.summaries.lock().expect("a lock") = (vec![Ok(Some(whole))], of_summaries);
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
    let index = || Found::Index {
        items: vec![],
        next: None,
    };
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
    let index = vec![
        item("a", 9, true),
        item("b", 8, true),
        item("gone", 7, false),
        item("c", 6, true),
    ];
    let face = Fixture::new().reads(Found::Index {
        items: index,
        next: Some(Offset(6)),
    });
    let whole = ConversationItem {
        conversation: seen(3),
        last_message: None,
    };
    face.script.summaries.lock().expect("a lock").0 =
        vec![Ok(Some(whole)), Ok(None), Err(Problem::unavailable("x"))];
    let answered = face.request("GET", "/v1/conversations").answer().await;
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
    let asked = face.script.asked();
    assert!(
        asked[0].starts_with("outboxes to") && asked[1].starts_with("Index"),
        "before it is read: {asked:?}"
    );
    assert_eq!(asked[2], r#"summaries ["a", "b", "c"]"#);

    let next = answered.json["next"].as_str().expect("a cursor");
    let face = face.reads(Found::Index {
        items: vec![],
        next: None,
    });
    let last = face
        .request("GET", &format!("/v1/conversations?limit=7&after={next}"))
        .answer()
        .await;
    assert_eq!(last.json, json!({"items": [], "next": null}));
    assert_eq!(
        face.script.asked()[1..],
        [r#"Index { user: "bob", after: Some(o6), limit: 7 }"#]
    );
}
