//! A model of one Redis master with one replica, for one stream of one shard: scripts run at once
//! and whole, replication lags, a failover keeps only what the replica has.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;

use crate::log::Token;
use crate::log::record::{Entry, Tail};

/// A control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) token: Token,
    pub(super) owner: usize,
    pub(super) beat: u64,
    pub(super) tail: Tail,
}

/// What a server holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shelf {
    pub(super) control: Option<Control>,
    pub(super) entries: Vec<(Tail, Bytes)>,
}

/// A script or a read.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Observe,
    Renew {
        token: Token,
    },
    Claim {
        expected: Option<(Token, u64)>,
        token: Token,
        owner: usize,
    },
    Append {
        token: Token,
        expected: Tail,
        tail: Tail,
        bytes: Bytes,
    },
    /// The planned hand-over: the holder of a token gives the shard to another, at a tail that both
    /// know.
    Give {
        token: Token,
        tail: Tail,
        to: usize,
        next: Token,
    },
    Read {
        after: u64,
    },
}

/// What it answers.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Observed {
        control: Option<Control>,
        lineage: u64,
    },
    Renewed(bool),
    Claimed(Control),
    Refused,
    Appended,
    AlreadyDone,
    Fenced(Token),
    Mismatch(Tail),
    Given,
    Entries(Vec<(Tail, Bytes)>),
}

/// A write that waits for its second copy.
#[derive(Debug)]
struct Waits {
    request: u64,
    written: u64,
    reply: Reply,
}

/// The servers.
#[derive(Debug, Default)]
pub(super) struct Redis {
    master: Shelf,
    /// Versions of the master that the replica has not seen yet, oldest first, each with its
    /// number.
    stream: VecDeque<(u64, Shelf)>,
    replica: Shelf,
    written: u64,
    replicated: u64,
    /// The replica is connected.
    pub(super) linked: bool,
    pub(super) lineage: u64,
    waiting: Vec<Waits>,
    /// Appends are fenced.
    fences: bool,
}

impl Redis {
    pub(super) fn new(fences: bool) -> Self {
        Self {
            linked: true,
            fences,
            ..Self::default()
        }
    }

    pub(super) fn master(&self) -> &Shelf {
        &self.master
    }

    /// Runs a call. Writes are answered by [`Redis::answered`] once their WAIT ends; the others at
    /// once.
    pub(super) fn run(&mut self, request: u64, call: &Call) -> Option<Reply> {
        let (reply, wrote) = self.execute(call);
        if !wrote {
            return Some(reply);
        }
        self.written += 1;
        self.stream.push_back((self.written, self.master.clone()));
        if matches!(call, Call::Renew { .. }) {
            return Some(reply);
        }
        self.waiting.push(Waits {
            request,
            written: self.written,
            reply,
        });
        None
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    fn execute(&mut self, call: &Call) -> (Reply, bool) {
        let control = &mut self.master.control;
        match call {
            Call::Observe => (
                Reply::Observed {
                    control: control.clone(),
                    lineage: self.lineage,
                },
                false,
            ),
            Call::Read { after } => {
                let later = self
                    .master
                    .entries
                    .iter()
                    .filter(|(tail, _)| tail.offset.0 > *after);
                (Reply::Entries(later.cloned().collect()), false)
            }
            Call::Renew { token } => {
                match control.as_mut().filter(|control| control.token == *token) {
                    Some(control) => {
                        control.beat += 1;
                        (Reply::Renewed(true), true)
                    }
                    None => (Reply::Renewed(false), false),
                }
            }
            Call::Claim {
                expected,
                token,
                owner,
            } => {
                let found = control
                    .as_ref()
                    .map(|control| (control.token, control.beat));
                if found != *expected || found.is_some_and(|(found, _)| token.epoch <= found.epoch)
                {
                    return (Reply::Refused, false);
                }
                let tail = control.as_ref().map_or(Tail::EMPTY, |control| control.tail);
                let beat = found.map_or(0, |(_, beat)| beat) + 1;
                let claimed = Control {
                    token: *token,
                    owner: *owner,
                    beat,
                    tail,
                };
                *control = Some(claimed.clone());
                (Reply::Claimed(claimed), true)
            }
            Call::Append {
                token,
                expected,
                tail,
                bytes,
            } => {
                let fences = self.fences;
                let Some(control) = control
                    .as_mut()
                    .filter(|control| control.token == *token || !fences)
                else {
                    let current = control.as_ref().expect("claimed before").token;
                    return (Reply::Fenced(current), false);
                };
                if control.tail == *tail {
                    control.beat += 1;
                    return (Reply::AlreadyDone, true);
                }
                if control.tail != *expected {
                    return (Reply::Mismatch(control.tail), false);
                }
                // I1: whatever is appended links to what stands.
                let entry = Entry::decode_after(expected, bytes).expect("an entry that links");
                assert_eq!(entry.tail, *tail);
                (control.tail, control.beat) = (*tail, control.beat + 1);
                self.master.entries.push((*tail, bytes.clone()));
                (Reply::Appended, true)
            }
            Call::Give {
                token,
                tail,
                to,
                next,
            } => {
                let holds =
                    |control: &&mut Control| control.token == *token && control.tail == *tail;
                match control.as_mut().filter(holds) {
                    Some(control) => {
                        (control.token, control.owner, control.beat) =
                            (*next, *to, control.beat + 1);
                        (Reply::Given, true)
                    }
                    None => (Reply::Refused, false),
                }
            }
        }
    }

    /// Requests whose WAIT has ended: answered with whether a second copy exists. `patience`: one
    /// that has no copy now is answered all the same.
    pub(super) fn answered(&mut self, rng: &mut StdRng) -> Vec<(u64, Reply, bool)> {
        let (mut done, mut waiting) = (Vec::new(), Vec::new());
        for waits in self.waiting.drain(..) {
            let copied = self.linked && waits.written <= self.replicated;
            if copied || rng.random_bool(0.2) {
                done.push((waits.request, waits.reply, copied));
            } else {
                waiting.push(waits);
            }
        }
        self.waiting = waiting;
        done
    }

    /// The replica takes some of what it lacks.
    pub(super) fn replicate(&mut self, rng: &mut StdRng) {
        if !self.linked {
            return;
        }
        for _ in 0..rng.random_range(1..=3) {
            let Some((number, shelf)) = self.stream.pop_front() else {
                return;
            };
            (self.replicated, self.replica) = (number, shelf);
        }
    }

    /// The replica is connected again and copies the master.
    pub(super) fn link(&mut self) {
        self.linked = true;
        self.stream.clear();
        (self.replica, self.replicated) = (self.master.clone(), self.written);
    }

    /// The master dies and its replica takes its place; until it is linked again there is no
    /// replica. Every connection breaks.
    pub(super) fn fail_over(&mut self) {
        self.master = self.replica.clone();
        self.restart();
        self.linked = false;
    }

    /// The master dies and comes back with what it had.
    pub(super) fn restart(&mut self) {
        self.lineage += 1;
        self.waiting.clear();
    }

    /// Whether some replica is connected.
    pub(super) fn has_replica(&self) -> bool {
        self.linked
    }
}
