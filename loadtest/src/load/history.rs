//! The final comparison: the whole history of each conversation, read back, against what was
//! acknowledged.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::client::failure::Failure;
use crate::client::http::{Ask, Pool};
use crate::client::tokens::Tokens;
use crate::load::ledger::Book;
use crate::load::text::Stamp;

/// Events of one page; the contract's limit.
const PAGE: usize = 200;
/// How often a page that was refused for a moment is asked for again.
const ATTEMPTS: u32 = 20;
/// Pause before asking again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// One durable change of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// Number of the send; none for what is no message of this run, or deleted.
    pub(crate) number: Option<u64>,
    /// True for a message that was deleted.
    pub(crate) deleted: bool,
}

/// What the comparison of one or more conversations found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Acknowledged sends.
    pub(crate) acknowledged: u64,
    /// Acknowledged, and not in the history.
    pub(crate) missing: u64,
    /// In the history more than once.
    pub(crate) doubled: u64,
    /// Acknowledged under another seq than the history has, or an acknowledged seq given twice.
    pub(crate) moved: u64,
    /// In the history though the server said that they were not written.
    pub(crate) unwritten_but_there: u64,
    /// Without a clear answer, and in the history: allowed.
    pub(crate) unknown_but_there: u64,
    /// In the history with its text, though the server said that it is deleted.
    pub(crate) undeleted: u64,
    /// Places where the seq of the history is not the one after the last.
    pub(crate) not_dense: u64,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Item {
    /// `event` for what is no message, though it may have a text.
    #[serde(default)]
    t: String,
    /// 0 where there are none; Rookery's begin with 1, so that one that lacks it is out of place.
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    deleted: bool,
}

impl Item {
    fn entry(self) -> Entry {
        let is_message = self.t != "event";
        let stamp = self.text.filter(|_| is_message);
        Entry {
            seq: self.seq,
            number: stamp
                .and_then(|text| Stamp::read(&text))
                .map(|stamp| stamp.number),
            deleted: is_message && self.deleted,
        }
    }
}

/// Reads everything that a conversation has, in the order that the server gives it.
pub(crate) async fn read(
    pool: &Pool,
    tokens: &Tokens,
    user: &str,
    conversation: &str,
) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut after = String::new();

    loop {
        let path = format!("/v1/conversations/{conversation}/events?limit={PAGE}{after}");
        let body = patiently(pool, tokens, user, &path)
            .await
            .map_err(|error| format!("{path}: {error}"))?;
        let page: Page =
            serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))?;
        entries.extend(page.items.into_iter().map(Item::entry));
        after = match page.next {
            None | Some(serde_json::Value::Null) => return Ok(entries),
            Some(serde_json::Value::String(cursor)) => format!("&after={cursor}"),
            Some(cursor) => format!("&after={cursor}"),
        };
    }
}

async fn patiently(
    pool: &Pool,
    tokens: &Tokens,
    user: &str,
    path: &str,
) -> Result<bytes::Bytes, String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let failure: Failure = match pool.succeed(&Ask::get(path, tokens.of(user).await?)).await {
            Ok(body) => return Ok(body),
            Err(failure) => failure,
        };
        last = failure.to_string();
        if failure
            .status
            .is_some_and(|status| status != 429 && status != 503)
        {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }

    Err(last)
}

/// Compares one conversation. Pure.
pub(crate) fn compare(entries: &[Entry], book: &Book) -> Compared {
    let mut found = Compared {
        acknowledged: len(book.accepted.len()),
        ..Compared::default()
    };
    let mut seqs: HashMap<u64, u64> = HashMap::with_capacity(entries.len());
    let mut gone: HashSet<u64> = HashSet::new();
    let mut last = 0;

    for entry in entries {
        if entry.seq != last + 1 {
            found.not_dense += 1;
        }
        last = entry.seq;
        if entry.deleted {
            gone.insert(entry.seq);
        }
        let Some(number) = entry.number else { continue };
        if seqs.insert(number, entry.seq).is_some() {
            found.doubled += 1;
        }
    }

    let deleting: HashSet<&u64> = book.deleting.iter().collect();
    let mut given = HashSet::with_capacity(book.accepted.len());
    for (seq, number) in &book.accepted {
        match seqs.get(number) {
            // Its place is there still, and says that it is deleted.
            None if deleting.contains(number) && gone.contains(seq) => {}
            None => found.missing += 1,
            Some(there) if there != seq => found.moved += 1,
            Some(_) => {}
        }
        if !given.insert(seq) {
            found.moved += 1;
        }
    }

    let there = |numbers: &[u64]| {
        len(numbers
            .iter()
            .filter(|number| seqs.contains_key(number))
            .count())
    };

    found.unwritten_but_there = there(&book.unwritten);
    found.unknown_but_there = there(&book.unknown);
    found.undeleted = there(&book.deleted);
    found
}

impl Compared {
    /// The same of a server that has no seqs, and so none that could be wrong.
    pub(crate) fn without_seqs(self) -> Self {
        Self {
            moved: 0,
            not_dense: 0,
            ..self
        }
    }

    /// Takes in another conversation.
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.moved += other.moved;
        self.unwritten_but_there += other.unwritten_but_there;
        self.unknown_but_there += other.unknown_but_there;
        self.undeleted += other.undeleted;
        self.not_dense += other.not_dense;
    }
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(u64, Option<u64>)]) -> Vec<Entry> {
        of.iter()
            .map(|&(seq, number)| Entry {
                seq,
                number,
                deleted: false,
            })
            .collect()
    }

    #[test]
    fn what_was_acknowledged_and_is_there_once_is_fine() {
        let book = Book {
            accepted: vec![(2, 10), (3, 11)],
            unknown: vec![12, 13],
            unwritten: vec![14],
            ..Book::default()
        };
        let found = compare(
            &entries(&[(1, None), (2, Some(10)), (3, Some(11)), (4, Some(12))]),
            &book,
        );

        assert_eq!(
            found,
            Compared {
                acknowledged: 2,
                unknown_but_there: 1,
                ..Compared::default()
            }
        );
    }

    #[test]
    fn loss_doubles_moves_and_ghosts_are_told_apart() {
        let book = Book {
            accepted: vec![(2, 10), (3, 11), (3, 12), (9, 13)],
            unwritten: vec![14],
            ..Book::default()
        };
        let history = [
            (1, None),
            (2, Some(10)),
            (3, Some(12)),
            (4, Some(10)),
            (6, Some(14)),
            (7, Some(13)),
        ];

        let found = compare(&entries(&history), &book);
        assert_eq!((found.missing, found.doubled, found.not_dense), (1, 1, 1));
        assert_eq!(
            found.moved, 3,
            "10 is at 4 now, seq 3 was given twice, 13 is not at 9"
        );
        assert_eq!(found.unwritten_but_there, 1);
    }

    #[test]
    fn a_deleted_message_keeps_its_place_and_nothing_else() {
        let book = Book {
            accepted: vec![(2, 10), (3, 11), (4, 12)],
            deleting: vec![10, 11, 12],
            deleted: vec![10, 11],
            ..Book::default()
        };
        let mut history = entries(&[(1, None), (2, None), (3, Some(11)), (4, Some(12))]);
        history[1].deleted = true;
        let found = compare(&history, &book);
        assert_eq!(
            (found.missing, found.undeleted),
            (0, 1),
            "11 is there still"
        );

        history[1].deleted = false;
        assert_eq!(
            compare(&history, &book).missing,
            1,
            "nothing says that 10 is deleted"
        );
    }

    #[test]
    fn the_text_of_an_edit_makes_no_second_message() {
        let item = |text: &str| -> Item { serde_json::from_str(text).unwrap() };
        let message = item(r#"{"t":"message","seq":2,"text":"lt a 5 x","deleted":false}"#);
        assert_eq!(message.entry().number, Some(10));
        let edit = item(r#"{"t":"event","kind":"edited","seq":3,"text":"lt a 5 x"}"#);
        assert_eq!(edit.entry().number, None);
    }
}
