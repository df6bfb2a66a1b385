//! Records of closed conversations, for the tests of this folder.

use crate::ids::Seq;
use crate::log::record::change::{Erasure, Pruning, Record};
use crate::log::record::event::EventKind;
use crate::log::record::samples::{conversation, event, user};

/// Those of the fourth version of the records.
pub(super) fn samples() -> Vec<(&'static str, Vec<Record>)> {
    let closed = EventKind::Closed { by: user("alice") };
    let pruned = |up_to| {
        Record::Pruned(Pruning {
            conversation: conversation("general"),
            up_to: Seq(up_to),
            at: 1_732_270_000_123,
            messages: Vec::new(),
        })
    };
    let erased = |is_last| {
        Record::Erased(Erasure {
            conversation: conversation("general"),
            is_last,
            at: 1_732_270_000_123,
        })
    };

    vec![
        ("closed", vec![event(16, None, closed)]),
        ("pruned", vec![pruned(1_000), pruned(u64::MAX)]),
        ("erased", vec![erased(false), erased(true)]),
    ]
}
