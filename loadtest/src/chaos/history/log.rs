//! Where all clients write: numbers operations and sessions, gives the time, and hands each record
//! to the disk and to the checker in one order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chaos::checker::{Checker, Counts, Violation};
use crate::chaos::history::store::Store;
use crate::chaos::history::{Act, Item, Micros, Outcome, Read, Record};

/// Lines of the history that are shown with a violation.
const SPAN_LINES: usize = 40;

/// The history of a run.
#[derive(Debug)]
pub(crate) struct Log {
    begun: Instant,
    inner: Mutex<Inner>,
    op: AtomicU64,
    /// Operations that have ended.
    ended: AtomicU64,
    session: AtomicU64,
    wrong: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    checker: Checker,
    /// The last acknowledged message of each conversation with senders.
    acknowledged: BTreeMap<u32, Micros>,
    /// Acknowledged messages of each conversation.
    flow: BTreeMap<u32, u64>,
    /// The longest time without one, since it was asked last.
    longest: Micros,
    /// Conversations below this number are written to all the time.
    busy: u32,
    /// Of which conversation each sending operation is.
    sending: BTreeMap<u64, u32>,
}

impl Log {
    /// With its files in a folder.
    pub(crate) fn create(folder: &Path) -> Result<Self, String> {
        let inner = Inner {
            store: Store::create(folder)?,
            checker: Checker::default(),
            acknowledged: BTreeMap::new(),
            flow: BTreeMap::new(),
            longest: 0,
            busy: 0,
            sending: BTreeMap::new(),
        };
        let (op, ended, session) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(1));

        Ok(Self {
            begun: Instant::now(),
            inner: Mutex::new(inner),
            op,
            ended,
            session,
            wrong: AtomicBool::new(false),
        })
    }

    /// The time.
    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more record.
    pub(crate) fn note(&self, record: &Record) {
        let mut inner = self.inner();
        if let Err(error) = inner.store.write(record) {
            crate::chaos::wire::say(&format!("history: {error}"));
        }
        inner.measure(record);
        inner.checker.take(record);
        self.wrong
            .store(!inner.checker.violations.is_empty(), Ordering::Relaxed);
    }

    /// Numbers an operation that is about to begin, and notes it.
    pub(crate) fn begin(&self, user: u32, conversation: u32, act: Act) -> u64 {
        let op = self.op.fetch_add(1, Ordering::Relaxed);
        self.note(&Record::Begun {
            at: self.now(),
            op,
            user,
            conversation,
            act,
        });
        op
    }

    /// What became of it.
    pub(crate) fn end(&self, op: u64, result: Outcome) {
        self.note(&Record::Ended {
            at: self.now(),
            op,
            result,
        });
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many operations have begun and not ended.
    pub(crate) fn under_way(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        self.op.load(Ordering::Relaxed).saturating_sub(ended + 1)
    }

    /// A session that begins.
    pub(crate) fn open(&self, user: u32, positions: Vec<(u32, u64)>) -> u64 {
        let session = self.session.fetch_add(1, Ordering::Relaxed);
        self.note(&Record::Opened {
            at: self.now(),
            session,
            user,
            positions,
        });
        session
    }

    /// Changes that it was sent.
    pub(crate) fn frame(&self, session: u64, conversation: u32, item: Item) {
        self.note(&Record::Frames {
            at: self.now(),
            session,
            conversation,
            items: vec![item],
        });
    }

    /// A read that began then and is answered now.
    pub(crate) fn read(&self, begun: Micros, user: u32, conversation: u32, stale: bool) -> Read {
        Read {
            begun,
            at: self.now(),
            user,
            conversation,
            stale,
        }
    }

    /// Something is wrong.
    pub(crate) fn wrong(&self, rule: &str, conversation: Option<u32>, said: String) {
        self.note(&Record::Wrong {
            at: self.now(),
            rule: rule.to_owned(),
            conversation,
            said,
        });
    }

    /// A fault, for those who read the history.
    pub(crate) fn fault(&self, name: &str, said: &str) {
        self.note(&Record::Fault {
            at: self.now(),
            name: name.to_owned(),
            said: said.to_owned(),
        });
    }

    /// Whether anything is wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        self.wrong.load(Ordering::Relaxed)
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.inner().checker.counts
    }

    /// Something of the checker's.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Checker) -> T) -> T {
        question(&self.inner().checker)
    }

    /// What is wrong, each with the lines around it.
    pub(crate) fn violations(&self) -> Vec<(Violation, Vec<String>)> {
        let mut inner = self.inner();
        let violations = inner.checker.violations.clone();
        let with_span = |violation: Violation| {
            let span = inner
                .store
                .span(&violation.span, violation.at, SPAN_LINES)
                .unwrap_or_else(|error| vec![error]);
            (violation, span)
        };
        violations.into_iter().map(with_span).collect()
    }

    /// From now on so many conversations are written to all the time.
    pub(crate) fn expect(&self, conversations: u32) {
        self.inner().busy = conversations;
    }

    /// From now on no sends are expected: the time without one does not count.
    pub(crate) fn rest(&self) {
        self.inner().acknowledged.clear();
    }

    /// The longest time that a conversation with senders was without an acknowledged message, since
    /// this was asked last.
    pub(crate) fn longest(&self) -> Duration {
        let now = self.now();
        let mut inner = self.inner();
        let open = inner
            .acknowledged
            .values()
            .map(|at| now.saturating_sub(*at))
            .max()
            .unwrap_or(0);
        Duration::from_micros(std::mem::take(&mut inner.longest).max(open))
    }

    /// The longest time that a session waited for a change which others had, since this was asked
    /// last.
    pub(crate) fn deafest(&self) -> Duration {
        Duration::from_micros(self.inner().checker.deafest())
    }

    /// Acknowledged messages of each conversation.
    pub(crate) fn flow(&self) -> BTreeMap<u32, u64> {
        self.inner().flow.clone()
    }

    /// To the disk with all of it.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.inner().store.flush()
    }
}

impl Inner {
    fn measure(&mut self, record: &Record) {
        match record {
            Record::Begun {
                op,
                conversation,
                act: Act::Send,
                ..
            } if *conversation < self.busy => {
                self.sending.insert(*op, *conversation);
            }
            Record::Ended { at, op, result } => {
                let Some(conversation) = self.sending.remove(op) else {
                    return;
                };
                if matches!(result, Outcome::Ok { .. }) {
                    let before = self.acknowledged.insert(conversation, *at).unwrap_or(*at);
                    self.longest = self.longest.max(at.saturating_sub(before));
                    *self.flow.entry(conversation).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}
