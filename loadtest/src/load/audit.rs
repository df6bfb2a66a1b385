//! The end of a run: its history is read back, and everything compared with everything.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::load::heard::Heard;
use crate::load::history::{self, Compared, Entry};
use crate::load::ledger::Book;
use crate::load::rig::{QUIET, Rig};
use crate::load::workload::Workload;
use crate::report::figures::{Audit, Close, Second};
use crate::target::Target;

/// Conversations whose history is read at the same time.
const READING: usize = 8;

/// What the histories of all conversations came to.
#[derive(Default)]
struct ReadBack {
    /// The last seq of each conversation, or how many messages it has, where there are no seqs.
    last_seqs: Vec<u64>,
    /// Messages that all sessions together should have got.
    deliveries: u64,
    compared: Compared,
}

impl Rig {
    /// Reads the history back and compares everything with everything.
    pub(crate) async fn finish(self) -> Result<(Audit, Vec<Second>, Vec<String>), String> {
        let mut warnings = self.warnings;
        let seconds = self.sampler.finish();
        let books = self.ledger.books();
        let read = ReadBack::read(&self.target, &self.workload, &books).await;

        let history_read = read.is_ok();
        let mut found = match read {
            Ok(found) => {
                // What had no clear answer counts now, too: it is there, so it must arrive.
                self.listeners
                    .wait_for(found.deliveries, QUIET, self.options.patience)
                    .await;
                found
            }
            Err(error) => {
                warnings.push(format!("the history could not be read back: {error}"));
                ReadBack::of_answers(&books)
            }
        };

        // What was acknowledged and is not in the history may still be a later seq than the history
        // has.
        for (last_seq, book) in found.last_seqs.iter_mut().zip(&books) {
            *last_seq = last_acknowledged(book).max(*last_seq);
        }
        let heard = self.listeners.finish(&found.last_seqs).await?;
        let sessions = u64::try_from(self.workload.online).unwrap_or_default();
        let audit = audit((history_read, &found.compared), sessions, &heard);
        Ok((audit, seconds, warnings))
    }
}

impl ReadBack {
    /// Reads the histories of all conversations, some at the same time, and judges each.
    async fn read(target: &Target, workload: &Workload, books: &[Book]) -> Result<Self, String> {
        let reading =
            workload
                .conversations
                .iter()
                .zip(books)
                .map(|(conversation, book)| async move {
                    let user = conversation
                        .members
                        .first()
                        .copied()
                        .ok_or("a conversation without members")?;
                    let name = workload.user(user)?;
                    let entries = history::read(
                        target.pool(user)?.as_ref(),
                        &target.tokens,
                        name,
                        &conversation.name,
                    )
                    .await?;
                    let (last_seq, messages, compared) =
                        judge(&entries, book, target.protocol.has_seqs());
                    Ok::<_, String>((last_seq, messages * conversation.online, compared))
                });
        let read: Vec<(u64, u64, Compared)> = stream::iter(reading)
            .buffered(READING)
            .try_collect()
            .await?;

        let mut found = Self::default();
        for (last_seq, deliveries, compared) in read {
            found.last_seqs.push(last_seq);
            found.deliveries += deliveries;
            found.compared.add(compared);
        }
        Ok(found)
    }

    /// What the answers alone tell, where the histories could not be read.
    fn of_answers(books: &[Book]) -> Self {
        let acknowledged = books
            .iter()
            .map(|book| u64::try_from(book.accepted.len()).unwrap_or_default())
            .sum();
        Self {
            last_seqs: books.iter().map(last_acknowledged).collect(),
            deliveries: 0,
            compared: Compared {
                acknowledged,
                ..Compared::default()
            },
        }
    }
}

/// The highest seq that was acknowledged, or 0.
fn last_acknowledged(book: &Book) -> u64 {
    book.accepted
        .iter()
        .map(|(seq, _)| *seq)
        .max()
        .unwrap_or_default()
}

/// What was read back and what was heard, side by side.
fn audit((history_read, compared): (bool, &Compared), sessions: u64, heard: &Heard) -> Audit {
    Audit {
        acknowledged: compared.acknowledged,
        history_read,
        history_missing: compared.missing,
        history_doubled: compared.doubled,
        history_moved: compared.moved,
        history_not_dense: compared.not_dense,
        history_unwritten: compared.unwritten_but_there,
        history_unknown: compared.unknown_but_there,
        history_undeleted: compared.undeleted,
        sessions,
        delivered: heard.messages,
        missing: heard.missing,
        doubled: heard.doubled,
        out_of_order: heard.out_of_order,
        skipped: heard.skipped,
        told_gaps: heard.told_gaps,
        taken_back: heard.taken_back,
        closes: heard
            .closes
            .iter()
            .map(|(code, count)| Close {
                code: *code,
                count: *count,
            })
            .collect(),
        resumed: heard.resumed,
    }
}

/// Judges the history of one conversation: its last seq (or how many messages it has, where there
/// are no seqs), its messages, and what the comparison with the answers found.
fn judge(entries: &[Entry], book: &Book, has_seqs: bool) -> (u64, u64, Compared) {
    let messages = entries
        .iter()
        .filter(|entry| entry.number.is_some() || entry.deleted)
        .count();
    let messages = u64::try_from(messages).unwrap_or_default();
    let compared = history::compare(entries, book);

    if has_seqs {
        let last_seq = entries
            .iter()
            .map(|entry| entry.seq)
            .max()
            .unwrap_or_default();
        (last_seq, messages, compared)
    } else {
        (messages, messages, compared.without_seqs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_without_seqs_is_judged_by_what_is_in_it() {
        let entry = |seq, number| Entry {
            seq,
            number: Some(number),
            deleted: false,
        };
        let book = Book {
            accepted: vec![(0, 1), (0, 2), (0, 3)],
            ..Book::default()
        };
        let (upto, messages, found) = judge(&[entry(0, 2), entry(0, 1), entry(0, 1)], &book, false);
        assert_eq!((upto, messages, found.missing, found.doubled), (3, 3, 1, 1));
        assert_eq!((found.moved, found.not_dense), (0, 0));

        let dense = Book {
            accepted: vec![(2, 1)],
            ..Book::default()
        };
        let (last_seq, _, with_seqs) = judge(&[entry(2, 1)], &dense, true);
        assert_eq!((last_seq, with_seqs.not_dense), (2, 1), "seqs begin with 1");
    }
}
