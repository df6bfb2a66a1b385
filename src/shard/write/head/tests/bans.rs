//! Bans, and what leaving does not shed.

use super::{NOW, add, ban, begun, crew, give, may_send, mute, remove};
use crate::ids::Seq;
use crate::log::record::{Event, EventKind};
use crate::problem::Code;
use crate::protocol::{BANS_MAX, Role, Settings, Whom};
use crate::shard::command::Unban;
use crate::shard::file::store::KEPT_MAX;
use crate::shard::file::store::tests::{conversation, user};

#[test]
fn moderators_remove_and_ban_members_and_readers_alone() {
    let mut head = crew();
    for of in [remove, ban] {
        assert_eq!(of(&mut head, "mod", "admin"), Err(Code::Forbidden));
        assert_eq!(of(&mut head, "member", "reader"), Err(Code::Forbidden));
    }

    assert_eq!(ban(&mut head, "mod", "mod"), Err(Code::Invalid));
    assert_eq!(ban(&mut head, "nobody", "mod"), Err(Code::NotParticipant));
    assert_eq!(ban(&mut head, "mod", "member"), Ok(true));
    assert_eq!(ban(&mut head, "mod", "outsider"), Ok(false));
    assert!(!head.has(&user("member")));

    // Nobody is added when one is banned; those who are in already do not count.
    assert_eq!(
        add(&mut head, "admin", &["new", "outsider"]),
        Err(Code::Banned)
    );
    assert!(!head.has(&user("new")));

    let unban = Unban {
        conversation: conversation("c"),
        by: user("mod"),
        user: user("outsider"),
    };
    let ended = head.decide_unban(&unban, NOW).expect("may").expect("is");
    head.ban(&ended.user, false);
    assert_eq!(head.decide_unban(&unban, NOW).expect("may"), None);
    assert_eq!(add(&mut head, "mod", &["new", "outsider"]), Ok(true));
    assert_eq!(remove(&mut head, "mod", "reader"), Ok(true));
    assert_eq!(ban(&mut head, "admin", "mod"), Ok(true));
}

#[test]
fn a_conversation_has_at_most_ten_thousand_bans() {
    let mut head = crew();
    for number in 0..BANS_MAX {
        head.ban(&user(&format!("u{number}")), true);
    }
    assert_eq!(ban(&mut head, "mod", "one-more"), Err(Code::TooManyBans));
    assert_eq!(ban(&mut head, "mod", "member"), Err(Code::TooManyBans));
    assert_eq!(ban(&mut head, "mod", "u7"), Ok(false), "for another reason");
}

#[test]
fn leaving_sheds_neither_a_mute_nor_that_one_is_a_reader() {
    let open = Settings {
        add: Whom::All,
        ..Settings::default()
    };
    let mut head = begun(&["admin", "friend", "muted", "reader"], open);
    mute(&mut head, "admin", "muted", 9_000).expect("muted");
    give(&mut head, "admin", "reader", Role::Reader).expect("given");
    for who in ["muted", "reader"] {
        remove(&mut head, who, who).expect("left");
    }

    assert_eq!(add(&mut head, "friend", &["muted", "reader"]), Ok(true));
    assert_eq!(may_send(&head, "muted", NOW), Err(Code::Muted));
    assert_eq!(head.role(&user("reader")), Some(Role::Reader));

    // The admin may let them in as a member; the mute stays.
    for who in ["muted", "reader"] {
        remove(&mut head, who, who).expect("left");
    }

    assert_eq!(add(&mut head, "admin", &["muted", "reader"]), Ok(true));
    assert_eq!(may_send(&head, "muted", NOW), Err(Code::Muted));
    assert_eq!(head.role(&user("reader")), Some(Role::Member));

    // A moderator comes back as anybody does.
    give(&mut head, "admin", "friend", Role::Moderator).expect("given");
    remove(&mut head, "friend", "friend").expect("left");
    add(&mut head, "admin", &["friend"]).expect("added");
    assert_eq!(head.role(&user("friend")), Some(Role::Member));
}

#[test]
fn of_those_who_left_as_readers_the_last_ten_thousand_are_known() {
    let mut head = crew();
    let left = |seq: u64, who: String| Event {
        conversation: conversation("c"),
        seq: Seq(seq),
        created: NOW,
        key: None,
        kind: EventKind::left(user(&who), user(&who), None),
    };

    for number in 0..=KEPT_MAX as u64 {
        let who = format!("u{number}");
        let joined = EventKind::Joined {
            by: user("admin"),
            users: vec![user(&who)],
            readers: vec![user(&who)],
            muted: Vec::new(),
        };
        head.advance(&Event {
            kind: joined,
            ..left(2 * number + 10, who.clone())
        });
        head.advance(&left(2 * number + 11, who));
    }

    assert_eq!(head.gone.len(), KEPT_MAX);
    assert!(!head.gone.contains_key(&user("u0")) && head.gone.contains_key(&user("u1")));
}
