//! What became of each send, by the answers: the side of the sender in the final comparison with
//! the history.

use std::sync::{Mutex, PoisonError};

use crate::client::failure::Failure;

/// What the sender knows of one conversation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Book {
    /// Seq and number of each acknowledged send.
    pub(crate) accepted: Vec<(u64, u64)>,
    /// Numbers of sends that may or may not be there.
    pub(crate) unknown: Vec<u64>,
    /// Numbers of sends that the server said it did not write.
    pub(crate) unwritten: Vec<u64>,
    /// Numbers of sends whose message somebody began to delete.
    pub(crate) deleting: Vec<u64>,
    /// Numbers of sends whose message was deleted, by the answer.
    pub(crate) deleted: Vec<u64>,
}

/// One book for each conversation.
#[derive(Debug)]
pub(crate) struct Ledger {
    books: Vec<Mutex<Book>>,
}

impl Ledger {
    /// Empty books.
    pub(crate) fn new(conversations: usize) -> Self {
        Self {
            books: (0..conversations).map(|_| Mutex::default()).collect(),
        }
    }

    /// A send was acknowledged with this seq.
    pub(crate) fn accepted(&self, conversation: usize, seq: u64, number: u64) {
        self.write(conversation, |book| book.accepted.push((seq, number)));
    }

    /// A send failed.
    pub(crate) fn failed(&self, conversation: usize, number: u64, failure: &Failure) {
        self.write(conversation, |book| {
            let numbers = if failure.is_unwritten() {
                &mut book.unwritten
            } else {
                &mut book.unknown
            };
            numbers.push(number);
        });
    }

    /// Somebody begins to delete the message of a send.
    pub(crate) fn deleting(&self, conversation: usize, number: u64) {
        self.write(conversation, |book| book.deleting.push(number));
    }

    /// The server has answered that it is deleted.
    pub(crate) fn deleted(&self, conversation: usize, number: u64) {
        self.write(conversation, |book| book.deleted.push(number));
    }

    /// How many were acknowledged in this conversation.
    pub(crate) fn accepted_in(&self, conversation: usize) -> u64 {
        let count = |book: &Mutex<Book>| {
            book.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .accepted
                .len()
        };
        self.books
            .get(conversation)
            .map(count)
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default()
    }

    /// The books as they are now.
    pub(crate) fn books(&self) -> Vec<Book> {
        self.books
            .iter()
            .map(|book| book.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    fn write(&self, conversation: usize, entry: impl FnOnce(&mut Book)) {
        if let Some(book) = self.books.get(conversation) {
            entry(&mut book.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
