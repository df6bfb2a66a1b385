//! Records of roles, mutes, bans and settings, and what they leave in the file.

use super::*;
use crate::log::record::BanChange;
use crate::protocol::{Ban, Patch, Role, Settings, SettingsChange, Whom};

pub(crate) fn role(
    name: &str,
    seq: u64,
    (by, who): (&str, &str),
    role: Role,
    muted_until: Option<u64>,
) -> Record {
    let (by, user) = (user(by), user(who));
    event(
        name,
        seq,
        START,
        EventKind::Role {
            by,
            user,
            role,
            muted_until,
        },
    )
}

pub(crate) fn updated(
    name: &str,
    seq: u64,
    by: &str,
    (title, settings): (Patch<Option<Arc<str>>>, SettingsChange),
) -> Record {
    let data = title.clone();
    let by = user(by);
    event(
        name,
        seq,
        START,
        EventKind::Updated {
            by,
            title,
            data,
            settings,
        },
    )
}

pub(crate) fn banned(name: &str, seq: u64, by: &str, who: &str) -> Record {
    let (by, user) = (user(by), user(who));
    event(
        name,
        seq,
        START,
        EventKind::Left {
            by,
            user,
            admin: None,
            banned: true,
            reason: Some("why".into()),
        },
    )
}

/// Who is let in, as readers and muted.
pub(crate) fn let_in(name: &str, seq: u64, by: &str, users: &[&str], until: u64) -> Record {
    let names: Vec<_> = users.iter().map(|name| user(name)).collect();
    let muted = names.iter().map(|user| (user.clone(), until)).collect();
    let by = user(by);
    event(
        name,
        seq,
        START,
        EventKind::Joined {
            by,
            users: names.clone(),
            readers: names,
            muted,
        },
    )
}

/// Somebody is banned, or with `false` is not any more, without an event.
pub(crate) fn ban(name: &str, by: &str, who: &str, is_banned: bool) -> Record {
    let change = Arc::new(BanChange {
        conversation: conversation(name),
        user: user(who),
        by: user(by),
        reason: Some("because".into()),
        at: START,
    });
    if is_banned {
        Record::Banned(change)
    } else {
        Record::Unbanned(change)
    }
}

pub(crate) fn some_change(number: u64) -> (Patch<Option<Arc<str>>>, SettingsChange) {
    let of = |count: u64| usize::try_from(number % count).expect("small");
    let title = match number % 3 {
        0 => Patch::Keep,
        1 => Patch::Set(None),
        _ => Patch::Set(Some(format!("{{\"of\":{number}}}").into())),
    };
    let settings = SettingsChange {
        retention_s: [
            Patch::Keep,
            Patch::Set(Some(60)),
            Patch::Keep,
            Patch::Set(None),
        ][of(4)],
        post: [None, Some(Whom::All), Some(Whom::Moderators)][of(3)],
        add: [None, Some(Whom::All)][of(2)],
        edit_window_s: [Patch::Keep, Patch::Set(None), Patch::Set(Some(60))][of(3)],
        typing: [None, Some(true), Some(false)][of(3)],
        presence: [None, Some(false)][of(2)],
    };
    (title, settings)
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
async fn a_head_is_filled_with_all_that_was_decided() {
    let folder = folder();
    let all = SettingsChange {
        retention_s: Patch::Keep,
        post: Some(Whom::Moderators),
        add: Some(Whom::All),
        edit_window_s: Patch::Set(Some(60)),
        typing: Some(false),
        presence: Some(false),
    };

    let records = [
        created("c", &["alice", "bob", "carol"], START),
        role("c", 2, ("alice", "bob"), Role::Reader, Some(START + 5)),
        updated("c", 3, "alice", (Patch::Set(Some("{}".into())), all)),
        ban("c", "alice", "zoe", true),
        ban("c", "alice", "eve", true),
        ban("c", "alice", "eve", false),
        left("c", 4, "bob", "bob", None),
        banned("c", 5, "alice", "carol"),
        let_in("c", 6, "alice", &["dave"], START + 9),
        role("c", 7, ("alice", "dave"), Role::Admin, None),
    ];

    let store = one(folder.path(), &records, &[]).await;
    let head = store.head(&conversation("c")).await.expect("reads");
    let head = head.expect("there");
    assert_eq!(head.admin, user("dave"));

    let members: Vec<_> = head
        .members
        .iter()
        .map(|member| (member.user.as_str(), member.role, member.muted_until))
        .collect();
    assert_eq!(
        members,
        [
            ("alice", Role::Moderator, None),
            ("dave", Role::Member, None)
        ]
    );

    let mut banned = head.banned;
    banned.sort();
    assert_eq!(banned, [user("carol"), user("zoe")]);

    let kept: Vec<_> = head
        .kept
        .iter()
        .map(|kept| (kept.user.as_str(), kept.left, kept.role, kept.muted_until))
        .collect();
    assert_eq!(kept, [("bob", Seq(4), Role::Reader, Some(START + 5))]);

    assert_eq!(head.settings, Settings::default().with(&all));
    assert_eq!(
        (head.title.as_deref(), head.data.as_deref()),
        (Some("{}"), Some("{}"))
    );

    let bans = store
        .bans(&conversation("c"), None, 9)
        .await
        .expect("reads");
    let ban = |who: &str, reason: &str| Ban {
        user: user(who),
        by: user("alice"),
        at: START,
        reason: Some(reason.to_owned()),
    };
    assert_eq!(bans, [ban("carol", "why"), ban("zoe", "because")]);

    let after = store
        .bans(&conversation("c"), Some(&user("carol")), 9)
        .await;
    assert_eq!(after.expect("reads"), [ban("zoe", "because")]);
    let shown = store.summaries(&[conversation("c")], &user("dave")).await;
    let item = shown.expect("reads").remove(0).expect("is in");
    assert_eq!(item.conversation.my_role, Role::Admin);
    assert_eq!(item.conversation.settings, head.settings);
}

#[tokio::test]
async fn who_left_and_is_in_again_is_kept_no_more() {
    let folder = folder();
    let records = [
        created("c", &["alice"], START),
        let_in("c", 2, "alice", &["bob"], START + 9),
        left("c", 3, "bob", "bob", None),
        joined("c", 4, "alice", &["bob"]),
    ];

    let store = one(folder.path(), &records, &[]).await;
    let head = store.head(&conversation("c")).await.expect("reads");
    let head = head.expect("there");
    assert_eq!(head.kept, []);
    assert!(
        head.members
            .iter()
            .all(|member| member.role == Role::Member)
    );
}

#[tokio::test]
async fn a_file_of_the_version_before_says_that_everybody_is_a_member() {
    let folder = folder();
    let path = folder.path().join("s3.db");
    let rows = "INSERT INTO conversations VALUES ('c', NULL, 'alice', 1, 'alice', 1, NULL, NULL, NULL, 1, 1, 2);
        INSERT INTO participants VALUES ('c', 'alice', 1, 0), ('c', 'bob', 1, 1);";
    file_of_the_version_before(&path, rows).await;
    let store = open(folder.path(), "s3.db").await;
    let head = store.head(&conversation("c")).await.expect("reads");
    let head = head.expect("there");

    assert!(
        head.members
            .iter()
            .all(|member| (member.role, member.muted_until) == (Role::Member, None))
    );
    assert_eq!(head.settings, Settings::default());
    assert_eq!((head.banned.len(), head.kept.len()), (0, 0));
    store.close().await;
}
