//! What must hold after a fault, whatever it was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::load::reader::Reader;
use crate::load::sender::{Outcome, Sender, send};
use crate::support::{DEADLINE, Fields, Group, eventually};

/// Counts of what happened.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Messages that were acknowledged at once.
    pub(crate) acknowledged: usize,
    /// Refused as surely not written, by code.
    pub(crate) not_written: BTreeMap<String, usize>,
    /// Without a certain answer, by what was told.
    pub(crate) unknown: BTreeMap<String, usize>,
    /// How many of those had been written.
    pub(crate) unknown_written: usize,
    /// Reads that were not marked, and those marked as stale.
    pub(crate) reads: (usize, usize),
    /// Connections of all readers.
    pub(crate) connections: usize,
    /// Readers.
    pub(crate) readers: usize,
}

impl Report {
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        for (code, count) in other.not_written {
            *self.not_written.entry(code).or_default() += count;
        }
        for (code, count) in other.unknown {
            *self.unknown.entry(code).or_default() += count;
        }
        self.unknown_written += other.unknown_written;
        self.reads = (self.reads.0 + other.reads.0, self.reads.1 + other.reads.1);
        self.connections += other.connections;
        self.readers += other.readers;
    }

    /// How often senders got no certain answer of this kind (`outcome_unknown`, `not_replicated`).
    #[allow(dead_code, reason = "not every target asks")]
    pub(crate) fn unknown(&self, code: &str) -> usize {
        self.unknown.get(code).copied().unwrap_or_default()
    }
}

/// Checks one conversation, retries what had no certain answer, and checks again.
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
pub(super) async fn line(
    group: &Group,
    mut senders: Vec<Sender>,
    last: &AtomicU64,
    reader: JoinHandle<Reader>,
    others: &[&str],
) -> Report {
    let mut report = Report::default();
    for sender in &senders {
        report.reads = (
            report.reads.0 + sender.reads.0,
            report.reads.1 + sender.reads.1,
        );
        for (_, outcome) in &sender.sent {
            match outcome {
                Outcome::Acknowledged { .. } => report.acknowledged += 1,
                Outcome::NotWritten(code) => {
                    *report.not_written.entry(code.clone()).or_default() += 1
                }
                Outcome::Unknown(code) => *report.unknown.entry(code.clone()).or_default() += 1,
            }
        }
    }

    let events = group.admin.all_events(&group.name).await;
    compare(&events, &senders, others);

    let texts: Vec<&str> = events
        .iter()
        .filter(|e| e["t"] == "message")
        .map(|e| e.text("text"))
        .collect();
    for (i, sender) in senders.iter_mut().enumerate() {
        let member = &group.members[i];
        for (key, outcome) in &mut sender.sent {
            if matches!(outcome, Outcome::Unknown(_)) {
                report.unknown_written += usize::from(texts.contains(&key.as_str()));
                // The same key again: written then or now, but once.
                *outcome = eventually("a retry is answered", || async {
                    let again = send(member, &group.name, key).await;
                    matches!(again, Outcome::Acknowledged { .. }).then_some(again)
                })
                .await;
            }
        }
        // A retry that is appended now comes after what was acknowledged meanwhile.
        sender.sent.sort_by_key(|(_, outcome)| match outcome {
            Outcome::Acknowledged { seq, .. } => *seq,
            _ => 0,
        });
    }

    let events = group.admin.all_events(&group.name).await;
    compare(&events, &senders, others);
    last.store(events.len() as u64, Ordering::Relaxed);

    let reader = tokio::time::timeout(2 * DEADLINE, reader).await;
    let reader = reader
        .unwrap_or_else(|_| panic!("the reader of {} does not get to its end", group.name))
        .unwrap();
    report.connections += reader.connections;
    report.readers += 1;

    for (seen, event) in reader.seen.iter().zip(&events[1..]) {
        assert_eq!(
            (&seen["seq"], &seen["id"]),
            (&event["seq"], &event["id"]),
            "live and read differ in {}",
            group.name
        );
    }

    assert_eq!(reader.seen.len() + 1, events.len());
    report
}

/// The history against what the senders were told.
fn compare(events: &[Value], senders: &[Sender], others: &[&str]) {
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["t"] == "message") {
        if others.contains(&event.text("text")) {
            continue;
        }
        found.entry(event.text("text")).or_default().push(event);
    }

    let mut known = 0;
    for sender in senders {
        let mut before = 0;
        for (key, outcome) in &sender.sent {
            let there = found.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            known += there.len();
            assert!(there.len() <= 1, "{key} is there {} times", there.len());
            match outcome {
                Outcome::Acknowledged { id, seq } => {
                    let event = there
                        .first()
                        .unwrap_or_else(|| panic!("{key} was acknowledged as {seq} and is lost"));
                    assert_eq!(
                        (event.text("id"), event.number("seq")),
                        (id.as_str(), *seq),
                        "{key}"
                    );
                    assert!(
                        *seq > before,
                        "{key} at {seq} was acknowledged after what is at {before}"
                    );
                    before = *seq;
                }
                Outcome::NotWritten(code) => assert!(
                    there.is_empty(),
                    "{key} was refused as {code}, and is there"
                ),
                Outcome::Unknown(_) => {}
            }
        }
        assert!(!sender.sent.is_empty(), "{} sent nothing", sender.user);
    }

    assert_eq!(
        known,
        found.values().map(Vec::len).sum::<usize>(),
        "a message that nobody sent"
    );
}
