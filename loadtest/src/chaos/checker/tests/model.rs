//! A cluster that does nothing wrong, and the records of what it does.

use super::{C, MEMBERS};
use crate::chaos::history::{Act, Item, Outcome, Read, Record, What};
use crate::chaos::random::Random;

/// A cluster that does nothing wrong: one conversation, each operation done at one moment between
/// its begin and its end.
pub(super) struct Model {
    pub(super) random: Random,
    pub(super) now: u64,
    pub(super) op: u64,
    pub(super) session: u64,
    pub(super) line: Vec<Item>,
    pub(super) guest: bool,
    pub(super) records: Vec<Record>,
    /// Sessions with where they are.
    pub(super) sessions: Vec<(u64, u32, u64)>,
    /// Done, but nobody was told.
    pub(super) late: Vec<(u64, u32)>,
    pub(super) read_up_to: u64,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        let mut model = Self {
            random: Random::new(seed),
            now: 0,
            op: 0,
            session: 0,
            line: Vec::new(),
            guest: false,
            records: Vec::new(),
            sessions: Vec::new(),
            late: Vec::new(),
            read_up_to: 0,
        };

        let users = MEMBERS.to_vec();
        let op = model.begin(
            0,
            Act::Create {
                users: users.clone(),
            },
        );

        model.append(What::Created { users });
        model.end(
            op,
            Outcome::Ok {
                item: None,
                clean: true,
            },
        );
        model
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.now += 1 + self.random.below(1_000);
        self.now
    }

    pub(super) fn begin(&mut self, user: u32, act: Act) -> u64 {
        self.op += 1;
        let (at, op) = (self.tick(), self.op);
        self.records.push(Record::Begun {
            at,
            op,
            user,
            conversation: C,
            act,
        });
        op
    }

    pub(super) fn end(&mut self, op: u64, result: Outcome) {
        let at = self.tick();
        self.records.push(Record::Ended { at, op, result });
    }

    pub(super) fn append(&mut self, what: What) -> Item {
        let seq = self.line.len() as u64 + 1;
        let item = Item::plain(seq, self.random.next(), what);
        self.line.push(item.clone());
        item
    }

    pub(super) fn read(&mut self, user: u32) -> Read {
        let begun = self.tick();
        Read {
            begun,
            at: self.tick(),
            user,
            conversation: C,
            stale: false,
        }
    }

    pub(super) fn member(&mut self) -> u32 {
        MEMBERS[self.random.below(3) as usize]
    }

    /// Everything is read to its end.
    pub(super) fn finish(mut self) -> Vec<Record> {
        self.deliver();
        let read = self.read(0);
        self.records.push(Record::Page {
            read,
            after: 0,
            items: self.line.clone(),
            end: true,
        });
        let at = self.tick();
        self.records.push(Record::Final {
            at,
            conversation: C,
            last: self.line.len() as u64,
        });
        self.records
    }
}
