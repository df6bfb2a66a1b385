//! What lists show of conversations in which messages were edited and deleted.

use std::collections::{BTreeMap, BTreeSet};

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
        let unread = item.unread();
        (item.last_message.map(|last| last.core.text), unread)
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
    /// Of those that mention bob.
    mentioning: BTreeSet<u64>,
    /// Up to where each counts as having read.
    read: BTreeMap<&'static str, u64>,
}

impl Model {
    fn unread(&self, reader: &str) -> u32 {
        let after = self.read.get(reader).copied().unwrap_or(1);
        let others = self
            .messages
            .range(after + 1..)
            .filter(|(_, source)| **source != reader);
        u32::try_from(others.count()).expect("few")
    }

    /// A read, or that they say so themselves.
    fn receipt(&mut self, who: &'static str, to: u64, says_so: bool, at: u64) -> Record {
        let read = self.read.entry(who).or_insert(1);
        if says_so {
            *read = to;
            own_mark("c", who, to, at)
        } else {
            *read = to.max(*read);
            advance("c", at, who, to, to)
        }
    }

    fn unread_mentions(&self, reader: &str) -> u32 {
        let after = self.read.get(reader).copied().unwrap_or(1);
        let mentioning = self.mentioning.range(after + 1..);
        let counts = |seq: &&u64| {
            let source = self.messages.get(*seq);
            reader == "bob" && source.is_some_and(|source| *source != "bob")
        };
        u32::try_from(mentioning.filter(counts).count()).expect("few")
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
                // It mentions bob from then on, if it is there.
                (Some(number), 0) => {
                    model.mentioning.insert(of);
                    edited("c", seq, "alice", (number, of), "edited")
                }
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
                let to = dice.random_range(1..=seq);
                let record = model.receipt(who, to, dice.random_range(0..3) == 0, START + seq);
                streams.receipts.entry(&[record]);
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
            let unread = items[0].as_ref().expect("a participant").unread();
            assert_eq!(unread, Some(model.unread(reader)), "{reader} {seed}");
            let own = items[0].as_ref().and_then(|item| item.conversation.own);
            let mentions = own.map(|own| own.unread_mentions);
            assert_eq!(
                mentions,
                Some(model.unread_mentions(reader)),
                "{reader} {seed}"
            );
        }
    }
}
