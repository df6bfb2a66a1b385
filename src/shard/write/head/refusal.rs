//! Refusals that others give too.

use crate::ids::UserId;
use crate::problem::{Code, Problem};

/// The refusal of whoever is no participant, the same whether or not the conversation exists.
#[must_use]
pub(in crate::shard) fn not_participant() -> Problem {
    Problem::new(
        Code::NotParticipant,
        "you are no participant of this conversation, or it does not exist",
    )
}

/// The refusal of whoever took part when the conversation was deleted.
#[must_use]
pub(super) fn conversation_closed() -> Problem {
    Problem::new(
        Code::ConversationClosed,
        "the conversation was deleted; its name stays taken",
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

/// The refusal of one who is muted.
#[must_use]
pub(super) fn muted(until: u64) -> Problem {
    let detail =
        format!("you are muted until {until} (unix milliseconds): you cannot send or edit before");
    Problem::new(Code::Muted, detail)
}

/// The refusal of adding one who is banned.
#[must_use]
pub(super) fn banned(user: &UserId) -> Problem {
    let detail = format!("{user} is banned from this conversation, and nobody was added");
    Problem::new(Code::Banned, detail)
}

/// The refusal of doing something to one who takes no part.
#[must_use]
pub(super) fn participant_unknown(user: &UserId) -> Problem {
    let detail = format!("{user} is no participant of this conversation");
    Problem::new(Code::ParticipantUnknown, detail)
}
