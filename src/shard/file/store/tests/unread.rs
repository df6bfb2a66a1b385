//! What lists show of conversations in which messages were edited and deleted.

use std::collections::BTreeMap;

use super::*;

#[tokio::test]
async fn a_list_shows_the_newest_message_that_is_not_deleted() {
    let folder = folder();
    let records = [
        created("c", &["alice", "bob"], START),
        message("c", 2, "alice", 1, START),
        message("c", 3, "alice", 2, START),
        edited("c", 4, "alice", (1, 2), "edited"),
        deleted("c", 5, "alice", (2, 3)),
    ];
    let store = open(folder.path(), "s3.db").await;
    let mut log = Written::default();
    log.entry(&records);
    log.entry(&[deleted("c", 6, "alice", (1, 2))]);

    let last = async || {
        let items = store
            .summaries(&[conversation("c")], &user("bob"))
            .await
            .expect("reads");
        let item = items[0].clone().expect("a participant");
        (item.last_message.map(|last| last.core.text), item.unread)
    };

    store
        .apply(Stream::Messages, log.entries[..1].to_vec())
        .await
        .expect("applies");
    assert_eq!(last().await, (Some("edited".to_owned()), Some(1)));

    store
        .apply(Stream::Messages, log.entries[1..].to_vec())
        .await
        .expect("applies");
    assert_eq!(last().await, (None, Some(0)));
}

/// What someone has not read, counted one by one.
#[derive(Debug, Default)]
struct Model {
    /// Source of each message that is not deleted, by seq.
    messages: BTreeMap<u64, &'static str>,
    read: BTreeMap<&'static str, u64>,
}

impl Model {
    fn unread(&self, reader: &str) -> u32 {
        let after = self.read.get(reader).copied().unwrap_or(1).max(1);
        let others = self
            .messages
            .range(after + 1..)
            .filter(|(_, source)| **source != reader);
        u32::try_from(others.count()).expect("few")
    }
}

#[tokio::test]
async fn unread_is_exact_after_any_sequence_of_messages_edits_deletions_and_reads() {
    for seed in 0..12 {
        let (folder, mut dice) = (folder(), StdRng::seed_from_u64(seed));
        let store = open(folder.path(), "s3.db").await;
        let mut streams = PerStream::<Written>::default();
        let (mut model, mut numbers) = (Model::default(), BTreeMap::new());
        streams
            .messages
            .entry(&[created("c", &["alice", "bob", "carol"], START)]);
        for seq in 2..60_u64 {
            let who = ["alice", "bob", "carol"][dice.random_range(0..3)];
            let of = dice.random_range(1..seq);
            let known = numbers
                .get(&of)
                .copied()
                .filter(|_| dice.random_range(0..2) == 0);
            let record = match (known, dice.random_range(0..3)) {
                (Some(number), 0) => edited("c", seq, "alice", (number, of), "edited"),
                (Some(number), _) => {
                    model.messages.remove(&of);
                    deleted("c", seq, "alice", (number, of))
                }
                (None, _) => {
                    numbers.insert(seq, seq);
                    model.messages.insert(seq, who);
                    message("c", seq, who, seq, START)
                }
            };
            streams.messages.entry(&[record]);
            if dice.random_range(0..6) == 0 {
                let read = model.read.entry(who).or_default();
                *read = dice.random_range(1..=seq).max(*read);
                streams
                    .receipts
                    .entry(&[advance("c", START + seq, who, *read, *read)]);
            }
        }
        for (stream, written) in streams {
            store.apply(stream, written.entries).await.expect("applies");
        }
        for reader in ["alice", "bob", "carol"] {
            let items = store
                .summaries(&[conversation("c")], &user(reader))
                .await
                .expect("reads");
            let unread = items[0].as_ref().expect("a participant").unread;
            assert_eq!(unread, Some(model.unread(reader)), "{reader} {seed}");
        }
    }
}
