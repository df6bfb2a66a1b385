//! One request's attempts within its budget: whom to ask next, when, and what may be said at the
//! end.
//!
//! **Invariants.** No attempt starts and no pause lasts beyond the deadline. Once an attempt may
//! have been executed, the end never claims that nothing was: [`Ended::in_doubt`] stays set.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::backoff::{Backoff, Pauses};
use crate::ids::{NodeId, Slot};
use crate::router::directory::Directory;
use crate::telemetry::ROUTER_RETRIES;

/// Pauses between two attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
/// While an attempt lasts, the table is looked at at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Hints followed without a pause; two nodes that point at each other cost no more than this.
const HINTS_AT_ONCE_MAX: u32 = 3;

/// How an attempt went.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// Answered: this is what the client gets.
    Answered(T),
    /// The node does not own the shard and did nothing; it may know who does, by which table.
    Elsewhere {
        owner: Option<NodeId>,
        version: Option<u64>,
    },
    /// The node cannot now and did nothing; this is what the client gets if no later attempt goes
    /// better.
    Declined(T),
    /// Surely nothing was sent.
    Unreachable,
    /// It may have been executed: the connection broke, or no answer came in time.
    Broken,
}

/// An answer, or the end of the budget.
#[derive(Debug)]
pub(super) struct Ended<T> {
    /// What a node answered, if one did.
    pub(super) answer: Option<T>,
    /// An attempt before it may have been executed all the same.
    pub(super) in_doubt: bool,
}

/// A request that can be sent to any node, again and again.
pub(super) trait Repeatable {
    /// What a node answers.
    type Answer;

    /// Sends it once, with so much time left.
    fn send(
        &self,
        node: &NodeId,
        left: Duration,
    ) -> impl Future<Output = Attempt<Self::Answer>> + Send;
}

/// Makes attempts until one is answered or the deadline has come. Dropping the future drops the
/// attempt in flight.
pub(super) async fn within<R: Repeatable>(
    directory: &Directory,
    slot: Slot,
    deadline: Instant,
    request: &R,
) -> Ended<R::Answer> {
    let mut course = Course {
        pauses: BACKOFF.pauses(),
        place: 0,
        hint: None,
        hints_followed: 0,
        in_doubt: false,
    };

    let mut declined = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let went = match course.next_node(directory, slot) {
            Some(node) => match send(directory, slot, &node, request.send(&node, left)).await {
                Attempt::Answered(answer) => {
                    return Ended {
                        answer: Some(answer),
                        in_doubt: course.in_doubt,
                    };
                }
                Attempt::Declined(answer) => {
                    declined = Some(answer);
                    Went::Declined
                }
                Attempt::Elsewhere { owner, version } => {
                    let version = version.unwrap_or(0);
                    directory.hint(version);
                    course.hint = owner
                        .filter(|owner| *owner != node)
                        .map(|owner| (owner, version));
                    Went::Elsewhere
                }
                Attempt::Unreachable => Went::Unreachable,
                Attempt::Broken => Went::Broken,
            },
            None => Went::NoTable,
        };
        ROUTER_RETRIES.add(1, &[("why", went.word())]);
        let Some(pause) = course.after(went, directory, slot) else {
            continue;
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        if pause >= rest && went != Went::NoTable {
            break;
        }
        // A change of the table ends the pause: it is what most pauses wait for.
        if timeout(pause.min(rest), directory.changed()).await.is_ok() {
            course.place = 0;
        }
    }

    Ended {
        answer: declined,
        in_doubt: course.in_doubt,
    }
}

/// One attempt, given up when the table meanwhile names another owner: a node that was taken for
/// dead may be paused, and would keep the request until the end of its budget.
async fn send<T>(
    directory: &Directory,
    slot: Slot,
    node: &NodeId,
    sending: impl Future<Output = Attempt<T>>,
) -> Attempt<T> {
    let owner = || directory.candidates(slot).into_iter().next();
    let before = owner();
    let moved = async {
        loop {
            let now = owner();
            if now.is_some() && now != before && now.as_ref() != Some(node) {
                return;
            }
            // A change that came just before is not seen.
            drop(timeout(LOOK_EVERY, directory.changed()).await);
        }
    };

    tokio::select! {
        attempt = sending => attempt,
        () = moved => Attempt::Broken,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    NoTable,
    Elsewhere,
    Declined,
    Unreachable,
    Broken,
}

impl Went {
    fn word(self) -> &'static str {
        match self {
            Self::NoTable => "no_table",
            Self::Elsewhere => "elsewhere",
            Self::Declined => "declined",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
        }
    }
}

struct Course {
    pauses: Pauses,
    /// Which of the row's nodes is asked next.
    place: usize,
    /// Who is said to own the shard, by which version of the table.
    hint: Option<(NodeId, u64)>,
    hints_followed: u32,
    in_doubt: bool,
}

impl Course {
    fn next_node(&mut self, directory: &Directory, slot: Slot) -> Option<NodeId> {
        if let Some((owner, version)) = self.hint.take() {
            let table = directory.table();
            if table
                .as_ref()
                .is_some_and(|table| table.addresses(&owner).is_some())
            {
                return Some(owner);
            }
            directory.refresh();
            // How it is reached says the table by which it was named.
            if table.is_some_and(|table| table.version < version) {
                self.hint = Some((owner, version));
                return None;
            }
        }

        let candidates = directory.candidates(slot);
        let place = self.place.checked_rem(candidates.len())?;
        candidates.into_iter().nth(place)
    }

    /// Goes on to the next node of the row. False when all of them have been asked, and it begins
    /// anew.
    fn ask_next(&mut self, directory: &Directory, slot: Slot) -> bool {
        self.place += 1;
        !self
            .place
            .is_multiple_of(directory.candidates(slot).len().max(1))
    }

    /// What follows a failed attempt: a pause, or none at all.
    fn after(&mut self, went: Went, directory: &Directory, slot: Slot) -> Option<Duration> {
        match went {
            Went::NoTable => directory.refresh(),
            Went::Declined => {}
            Went::Elsewhere => {
                if self.hint.is_some() && self.hints_followed < HINTS_AT_ONCE_MAX {
                    self.hints_followed += 1;
                    return None;
                }
                if self.hint.is_none() && self.ask_next(directory, slot) {
                    return None;
                }
            }
            Went::Broken => {
                self.in_doubt = true;
                directory.refresh();
            }
            Went::Unreachable => {
                directory.refresh();
                if self.ask_next(directory, slot) {
                    return None;
                }
            }
        }

        Some(self.pauses.next_jittered())
    }
}
