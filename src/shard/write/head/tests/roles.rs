//! Roles, mutes and settings.

use super::{NOW, begun, crew, give, may_send, mute, remove, set, update};
use crate::problem::Code;
use crate::protocol::{Patch, Role, Settings, SettingsChange, Whom};
use crate::shard::file::store::tests::user;

#[test]
fn members_send_where_all_may_and_readers_never_do() {
    let mut head = crew();
    for who in ["admin", "mod", "member"] {
        assert_eq!(may_send(&head, who, NOW), Ok(()), "{who}");
    }

    assert_eq!(may_send(&head, "reader", NOW), Err(Code::Forbidden));
    let closed = SettingsChange {
        post: Some(Whom::Moderators),
        ..SettingsChange::default()
    };

    assert_eq!(update(&mut head, "mod", closed), Err(Code::Forbidden));
    assert_eq!(
        update(&mut head, "stranger", closed),
        Err(Code::NotParticipant)
    );
    assert_eq!(update(&mut head, "admin", closed), Ok(true));
    assert_eq!(update(&mut head, "admin", closed), Ok(false), "no event");
    assert_eq!(may_send(&head, "member", NOW), Err(Code::Forbidden));
    assert_eq!(may_send(&head, "mod", NOW), Ok(()));
}

#[test]
fn a_mute_ends_by_itself_and_nobody_ends_their_own() {
    let mut head = crew();
    assert_eq!(mute(&mut head, "mod", "member", 5_000), Ok(true));
    assert_eq!(
        mute(&mut head, "mod", "member", 5_000),
        Ok(false),
        "it is so"
    );
    assert_eq!(may_send(&head, "member", 4_999), Err(Code::Muted));
    assert_eq!(may_send(&head, "member", 5_000), Ok(()));

    let own = set(&mut head, "member", "member", None, Patch::Set(None));
    assert_eq!(own, Err(Code::Invalid));

    for who in ["admin", "mod", "member", "reader"] {
        assert_eq!(
            mute(&mut head, who, who, 9_000),
            Err(Code::Invalid),
            "{who}"
        );
    }

    assert_eq!(mute(&mut head, "mod", "admin", 9_000), Err(Code::Forbidden));
    assert_eq!(
        mute(&mut head, "member", "reader", 9_000),
        Err(Code::Forbidden)
    );
    assert_eq!(
        mute(&mut head, "mod", "nobody", 9_000),
        Err(Code::ParticipantUnknown)
    );
    assert_eq!(
        mute(&mut head, "member", "nobody", 9_000),
        Err(Code::Forbidden)
    );
    assert_eq!(
        mute(&mut head, "nobody", "member", 9_000),
        Err(Code::NotParticipant)
    );

    // A time that has come ends it; a moderator is muted by the admin alone.
    assert_eq!(mute(&mut head, "mod", "member", NOW), Ok(true));
    assert_eq!(may_send(&head, "member", NOW), Ok(()));
    assert_eq!(mute(&mut head, "mod", "member", NOW), Ok(false));
    assert_eq!(mute(&mut head, "admin", "mod", 9_000), Ok(true));

    // What is so already counts as not given, so the moderator gives no role here.
    let both = set(
        &mut head,
        "mod",
        "member",
        Some(Role::Member),
        Patch::Set(Some(9_000)),
    );

    assert_eq!(both, Ok(true));
    // The role forbids before the mute does.
    assert_eq!(mute(&mut head, "mod", "reader", 9_000), Ok(true));
    assert_eq!(may_send(&head, "reader", NOW), Err(Code::Forbidden));
}

#[test]
fn the_office_is_handed_over_in_one_event_and_not_given_up() {
    let mut head = crew();
    assert_eq!(
        give(&mut head, "admin", "admin", Role::Member),
        Err(Code::Invalid)
    );
    assert_eq!(
        give(&mut head, "mod", "member", Role::Admin),
        Err(Code::Forbidden)
    );
    assert_eq!(
        give(&mut head, "mod", "mod", Role::Member),
        Err(Code::Forbidden)
    );

    mute(&mut head, "mod", "member", 9_000).expect("muted");
    let both = set(
        &mut head,
        "admin",
        "member",
        Some(Role::Admin),
        Patch::Set(Some(9_999)),
    );
    assert_eq!(both, Err(Code::Invalid), "an admin is not muted");

    let before = head.last_seq;
    assert_eq!(give(&mut head, "admin", "member", Role::Admin), Ok(true));
    assert_eq!(head.last_seq, before.next());
    assert_eq!(head.role(&user("member")), Some(Role::Admin));
    assert_eq!(head.role(&user("admin")), Some(Role::Moderator));
    assert_eq!(may_send(&head, "member", NOW), Ok(()), "the mute has ended");
    assert_eq!(
        give(&mut head, "admin", "mod", Role::Member),
        Err(Code::Forbidden)
    );
}

#[test]
fn moderators_follow_before_members_and_members_before_readers() {
    let mut head = begun(&["admin", "reader", "member", "mod"], Settings::default());
    give(&mut head, "admin", "mod", Role::Moderator).expect("given");
    give(&mut head, "admin", "reader", Role::Reader).expect("given");
    mute(&mut head, "admin", "mod", 9_000).expect("muted");
    for (gone, next) in [("admin", "mod"), ("mod", "member"), ("member", "reader")] {
        assert_eq!(remove(&mut head, gone, gone), Ok(true));
        assert_eq!(head.role(&user(next)), Some(Role::Admin), "{next}");
        assert_eq!(may_send(&head, next, NOW), Ok(()), "{next} is not muted");
    }
}
