//! What waited for a commit and is to be decided, or asked, anew.

use crate::ids::ConversationName;
use crate::shard::write::owner::input::Waiter;
use crate::shard::write::owner::piece::WorkKind;

/// Work that was taken once, and is taken again before everything that has come since.
pub(super) struct Again {
    pub(super) conversation: ConversationName,
    /// Its place in the order of arrival.
    pub(super) turn: u64,
    pub(super) kind: WorkKind,
}

/// What of a waiter is to be decided, or asked, anew; nothing when its caller has left.
pub(super) fn undecided(waiter: Waiter) -> Option<Again> {
    if waiter.is_abandoned() {
        return None;
    }

    let (conversation, turn, kind) = match waiter {
        Waiter::Write(..) => return None,
        Waiter::Rests(asked, _) | Waiter::Later(asked) => {
            asked.fate.reopen();
            (
                asked.write.conversation()?.clone(),
                asked.turn,
                WorkKind::Write(*asked),
            )
        }
        Waiter::Ticket {
            conversation,
            reader,
            want,
            answer,
            ..
        } => (
            conversation,
            u64::MAX,
            WorkKind::Begin {
                reader,
                want,
                answer,
            },
        ),
        Waiter::Subscribe {
            subscriber,
            conversation,
            user,
            answer,
        } => (
            conversation,
            u64::MAX,
            WorkKind::Subscribe {
                subscriber,
                user,
                answer,
            },
        ),
    };

    Some(Again {
        conversation,
        turn,
        kind,
    })
}
