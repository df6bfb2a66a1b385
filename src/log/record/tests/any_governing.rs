//! Any records of roles, mutes, bans and settings.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::any::{any_conversation, any_user};
use crate::log::record::change::BanChange;
use crate::log::record::event::EventKind;
use crate::protocol::{Patch, Role, Settings, SettingsChange, Whom};

/// Any event that says who may do what.
#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
pub(super) fn any_governing() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        (
            any_user(),
            option::of(any::<String>()),
            vec(any_user(), 0..20),
            option::of(any::<String>()),
            any_change(),
        )
            .prop_map(|(by, title, participants, data, change)| {
                EventKind::Created {
                    by,
                    title: title.map(Arc::from),
                    participants,
                    data: data.map(Arc::from),
                    settings: Settings::default().with(&change),
                }
            }),
        (
            any_user(),
            vec(any_user(), 0..20),
            vec(any_user(), 0..5),
            vec((any_user(), any::<u64>()), 0..5)
        )
            .prop_map(|(by, users, readers, muted)| EventKind::Joined {
                by,
                users,
                readers,
                muted
            }),
        (
            any_user(),
            any_user(),
            option::of(any_user()),
            any::<bool>(),
            option::of(any::<String>())
        )
            .prop_map(|(by, user, admin, banned, reason)| EventKind::Left {
                by,
                user,
                admin,
                banned,
                reason: reason.map(Arc::from),
            }),
        (
            any_user(),
            any_user(),
            prop::sample::select(Role::ALL.to_vec()),
            any::<Option<u64>>()
        )
            .prop_map(|(by, user, role, muted_until)| EventKind::Role {
                by,
                user,
                role,
                muted_until
            }),
        (
            any_user(),
            any_text_change(),
            any_text_change(),
            any_change()
        )
            .prop_map(|(by, title, data, settings)| EventKind::Updated {
                by,
                title,
                data,
                settings
            }),
    ]
}

fn any_text_change() -> impl Strategy<Value = Patch<Option<Arc<str>>>> {
    option::of(option::of(any::<String>())).prop_map(|given| {
        given.map_or(Patch::Keep, |text: Option<String>| {
            Patch::Set(text.map(Arc::from))
        })
    })
}

fn any_change() -> impl Strategy<Value = SettingsChange> {
    let whom = || option::of(prop::sample::select(vec![Whom::All, Whom::Moderators]));
    (
        whom(),
        whom(),
        any::<(Option<Option<u32>>, Option<bool>, Option<bool>)>(),
        any::<Option<Option<u32>>>(),
    )
        .prop_map(
            |(post, add, (edit_window_s, typing, presence), retention_s)| SettingsChange {
                post,
                add,
                edit_window_s: edit_window_s.map_or(Patch::Keep, Patch::Set),
                typing,
                presence,
                retention_s: retention_s.map_or(Patch::Keep, Patch::Set),
            },
        )
}

pub(super) fn any_ban() -> impl Strategy<Value = Arc<BanChange>> {
    (
        any_conversation(),
        (any_user(), any_user()),
        option::of(any::<String>()),
        any::<u64>(),
    )
        .prop_map(|(conversation, (user, by), reason, at)| {
            Arc::new(BanChange {
                conversation,
                user,
                by,
                reason: reason.map(Arc::from),
                at,
            })
        })
}
