//! Records of participants' own views, for the tests of this folder.

use std::sync::Arc;

use crate::ids::Seq;
use crate::log::record::change::Record;
use crate::log::record::index::IndexChange;
use crate::log::record::samples::{conversation, user};
use crate::log::record::view::{IndexView, OwnMark, ViewChange};

/// Those of the fifth version of the records.
pub(super) fn samples() -> Vec<(&'static str, Vec<Record>)> {
    let viewed = |notify_after, pinned, archived| {
        Record::Viewed(Arc::new(ViewChange {
            conversation: conversation("general"),
            user: user("bob"),
            joined: Seq(3),
            revision: 2,
            notify_after,
            pinned,
            archived,
            at: 1_732_270_000_123,
        }))
    };
    let mark = |read_up_to| {
        Record::OwnMark(Arc::new(OwnMark {
            conversation: conversation("general"),
            user: user("bob"),
            read_up_to: Seq(read_up_to),
            at: 1_732_270_000_123,
        }))
    };
    let index = |pinned, archived| {
        Record::Index(Arc::new(IndexChange {
            user: user("bob"),
            conversation: conversation("general"),
            seq: Seq(3),
            joined: true,
            at: 1_732_270_000_123,
            create_key: None,
            view: Some(IndexView {
                revision: 2,
                pinned,
                archived,
            }),
        }))
    };

    vec![
        (
            "viewed",
            vec![
                viewed(Some(1_800_000_000_000), Some(0), true),
                viewed(None, None, false),
            ],
        ),
        ("own_mark", vec![mark(0), mark(7)]),
        ("index_view", vec![index(Some(1), false), index(None, true)]),
    ]
}
