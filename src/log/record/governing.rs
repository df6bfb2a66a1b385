//! Records of roles, mutes, bans and settings, for the tests of this folder.

use std::sync::Arc;

use crate::log::record::change::{BanChange, Record};
use crate::log::record::event::EventKind;
use crate::log::record::samples::{conversation, event, user};
use crate::protocol::{Patch, Role, Settings, SettingsChange, Whom};

/// Those of the third version of the records.
#[expect(clippy::too_many_lines, reason = "one list")]
pub(super) fn samples() -> Vec<(&'static str, Vec<Record>)> {
    let (alice, bob) = (user("alice"), user("bob"));
    let settings = SettingsChange {
        post: Some(Whom::Moderators),
        add: Some(Whom::All),
        edit_window_s: Patch::Set(Some(3_600)),
        typing: Some(false),
        presence: Some(false),
        retention_s: Patch::Keep,
    };

    let created = EventKind::Created {
        by: alice.clone(),
        title: Some("Général ✨".into()),
        participants: vec![alice.clone(), bob.clone()],
        data: Some(r#"{"b":1.0,"a":[true,null]}"#.into()),
        settings: Settings::default().with(&settings),
    };

    let joined = EventKind::Joined {
        by: alice.clone(),
        users: vec![bob.clone(), user("carol")],
        readers: vec![bob.clone()],
        muted: vec![(user("carol"), 1_732_280_000_000)],
    };
    let banned = EventKind::Left {
        by: alice,
        user: bob,
        admin: None,
        banned: true,
        reason: Some("spam".into()),
    };

    let role = |role, muted_until| EventKind::Role {
        by: user("alice"),
        user: user("bob"),
        role,
        muted_until,
    };
    let updated = |title, data, change| EventKind::Updated {
        by: user("alice"),
        title,
        data,
        settings: change,
    };

    let cleared = SettingsChange {
        edit_window_s: Patch::Set(None),
        ..SettingsChange::default()
    };
    let ban = |reason: Option<&str>| {
        Arc::new(BanChange {
            conversation: conversation("general"),
            user: user("bob"),
            by: user("alice"),
            reason: reason.map(Arc::from),
            at: 1_732_270_000_123,
        })
    };

    vec![
        ("created_v3", vec![event(1, None, created)]),
        ("joined_v3", vec![event(3, None, joined)]),
        ("left_banned", vec![event(4, None, banned)]),
        (
            "role",
            vec![
                event(9, None, role(Role::Admin, None)),
                event(10, None, role(Role::Moderator, None)),
                event(11, None, role(Role::Reader, Some(u64::MAX))),
                event(12, None, role(Role::Member, Some(0))),
            ],
        ),
        (
            "updated",
            vec![
                event(
                    13,
                    None,
                    updated(
                        Patch::Set(Some("new".into())),
                        Patch::Set(Some("{}".into())),
                        settings,
                    ),
                ),
                event(
                    14,
                    None,
                    updated(Patch::Set(None), Patch::Set(None), cleared),
                ),
                event(
                    15,
                    None,
                    updated(Patch::Keep, Patch::Keep, SettingsChange::default()),
                ),
            ],
        ),
        (
            "bans",
            vec![
                Record::Banned(ban(Some("spam"))),
                Record::Banned(ban(None)),
                Record::Unbanned(ban(None)),
            ],
        ),
    ]
}
