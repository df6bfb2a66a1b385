//! Records of what a conversation does not keep for ever, for the tests of this folder.

use crate::ids::Seq;
use crate::log::record::change::{Pruning, Record};
use crate::log::record::event::EventKind;
use crate::log::record::samples::{conversation, event, message_id, user};
use crate::protocol::{Patch, Settings, SettingsChange};

/// Those of the fifth version of the records.
pub(super) fn samples() -> Vec<(&'static str, Vec<Record>)> {
    let settings = |retention_s| SettingsChange {
        retention_s: Patch::Set(retention_s),
        ..SettingsChange::default()
    };
    let created = EventKind::Created {
        by: user("alice"),
        title: None,
        participants: vec![user("alice")],
        data: None,
        settings: Settings::default().with(&settings(Some(86_400))),
    };
    let updated = |retention_s| EventKind::Updated {
        by: user("alice"),
        title: Patch::Keep,
        data: Patch::Keep,
        settings: settings(retention_s),
    };
    let pruned = |messages| {
        Record::Pruned(Pruning {
            conversation: conversation("general"),
            up_to: Seq(1_000),
            at: 1_732_270_000_123,
            messages,
        })
    };

    vec![
        ("created_v5", vec![event(1, None, created)]),
        (
            "updated_v5",
            vec![
                event(17, None, updated(Some(60))),
                event(18, None, updated(None)),
            ],
        ),
        (
            "pruned_beside",
            vec![pruned(vec![message_id(42), message_id(43)]), pruned(vec![])],
        ),
    ]
}
