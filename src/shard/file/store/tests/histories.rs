//! Pages of a history, and counts of what is unread.

use super::*;

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn history_gives_the_nearest_page_and_one_more_on_each_side_asked() {
    let folder = folder();
    let mut records = vec![created("c", &["alice", "bob"], START)];

    for seq in 2..=60_u64 {
        let who = if seq % 3 == 0 { "bob" } else { "alice" };
        records.push(message_to(
            "c",
            seq,
            who,
            seq,
            START,
            (seq % 5 == 0).then(|| id(2)),
        ));
    }

    let store = one(folder.path(), &records, &[]).await;
    let (name, bob) = (conversation("c"), user("bob"));
    let arounds = [
        Around::Newest,
        Around::Oldest,
        Around::Before(Seq(30)),
        Around::After(Seq(30)),
        Around::Around(Seq(30)),
    ];

    for around in arounds {
        for (source, reply_to) in [
            (None, None),
            (Some(&bob), None),
            (None, Some(id(2))),
            (Some(&bob), Some(id(2))),
        ] {
            for limit in [0_u32, 1, 7, 200] {
                let read = HistoryRead {
                    conversation: &name,
                    around,
                    limit,
                    source,
                    reply_to,
                };
                let found: Vec<u64> = store
                    .history(read)
                    .await
                    .expect("reads")
                    .iter()
                    .map(|message| message.core.seq.0)
                    .collect();
                let matching = |seq: &u64| {
                    (source.is_none() || seq.is_multiple_of(3))
                        && (reply_to.is_none() || seq.is_multiple_of(5))
                };
                let take = limit as usize + 1;
                let below = |top: u64| {
                    (2..=top)
                        .rev()
                        .filter(matching)
                        .take(take)
                        .collect::<Vec<_>>()
                };
                let above = |low: u64| (low..=60).filter(matching).take(take).collect::<Vec<_>>();
                let mut expected = match around {
                    Around::Newest => below(60),
                    Around::Oldest => above(2),
                    Around::Before(_) => below(29),
                    Around::After(_) => above(31),
                    Around::Around(_) => [below(30), above(31)].concat(),
                };
                expected.sort_unstable();
                assert_eq!(
                    found, expected,
                    "{around:?} {source:?} {reply_to:?} {limit}"
                );
            }
        }
    }
}

#[tokio::test]
async fn summaries_count_what_others_wrote_after_the_reader_read_or_joined() {
    let folder = folder();
    let mut messages = vec![
        created("c", &["alice", "bob"], START),
        created("d", &["alice"], START),
    ];
    messages.push(message("c", 2, "alice", 2, START));
    messages.push(joined("c", 3, "alice", &["carol"]));
    messages.push(message("c", 4, "alice", 4, START));
    messages.push(message("c", 5, "carol", 5, START));
    messages.push(message("c", 6, "alice", 6, START));

    let receipts = [
        advance("c", START, "bob", 4, 4),
        react("c", 6, "bob", Some(5)),
        react("c", 6, "carol", Some(5)),
    ];
    let store = one(folder.path(), &messages, &receipts).await;
    let names = [
        conversation("nowhere"),
        conversation("c"),
        conversation("d"),
    ];

    for (reader, unread) in [("alice", 1), ("bob", 2), ("carol", 2)] {
        let items = store.summaries(&names, &user(reader)).await.expect("reads");
        assert_eq!(items.len(), 3);
        assert!(items[0].is_none());
        assert_eq!(
            items[2].is_some(),
            reader == "alice",
            "only participants see it"
        );
        let item = items[1].as_ref().expect("a participant");
        assert_eq!(item.unread(), Some(unread), "{reader}");
        assert_eq!(
            (
                item.conversation.last_seq,
                item.conversation.participants_count
            ),
            (Seq(6), 3)
        );
        let last = item.last_message.as_ref().expect("there is one");
        assert_eq!((last.core.id, last.core.text.as_str()), (id(6), "text 6"));
        assert_eq!(last.reactions.get(&5), Some(&2));
        assert_eq!(last.my_reaction, (reader != "alice").then_some(5));
    }

    let empty = store
        .summaries(&names[2..], &user("alice"))
        .await
        .expect("reads");
    let empty = empty[0].as_ref().expect("a participant");
    assert_eq!((empty.unread(), &empty.last_message), (Some(0), &None));
}

#[tokio::test]
async fn unread_counts_to_a_thousand() {
    let folder = folder();
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&[created("c", &["alice", "bob"], START)]);

    for page in 0..5_u64 {
        let seqs = page * 250 + 2..page * 250 + 252;
        log.entry(
            &seqs
                .map(|seq| message("c", seq, "alice", seq, START))
                .collect::<Vec<_>>(),
        );
    }

    store
        .apply(Stream::Messages, log.entries.clone())
        .await
        .expect("applies");
    let items = store
        .summaries(&[conversation("c")], &user("bob"))
        .await
        .expect("reads");
    assert_eq!(
        items[0].as_ref().expect("a participant").unread(),
        Some(1_000)
    );
}
