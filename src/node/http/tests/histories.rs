//! Histories and events: which page is read, and what it marks.

use super::*;
use crate::protocol::HistoryPage;
use crate::shard::command::{Around, HistoryQuery};

#[tokio::test]
async fn a_history_marks_what_it_gave_as_delivered() {
    let page = || {
        Found::History(HistoryPage {
            items: vec![message(3), message(2)],
            before: None,
            after: None,
        })
    };
    let face = Fixture::new().reads(page()).reads(page());

    assert_eq!(
        face.request("GET", MESSAGES).answer().await.json["items"][0]["seq"],
        3
    );

    let asked = face.script.asked();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].starts_with("Delivered") && asked[1].contains("up_to: 3"),
        "{}",
        asked[1]
    );

    let head = face.request("HEAD", MESSAGES).answer().await;
    assert_eq!(face.script.asked().len(), 1, "a HEAD gives no message");
    assert!(
        head.bytes.is_empty()
            && head
                .header("content-length")
                .parse::<usize>()
                .expect("a length")
                > 100
    );
    assert_eq!(head.header("content-type"), "application/json");
}

#[tokio::test]
async fn the_page_of_a_history_is_chosen_by_its_query() {
    let cases = [
        ("", Around::Newest, false, 50),
        ("order=desc&limit=200", Around::Newest, false, 200),
        ("order=asc", Around::Oldest, true, 50),
        ("before=7", Around::Before(Seq(7)), false, 50),
        ("after=7&order=asc", Around::After(Seq(7)), true, 50),
        ("around=7", Around::Around(Seq(7)), false, 50),
    ];
    for (query, around, ascending, limit) in cases {
        let face = Fixture::new().reads(Found::History(HistoryPage {
            items: vec![],
            before: None,
            after: None,
        }));
        let answered = face
            .request("GET", &format!("{MESSAGES}?{query}"))
            .answer()
            .await;
        assert_eq!(
            answered.json,
            json!({"items": [], "before": null, "after": null})
        );
        let asked = Query::History(HistoryQuery {
            conversation: name("team"),
            reader: user("bob"),
            around,
            ascending,
            limit,
            source: None,
            reply_to: None,
        });
        assert_eq!(face.script.asked(), [format!("{asked:?}")], "{query}");
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_invalid() {
    let face = Fixture::new();
    for query in [
        "before=1&after=1",
        "after=1&around=1",
        "limit=0",
        "limit=201",
        "order=up",
        "before=x",
        "x=1",
        "reply_to=1",
    ] {
        assert_eq!(
            face.request("GET", &format!("{MESSAGES}?{query}"))
                .code()
                .await,
            Code::Invalid,
            "{query}"
        );
    }

    assert_eq!(
        face.request("GET", &format!("{MESSAGES}?source=a%20b"))
            .code()
            .await,
        Code::InvalidName
    );

    let conversation = "/v1/conversations/team";
    for path in [
        "/participants?limit=1001",
        "/events?limit=201",
        "/watermarks?limit=0",
        "?limit=1",
        "/events?after=-1",
    ] {
        assert_eq!(
            face.request("GET", &format!("{conversation}{path}"))
                .code()
                .await,
            Code::Invalid,
            "{path}"
        );
    }

    for path in [
        "/v1/conversations?after=zzz",
        "/v1/conversations?limit=201",
        "/v1/messages/x?y=1",
    ] {
        assert_eq!(
            face.request("GET", path).code().await,
            Code::Invalid,
            "{path}"
        );
    }

    assert!(face.script.asked().is_empty());
}

#[tokio::test]
async fn a_stale_answer_says_so_or_is_refused() {
    let stale = || {
        Ok((
            Found::Conversation(conversation()),
            Freshness::Stale { ms: 1_234 },
        ))
    };
    let face = Fixture::new().reads_as(stale()).reads_as(stale());
    let path = "/v1/conversations/team";

    assert_eq!(
        face.request("GET", path)
            .answer()
            .await
            .header("rookery-stale"),
        "1234"
    );

    let strict = face
        .request("GET", path)
        .header("rookery-consistency", "strict")
        .answer()
        .await;
    assert_eq!(
        (strict.status.as_u16(), strict.json["code"].as_str()),
        (503, Some("stale"))
    );
    assert_eq!(strict.header("retry-after"), "1");
}

#[tokio::test]
async fn events_are_the_objects_of_frames() {
    let kind = EventKind::left(user("bob"), user("bob"), Some(user("x")));
    let event = Event {
        conversation: name("team"),
        seq: Seq(4),
        created: 5,
        key: None,
        kind,
    };

    let face = Fixture::new().reads(Found::Events {
        pruned: Seq(0),
        items: vec![Arc::new(event)],
        next: Some(Seq(4)),
    });
    let answered = face
        .request("GET", "/v1/conversations/team/events?after=3")
        .answer()
        .await;
    assert_eq!(answered.json["next"], 4);

    assert_eq!(answered.json["items"][0]["t"], "event");
    assert_eq!(answered.json["items"][0]["kind"], "left");
}
