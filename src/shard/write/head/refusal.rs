//! Refusals that others give too.

use crate::problem::{Code, Problem};

/// The refusal of whoever is no participant, the same whether or not the conversation exists.
#[must_use]
pub(in crate::shard) fn not_participant() -> Problem {
    Problem::new(
        Code::NotParticipant,
        "you are no participant of this conversation, or it does not exist",
    )
}

/// The refusal of another request under a used key.
#[must_use]
pub(in crate::shard) fn idempotency_conflict() -> Problem {
    Problem::new(
        Code::IdempotencyConflict,
        "this Idempotency-Key was used for another request; use a new key",
    )
}
