//! A batch on its way to its definite end.

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::log::lane::proof::Proof;
use crate::log::record::Tail;
use crate::log::{Batch, Token};
use crate::telemetry;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: Batch,
    /// Taken once it has its definite end.
    pub(super) answer: Option<oneshot::Sender<Definite>>,
    pub(super) begun: Instant,
    /// An attempt has left it in doubt: since the first one's end.
    pub(super) doubted_since: Option<Instant>,
    /// All that its last attempt lacked was a second copy.
    pub(super) short: bool,
    /// What its last attempt lacked was space.
    pub(super) full: bool,
    /// Its witnesses are being asked.
    pub(super) asked: bool,
    /// Whether its shard is proven to be owned here; `None` when nobody proves it.
    pub(super) proof: Option<Proof>,
}

impl Job {
    pub(super) fn new(
        batch: Batch,
        answer: oneshot::Sender<Definite>,
        proof: Option<Proof>,
    ) -> Self {
        Self {
            batch,
            proof,
            answer: Some(answer),
            begun: Instant::now(),
            doubted_since: None,
            short: false,
            full: false,
            asked: false,
        }
    }

    /// Whether it must not be sent now. `silent`: its place did not answer the last cycle.
    pub(super) fn is_held(&self, silent: bool) -> bool {
        let unanswered = self.doubted_since.is_some() && !self.short;
        // Where nobody waits any more nobody renews either, and it has to come to its end.
        let awaited = self
            .answer
            .as_ref()
            .is_some_and(|answer| !answer.is_closed());
        (unanswered || silent) && awaited && self.proof.as_ref().is_some_and(Proof::has_ended)
    }

    /// Tells its definite end.
    pub(super) fn end(&mut self, word: &'static str, definite: Definite) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        telemetry::APPEND_OUTCOMES.add(1, &[("outcome", word)]);
        telemetry::APPEND_SECONDS.record(self.begun.elapsed().as_secs_f64(), &[]);
        // The shard may be gone; then no one needs the answer.
        answer.send(definite).ok();
    }
}

/// The definite end of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Definite {
    /// In the log, at the commit level.
    Committed,
    /// Another token is current. `doubted`: an earlier attempt was in doubt, so the batch may stand
    /// in the log, written before the token changed; else it is surely not there.
    Fenced {
        /// The current token.
        current: Token,
        /// See above.
        doubted: bool,
    },
    /// The stream has another tail, under our own token.
    TailMismatch {
        /// The stream's tail.
        found: Tail,
    },
    /// Surely not in the log.
    NotWritten(String),
}
