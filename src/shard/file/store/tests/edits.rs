//! What a message says now stands in its row, and what it said before nowhere.

use super::*;
use crate::log::record::Since;
use crate::protocol::MessageCore;
use crate::shard::command::core_of;

/// What is to be found nowhere in the end.
pub(super) const WORD: &str = "xyzzyplugh";

/// A message that was edited twice, one that was deleted, and one that was edited once.
fn changed() -> Vec<Record> {
    vec![
        created("c", &["alice", "bob"], START),
        message("c", 2, "alice", 1, START),
        message("c", 3, "alice", 2, START),
        message("c", 4, "bob", 3, START),
        edited("c", 5, "alice", (1, 2), "first edit"),
        edited("c", 6, "alice", (1, 2), "second edit"),
        edited("c", 7, "alice", (2, 3), WORD),
        deleted("c", 8, "admin", (2, 3)),
        edited("c", 9, "bob", (3, 4), "only edit"),
    ]
}

fn cores(events: &[Arc<Event>]) -> Vec<MessageCore> {
    events.iter().filter_map(|event| core_of(event)).collect()
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_row_holds_what_the_message_is_now_and_events_are_read_as_it_stands() {
    let folder = folder();
    let store = one(folder.path(), &changed(), &[react("c", 2, "bob", Some(5))]).await;
    let name = conversation("c");
    let events = store.events(&name, Seq(0), 20).await.expect("reads");
    assert_eq!(
        events.iter().map(|event| event.seq.0).collect::<Vec<_>>(),
        (1..=9).collect::<Vec<_>>()
    );
    let read = HistoryRead {
        conversation: &name,
        around: Around::Oldest,
        limit: 20,
        source: None,
        reply_to: None,
    };
    let history = store.history(read).await.expect("reads");
    let of_history: Vec<_> = history.iter().map(|message| message.core.clone()).collect();
    assert_eq!(
        of_history,
        cores(&events),
        "one message, whichever way it is read"
    );
    assert_eq!(
        history
            .iter()
            .map(|message| message.changed.0)
            .collect::<Vec<_>>(),
        [6, 8, 9]
    );

    let [first, gone, third] = of_history.try_into().expect("three");
    assert_eq!(
        (first.text.as_str(), first.edited, first.deleted),
        ("second edit", Some(START + 6), false)
    );
    let data = first.data.map(|data| data.text().to_string());
    assert_eq!(
        (data.as_deref(), first.mentions),
        (Some(r#"{"of":"second edit"}"#), vec![user("bob")])
    );
    assert_eq!(
        (gone.text.as_str(), gone.edited, gone.deleted),
        ("", None, true)
    );
    assert_eq!(
        (gone.data, gone.mentions, gone.deleted_by),
        (None, vec![], Some(user("admin")))
    );
    assert_eq!(
        (gone.seq, gone.source, gone.created),
        (Seq(3), user("alice"), START)
    );
    assert_eq!(third.text, "only edit");

    let told: Vec<(u64, &str, bool)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Edited {
                text, superseded, ..
            } => Some((event.seq.0, &**text, *superseded)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (5, "", true),
            (6, "second edit", false),
            (7, "", true),
            (9, "only edit", false)
        ]
    );
    assert!(matches!(
        &events[7].kind,
        EventKind::Deleted {
            message_seq: Seq(3),
            ..
        }
    ));
    let since = Since {
        seq: Seq(6),
        edited: Some(START + 6),
        deleted_by: None,
    };
    assert!(
        matches!(&events[1].kind, EventKind::Message { since: Some(told), .. } if **told == since)
    );
}

#[tokio::test]
async fn what_is_asked_of_a_message_that_is_to_be_changed_is_all_there() {
    let folder = folder();
    let store = one(folder.path(), &changed(), &[]).await;
    let held = store.held(id(1)).await.expect("reads").expect("there");

    assert_eq!(
        (
            &*held.content.text,
            held.edits,
            held.at.deleted,
            held.at.seq
        ),
        ("second edit", 2, false, Seq(2))
    );
    assert_eq!(store.locate(id(1)).await.expect("reads"), Some(held.at));

    let gone = store.held(id(2)).await.expect("reads").expect("there");
    assert_eq!(
        (gone.content, gone.edits, gone.at.deleted),
        (Content::none(), 0, true)
    );
    assert_eq!(store.held(id(9)).await.expect("reads"), None);
}

#[tokio::test]
async fn keys_of_edits_and_of_what_changed_nothing_lead_to_the_message() {
    let folder = folder();
    let records = [
        created("c", &["alice"], START),
        message("c", 2, "alice", 1, START),
        with_key(edited("c", 3, "alice", (1, 2), "edit"), "edits", false),
        key_used("c", "alice", 2, "changes nothing", false),
        key_used("c", "alice", 2, "routers", true),
        key_used("nowhere", "alice", 2, "quarantined", false),
    ];

    let store = one(folder.path(), &records, &[]).await;
    let key = async |text: &str| {
        let key = IdempotencyKey::from_client(text).expect("a good key");
        let found = store
            .key(&conversation("c"), &user("alice"), &key)
            .await
            .expect("reads");
        found.map(|found| (found.seq.0, found.fingerprint[0]))
    };

    assert_eq!(
        (
            key("edits").await,
            key("changes nothing").await,
            key("routers").await
        ),
        (Some((2, 7)), Some((2, 8)), None)
    );
    assert_eq!(
        store
            .head(&conversation("c"))
            .await
            .expect("reads")
            .expect("there")
            .last_seq,
        Seq(3)
    );
}

#[tokio::test]
async fn late_reactions_and_receipts_of_a_deleted_message_are_shown_nowhere() {
    let folder = folder();
    let receipts = [
        react("c", 2, "bob", Some(5)),
        advance("c", START + 10, "bob", 4, 4),
    ];
    let store = one(folder.path(), &changed(), &receipts).await;
    let at = store.locate(id(2)).await.expect("reads").expect("there");
    let shown = store.receipts(id(2), &at, None, 9).await.expect("reads");
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].reaction, shown[0].read_at, shown[0].ts),
        (None, Some(START + 10), Some(START + 10))
    );

    let page = store.reactions_page(id(2), None, 9).await;
    assert_eq!(page.expect("reads"), []);

    let rows = sqlx::query("SELECT reaction FROM receipts WHERE message_id = ?")
        .bind(id(2).as_bytes().as_slice())
        .fetch_all(store.readers())
        .await
        .expect("reads");
    assert_eq!(
        rows.iter()
            .map(|row| row.get::<Option<u32>, _>(0))
            .collect::<Vec<_>>(),
        [None]
    );
}
