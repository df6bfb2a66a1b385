//! One node of the simulation: what it would do with the shard, a step at a time. The append side,
//! the chain, the lease are the real ones; the network and the servers are the model's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::ids::{Epoch, NodeId, Offset, ShardId};
use crate::log::double::Double;
use crate::log::lane::{Definite, Lane, Loose};
use crate::log::lease::Lease;
use crate::log::record::{Entry, Header, OutboxPosition, Record, Tail, seal};
use crate::log::{Batch, Stream, Token};
use crate::shard::simulation::redis::{Call, Control, Reply};
use crate::shard::simulation::watch::Watch;
use crate::shard::write::append::{Appender, Ended};

/// A log that nobody asks: the lane that it belongs to has no loops.
#[derive(Debug)]
struct NoLog;

impl Double for NoLog {}

pub(super) const WATCH: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_millis(750);
const POLL_EVERY: Duration = Duration::from_millis(250);
/// A request without an answer for so long is given up, with its connection.
const TIMEOUT: Duration = Duration::from_millis(500);

/// A request on its way, and when it was sent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    id: u64,
    at: Duration,
}

/// What a node would have of the world.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) up: bool,
    pub(super) paused: bool,
    /// Number of its connection: answers to an older one are not for it.
    pub(super) life: u64,
    /// Applied entries: what a crash leaves.
    pub(super) file: Vec<(Tail, Bytes)>,
    pub(super) role: Role,
    /// Requests to be sent.
    pub(super) out: Vec<(u64, Call)>,
    /// Records that this replica had and the log has not.
    pub(super) orphans: Vec<u64>,
    next_request: u64,
    /// What the log lost is appended again.
    restores: bool,
    /// Highest epoch that another replica told of.
    heard: Epoch,
}

#[derive(Debug)]
pub(super) enum Role {
    Standby(Standby),
    Taking(Taking),
    Owner(Box<Owner>),
}

#[derive(Debug, Default)]
pub(super) struct Standby {
    watch: Watch,
    observing: Option<Asked>,
    reading: Option<Asked>,
    observed_at: Option<Duration>,
    /// Tail that was last observed.
    tail: Option<Tail>,
    /// Needs a copy of the owner's file.
    pub(super) needs_seed: bool,
}

#[derive(Debug)]
pub(super) struct Taking {
    token: Token,
    step: Step,
    asked: Asked,
}

#[derive(Debug)]
enum Step {
    Claiming,
    Reading {
        tail: Tail,
    },
    /// Appends these one after the other; the last one is the epoch's start. `log` is what stands
    /// by then.
    Appending {
        log: Vec<(Tail, Bytes)>,
        rest: VecDeque<(Tail, Tail, Bytes)>,
    },
}

/// An owner that serves.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) token: Token,
    appender: Appender<u64>,
    lane: Lane,
    loose: Loose,
    sending: Option<Sending>,
    pub(super) lease: Lease,
    renewing: Option<Asked>,
    renewed_at: Duration,
    /// Numbers of the operations that are committed, in order: what a read shows.
    pub(super) committed: Vec<u64>,
    decided: BTreeSet<u64>,
    /// Told again, once it is sure that this is still the owner.
    confirming: BTreeSet<u64>,
    /// Committed entries that the file lacks.
    unapplied: VecDeque<(Tail, Bytes)>,
    giving: Option<Asked>,
}

#[derive(Debug)]
struct Sending {
    batch: Batch,
    answer: oneshot::Sender<Definite>,
    asked: Asked,
    doubted: bool,
}

/// What a step of a node tells the world.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Acknowledged(u64),
    /// It opened the shard.
    Opened,
}

impl Owner {
    /// It gives the shard away: from before that is sent on, it answers no strict read.
    pub(super) fn gives(&self) -> bool {
        self.giving.is_some()
    }
}

impl Node {
    pub(super) fn new(index: usize, restores: bool) -> Self {
        Self {
            index,
            up: true,
            paused: false,
            life: 0,
            file: Vec::new(),
            role: Role::Standby(Standby::default()),
            out: Vec::new(),
            orphans: Vec::new(),
            next_request: 1,
            restores,
            heard: Epoch(0),
        }
    }

    pub(super) fn lives(&self) -> bool {
        self.up && !self.paused
    }

    pub(super) fn owner(&mut self) -> Option<&mut Owner> {
        if let Role::Owner(owner) = &mut self.role {
            Some(owner)
        } else {
            None
        }
    }

    pub(super) fn file_tail(&self) -> Tail {
        self.file.last().map_or(Tail::EMPTY, |(tail, _)| *tail)
    }

    /// A replica whose word counts: it follows, and its file holds the log up to this very tail.
    pub(super) fn holds(&self, tail: Tail) -> bool {
        let follows = matches!(&self.role, Role::Standby(standby) if !standby.needs_seed);
        self.lives() && follows && self.file.iter().any(|(held, _)| *held == tail)
    }

    fn max_epoch(&self) -> Epoch {
        let epochs = self
            .file
            .iter()
            .filter_map(|(_, bytes)| Header::read(bytes).ok())
            .map(|header| header.epoch);
        epochs.max().unwrap_or(Epoch(0))
    }

    fn ask(&mut self, now: Duration, call: Call) -> Asked {
        let id = self.next_request;
        self.next_request += 1;
        self.out.push((id, call));
        Asked { id, at: now }
    }

    pub(super) fn stand_by(&mut self) {
        self.role = Role::Standby(Standby::default());
    }

    /// Dies and loses what is in memory.
    pub(super) fn crash(&mut self) {
        self.up = false;
        self.life += 1;
        self.out.clear();
        self.stand_by();
    }

    /// A new operation arrives. Ignored unless it owns the shard, as far as it knows; one that is
    /// there already is acknowledged by its commit, as if it were new.
    pub(super) fn submit(&mut self, operation: u64) {
        let Some(owner) = self.owner() else { return };
        if owner.giving.is_some() {
            return;
        }

        if owner.committed.contains(&operation) {
            // Known already, but perhaps by a log that others have gone on without: said only with
            // a commit behind it.
            if owner.confirming.insert(operation) {
                let proof = Record::EpochStart {
                    epoch: owner.token.epoch,
                    node: NodeId::from("n"),
                    ts: 1,
                };
                let offset = owner.appender.decide(proof, Vec::new());
                owner.appender.wait(offset, operation);
            }
            return;
        }

        if owner.decided.insert(operation) {
            let upto = OutboxPosition {
                offset: Offset(operation),
                index: 0,
            };
            let offset = owner
                .appender
                .decide(Record::OutboxProgress { upto }, Vec::new());
            owner.appender.wait(offset, operation);
        }
    }

    /// Applies a committed entry, as the owner's worker does.
    pub(super) fn apply_one(&mut self) {
        let Some(entry) = self.owner().and_then(|owner| owner.unapplied.pop_front()) else {
            return;
        };
        self.file.push(entry);
    }

    /// Begins the planned hand-over, if nothing is under way.
    pub(super) fn give(&mut self, now: Duration, to: usize) {
        let Some(owner) = self.owner() else { return };
        if owner.giving.is_some() || owner.sending.is_some() || !owner.appender.is_idle() {
            return;
        }
        let (token, tail) = (owner.token, owner.appender.committed());
        let call = Call::Give {
            token,
            tail,
            to,
            next: Token::new(token.epoch.next()),
        };
        let asked = self.ask(now, call);
        if let Some(owner) = self.owner() {
            owner.giving = Some(asked);
        }
    }

    /// Timers.
    pub(super) fn tick(&mut self, now: Duration, rank: u32) {
        let has_expired = |asked: Asked| now.saturating_sub(asked.at) > TIMEOUT;
        match &mut self.role {
            Role::Standby(standby) => {
                if standby.observing.is_some_and(has_expired)
                    || standby.reading.is_some_and(has_expired)
                {
                    (standby.observing, standby.reading) = (None, None);
                    self.life += 1;
                    return;
                }
                let due = standby
                    .observed_at
                    .is_none_or(|at| now.saturating_sub(at) >= POLL_EVERY);
                if standby.observing.is_none() && due {
                    standby.observed_at = Some(now);
                    let asked = self.ask(now, Call::Observe);
                    if let Role::Standby(standby) = &mut self.role {
                        standby.observing = Some(asked);
                    }
                    return;
                }
                let max_epoch = self.max_epoch();
                let Role::Standby(standby) = &mut self.role else {
                    return;
                };
                if let Some(expected) = standby
                    .watch
                    .due(now, WATCH, rank, max_epoch)
                    .filter(|_| !standby.needs_seed)
                {
                    self.claim(now, expected);
                }
            }
            Role::Taking(taking) => {
                if has_expired(taking.asked) {
                    // What became of it, the next look shows.
                    self.life += 1;
                    self.stand_by();
                }
            }
            Role::Owner(owner) => {
                if owner.giving.is_some_and(has_expired) {
                    // Given or not, the next look shows.
                    self.life += 1;
                    return self.stand_by();
                }
                if owner
                    .sending
                    .as_ref()
                    .is_some_and(|sending| has_expired(sending.asked))
                {
                    self.life += 1;
                    self.send_again(now);
                }
                self.own(now);
            }
        }
    }

    fn claim(&mut self, now: Duration, expected: Option<(Token, u64)>) {
        let known = expected
            .map_or(Epoch(0), |(token, _)| token.epoch)
            .max(self.max_epoch())
            .max(self.heard);
        let token = Token::new(known.next());
        let asked = self.ask(
            now,
            Call::Claim {
                expected,
                token,
                owner: self.index,
            },
        );

        self.role = Role::Taking(Taking {
            token,
            step: Step::Claiming,
            asked,
        });
    }

    fn send_again(&mut self, now: Duration) {
        let Some(Sending { batch, .. }) = self.owner().and_then(|owner| owner.sending.as_mut())
        else {
            return;
        };
        let call = append_of(batch);
        let asked = self.ask(now, call);
        if let Some(sending) = self.owner().and_then(|owner| owner.sending.as_mut()) {
            (sending.asked, sending.doubted) = (asked, true);
        }
    }

    fn own(&mut self, now: Duration) {
        let Some(owner) = self.owner() else { return };
        if owner.sending.is_none() {
            owner.appender.pump(&owner.lane.clone());
            if let Some((batch, answer)) = owner.loose.next() {
                let call = append_of(&batch);
                let asked = self.ask(now, call);
                if let Some(owner) = self.owner() {
                    owner.sending = Some(Sending {
                        batch,
                        answer,
                        asked,
                        doubted: false,
                    });
                }
            }
        }

        let Some(owner) = self.owner() else { return };
        if owner
            .renewing
            .is_some_and(|asked| now.saturating_sub(asked.at) > TIMEOUT)
        {
            owner.renewing = None;
        }

        if owner.renewing.is_none() && now.saturating_sub(owner.renewed_at) >= RENEW_EVERY {
            let token = owner.token;
            let asked = self.ask(now, Call::Renew { token });
            if let Some(owner) = self.owner() {
                (owner.renewing, owner.renewed_at) = (Some(asked), now);
            }
        }
    }

    /// A reply. `copied`: the write has a second copy. `others`: files of other replicas that
    /// answer.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        (id, reply): (u64, Reply),
        copied: bool,
        others: &[Vec<(Tail, Bytes)>],
    ) -> Vec<Told> {
        match &mut self.role {
            Role::Standby(_) => self.follow(now, id, reply),
            Role::Taking(taking) if taking.asked.id == id => {
                return self.take(now, reply, copied, others);
            }
            Role::Owner(_) => return self.owned(now, id, reply, copied),
            Role::Taking(_) => {}
        }
        Vec::new()
    }

    fn follow(&mut self, now: Duration, id: u64, reply: Reply) {
        let (index, file_tail) = (self.index, self.file_tail());
        let Role::Standby(standby) = &mut self.role else {
            return;
        };

        match reply {
            Reply::Observed { control, lineage }
                if standby.observing.is_some_and(|asked| asked.id == id) =>
            {
                let sent = standby.observing.take().map_or(now, |asked| asked.at);
                standby.watch.saw(control.as_ref(), lineage, sent, now);
                standby.tail = control.as_ref().map(|control| control.tail);
                // It is ours already: a former self, or one who gave it to us, or a log that fell
                // back.
                if let Some(Control {
                    owner, token, beat, ..
                }) = control
                    && owner == index
                    && !standby.needs_seed
                {
                    return self.claim(now, Some((token, beat)));
                }
                if standby
                    .tail
                    .is_some_and(|tail| tail.offset > file_tail.offset)
                    && standby.reading.is_none()
                {
                    let asked = self.ask(
                        now,
                        Call::Read {
                            after: file_tail.offset.0,
                        },
                    );
                    if let Role::Standby(standby) = &mut self.role {
                        standby.reading = Some(asked);
                    }
                }
            }
            Reply::Entries(entries) if standby.reading.is_some_and(|asked| asked.id == id) => {
                standby.reading = None;
                if !standby.needs_seed {
                    self.apply(entries);
                }
            }
            _ => {}
        }
    }

    /// Applies what links; a file with another history is no replica any more.
    fn apply(&mut self, entries: Vec<(Tail, Bytes)>) -> bool {
        for (tail, bytes) in entries {
            let at = self.file_tail();
            if tail.offset <= at.offset {
                continue;
            }
            if Entry::decode_after(&at, &bytes).is_err() {
                self.quarantine();
                return false;
            }
            self.file.push((tail, bytes));
        }
        true
    }

    fn quarantine(&mut self) {
        self.orphans
            .extend(self.file.iter().flat_map(|(_, bytes)| operations(bytes)));
        self.file.clear();
        self.role = Role::Standby(Standby {
            needs_seed: true,
            ..Standby::default()
        });
    }

    fn take(
        &mut self,
        now: Duration,
        reply: Reply,
        copied: bool,
        others: &[Vec<(Tail, Bytes)>],
    ) -> Vec<Told> {
        let Role::Taking(Taking { token, step, .. }) = &mut self.role else {
            return Vec::new();
        };
        let token = *token;

        match (std::mem::replace(step, Step::Claiming), reply) {
            (Step::Claiming, Reply::Claimed(control)) if copied => {
                let asked = self.ask(now, Call::Read { after: 0 });
                self.role = Role::Taking(Taking {
                    token,
                    step: Step::Reading { tail: control.tail },
                    asked,
                });
            }
            (Step::Reading { tail }, Reply::Entries(log)) => {
                // Final: every other token is fenced.
                if log.last().map_or(Tail::EMPTY, |(tail, _)| *tail) == tail {
                    return self.restore(now, token, log, others);
                }
                self.stand_by();
            }
            (Step::Appending { mut log, mut rest }, Reply::Appended | Reply::AlreadyDone)
                if copied =>
            {
                if let Some((_, tail, bytes)) = rest.pop_front() {
                    log.push((tail, bytes));
                }
                return self.append_next(now, token, log, rest);
            }
            // Not replicated, refused, fenced, or another tail: looked at anew.
            _ => self.stand_by(),
        }

        Vec::new()
    }

    /// The log is final: what it lacks of our file, and then of the others', is appended again;
    /// then the epoch begins.
    fn restore(
        &mut self,
        now: Duration,
        token: Token,
        log: Vec<(Tail, Bytes)>,
        others: &[Vec<(Tail, Bytes)>],
    ) -> Vec<Told> {
        let log_tail = log.last().map_or(Tail::EMPTY, |(tail, _)| *tail);
        let is_past =
            log_tail == Tail::EMPTY || self.file.iter().any(|(tail, _)| *tail == log_tail);
        if !is_past && !self.apply(log.clone()) {
            return Vec::new();
        }

        if is_past || self.file_tail() == log_tail {
            let (mut rest, mut at) = (VecDeque::new(), log_tail);
            for source in std::iter::once(&self.file)
                .chain(others)
                .filter(|_| self.restores)
            {
                for (tail, bytes) in source
                    .iter()
                    .filter(|(tail, _)| tail.offset > log_tail.offset)
                {
                    if tail.offset > at.offset && Entry::decode_after(&at, bytes).is_ok() {
                        rest.push_back((at, *tail, bytes.clone()));
                        at = *tail;
                    }
                }
            }
            let above = rest
                .iter()
                .filter_map(|(.., bytes)| Some(Header::read(bytes).ok()?.epoch))
                .max();
            if let Some(above) = above.filter(|above| *above > token.epoch) {
                // Somebody began a later epoch that the log has forgotten: claimed again, above it.
                self.heard = above;
                self.stand_by();
                return Vec::new();
            }
            let start = Record::EpochStart {
                epoch: token.epoch,
                node: NodeId::from("n"),
                ts: 1,
            };
            let (bytes, tail) = seal(&at, token.epoch, &[start.encode()]);
            rest.push_back((at, tail, bytes));
            return self.append_next(now, token, log, rest);
        }

        self.quarantine();
        Vec::new()
    }

    fn append_next(
        &mut self,
        now: Duration,
        token: Token,
        log: Vec<(Tail, Bytes)>,
        rest: VecDeque<(Tail, Tail, Bytes)>,
    ) -> Vec<Told> {
        if let Some((expected, tail, bytes)) = rest.front().cloned() {
            let asked = self.ask(
                now,
                Call::Append {
                    token,
                    expected,
                    tail,
                    bytes,
                },
            );
            self.role = Role::Taking(Taking {
                token,
                step: Step::Appending { log, rest },
                asked,
            });
            return Vec::new();
        }

        if !self.apply(log.clone()) {
            return Vec::new();
        }

        let tail = self.file_tail();
        let committed = log
            .iter()
            .flat_map(|(_, bytes)| operations(bytes))
            .collect();
        let (lane, loose) = Lane::loose(Arc::new(NoLog));
        let sent = if let Role::Taking(taking) = &self.role {
            taking.asked.at
        } else {
            now
        };

        self.role = Role::Owner(Box::new(Owner {
            token,
            appender: Appender::new(ShardId(0), Stream::Messages, token, tail),
            lane,
            loose,
            sending: None,
            lease: Lease::new(Some(WATCH), sent),
            renewing: None,
            renewed_at: now,
            committed,
            decided: BTreeSet::new(),
            confirming: BTreeSet::new(),
            unapplied: VecDeque::new(),
            giving: None,
        }));

        vec![Told::Opened]
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    fn owned(&mut self, now: Duration, id: u64, reply: Reply, copied: bool) -> Vec<Told> {
        let Some(owner) = self.owner() else {
            return Vec::new();
        };

        if owner.renewing.is_some_and(|asked| asked.id == id) {
            let sent = owner.renewing.take().map_or(now, |asked| asked.at);
            match reply {
                Reply::Renewed(true) => owner.lease.prove(sent),
                _ => self.stand_by(),
            }
            return Vec::new();
        }

        if owner.giving.is_some_and(|asked| asked.id == id) {
            // Given or not: whoever holds the token now, the next look shows.
            self.stand_by();
            return Vec::new();
        }

        let Some(Sending {
            batch,
            answer,
            doubted,
            ..
        }) = owner.sending.take_if(|sending| sending.asked.id == id)
        else {
            return Vec::new();
        };

        let end = match reply {
            Reply::Appended | Reply::AlreadyDone if copied => Definite::Committed,
            Reply::Fenced(current) => Definite::Fenced { current, doubted },
            Reply::Mismatch(found) => Definite::TailMismatch { found },
            _ => {
                let asked = Asked { id, at: now };
                owner.sending = Some(Sending {
                    batch,
                    answer,
                    asked,
                    doubted: true,
                });
                self.send_again(now);
                return Vec::new();
            }
        };
        answer.send(end).expect("the appender waits");

        let end = owner.appender.end().now_or_never().expect("it was told");
        let is_new = batch.tail.offset > owner.appender.committed().offset;
        let committed = matches!(end, Definite::Committed) && is_new;

        match owner.appender.ended(end) {
            Ended::Committed(records) => {
                owner.committed.extend(
                    records
                        .iter()
                        .filter_map(|decided| operation(&decided.record)),
                );
                if committed {
                    owner.unapplied.push_back((batch.tail, batch.bytes));
                }
                let mut told = Vec::new();
                while let Some(operation) = owner.appender.ready() {
                    owner.confirming.remove(&operation);
                    told.push(Told::Acknowledged(operation));
                }
                told
            }
            Ended::NotWritten(_) | Ended::Lost { .. } => {
                self.stand_by();
                Vec::new()
            }
        }
    }

    /// Gets the file of a replica that follows.
    pub(super) fn seed(&mut self, file: Vec<(Tail, Bytes)>) {
        self.file = file;
        self.stand_by();
    }
}

fn append_of(batch: &Batch) -> Call {
    let Batch {
        token,
        expected,
        tail,
        bytes,
        ..
    } = batch.clone();
    Call::Append {
        token,
        expected,
        tail,
        bytes,
    }
}

fn operation(record: &Record) -> Option<u64> {
    match record {
        Record::OutboxProgress { upto } => Some(upto.offset.0),
        _ => None,
    }
}

/// The operations in an entry.
pub(super) fn operations(bytes: &Bytes) -> Vec<u64> {
    Entry::records_of(bytes)
        .iter()
        .filter_map(operation)
        .collect()
}
