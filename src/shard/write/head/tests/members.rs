//! Who takes part, what they send, and a name that is in use.

use crate::ids::{IdempotencyKey, Offset, Seq};
use crate::log::record::{Event, EventKind};
use crate::problem::Code;
use crate::protocol::policy::Action;
use crate::protocol::{PARTICIPANTS_MAX, PARTICIPANTS_SHOWN_MAX, Role};
use crate::shard::command::{Add, Create, Remove, Send};
use crate::shard::file::store::tests::{conversation, user};
use crate::shard::write::head::{Head, RECENT_MAX, decide_create, decide_create_again};

fn begun(users: &[&str]) -> Head {
    let create = Create {
        key: IdempotencyKey::from_client("key"),
        fingerprint: [1; 16],
        ..Create::of("c", users)
    };
    Head::begun(&decide_create(&create, 100), Offset(7)).expect("a creation")
}

fn add(head: &mut Head, by: &str, users: &[&str]) -> Result<bool, Code> {
    let users = users.iter().map(|name| user(name)).collect();
    let add = Add {
        conversation: conversation("c"),
        by: user(by),
        users,
    };
    let event = head.decide_add(&add, 200).map_err(|problem| problem.code)?;
    Ok(event.map(|event| head.advance(&event)).is_some())
}

fn remove(head: &mut Head, by: &str, whom: &str) -> Result<bool, Code> {
    let remove = Remove {
        conversation: conversation("c"),
        by: user(by),
        user: user(whom),
    };
    let event = head
        .decide_remove(&remove, 200)
        .map_err(|problem| problem.code)?;
    Ok(event.map(|event| head.advance(&event)).is_some())
}

fn send(head: &mut Head, source: &str, now_ms: u64) -> Result<Event, Code> {
    let send = Send::plain(conversation("c"), user(source), "hello");
    head.may_write(&send.source, Action::Send, now_ms)
        .map_err(|problem| problem.code)?;
    let event = head.decide_send(&send, [0; 16], now_ms, now_ms);
    head.advance(&event);
    Ok(event)
}

#[test]
fn only_participants_write_and_each_change_takes_the_next_seq() {
    let mut head = begun(&["alice", "bob"]);
    assert_eq!(head.last_seq, Seq(1));
    assert_eq!(send(&mut head, "bob", 300).expect("in").seq, Seq(2));
    assert_eq!(send(&mut head, "carol", 300), Err(Code::NotParticipant));
    assert_eq!(add(&mut head, "alice", &["carol"]), Ok(true));
    assert_eq!(send(&mut head, "carol", 300).expect("in").seq, Seq(4));
    assert_eq!(remove(&mut head, "alice", "carol"), Ok(true));
    assert_eq!(send(&mut head, "carol", 300), Err(Code::NotParticipant));
    assert_eq!(send(&mut head, "alice", 300).expect("in").seq, Seq(6));
}

#[test]
fn the_time_of_an_event_is_never_before_the_one_of_the_event_before() {
    let mut head = begun(&["alice"]);
    let times = [500, 400, 0, 501].map(|now_ms| send(&mut head, "alice", now_ms).expect("in"));
    assert_eq!(
        times.each_ref().map(|event| event.created),
        [500, 500, 500, 501]
    );
}

#[test]
fn only_the_admin_adds_and_removes_others_and_anyone_leaves() {
    let mut head = begun(&["alice", "bob", "carol"]);
    assert_eq!(add(&mut head, "bob", &["dave"]), Err(Code::Forbidden));
    assert_eq!(
        add(&mut head, "stranger", &["dave"]),
        Err(Code::NotParticipant)
    );
    assert_eq!(remove(&mut head, "bob", "carol"), Err(Code::Forbidden));
    assert_eq!(
        remove(&mut head, "stranger", "carol"),
        Err(Code::NotParticipant)
    );

    assert_eq!(
        remove(&mut head, "stranger", "stranger"),
        Ok(false),
        "the user is out already"
    );
    assert_eq!(remove(&mut head, "alice", "dave"), Ok(false));
    assert_eq!(remove(&mut head, "bob", "bob"), Ok(true));
    assert_eq!(
        add(&mut head, "alice", &["alice", "carol"]),
        Ok(false),
        "all are in"
    );
    assert_eq!(head.last_seq, Seq(2));
}

#[test]
fn the_longest_standing_participant_follows_an_admin_who_leaves() {
    let mut head = begun(&["alice", "zoe", "bob"]);
    add(&mut head, "alice", &["aaron"]).expect("added");
    remove(&mut head, "zoe", "zoe").expect("left");
    add(&mut head, "alice", &["zoe"]).expect("added");

    let succession = [("alice", "bob"), ("bob", "aaron"), ("aaron", "zoe")];
    for (gone, next) in succession {
        let remove = Remove {
            conversation: conversation("c"),
            by: user(gone),
            user: user(gone),
        };
        let event = head
            .decide_remove(&remove, 1)
            .expect("may leave")
            .expect("was in");
        assert!(
            matches!(&event.kind, EventKind::Left { admin: Some(admin), .. } if *admin == user(next))
        );
        head.advance(&event);
        assert_eq!(head.role(&user(next)), Some(Role::Admin));
    }

    remove(&mut head, "zoe", "zoe").expect("left");
    assert_eq!((head.participants.len(), &head.admin), (0, &user("zoe")));
    assert_eq!(
        add(&mut head, "zoe", &["zoe"]),
        Err(Code::NotParticipant),
        "no one lets the user in again"
    );
}

#[test]
fn those_of_one_event_stand_in_the_order_in_which_they_were_named() {
    let mut head = begun(&["zoe", "mia", "adam"]);
    remove(&mut head, "zoe", "zoe").expect("left");
    assert_eq!(head.admin, user("mia"));
}

#[test]
fn a_conversation_has_at_most_ten_thousand_participants() {
    let mut head = begun(&["admin"]);
    let names: Vec<String> = (1..PARTICIPANTS_MAX)
        .map(|number| format!("u-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (most, last) = names.split_at(names.len() - 1);
    assert_eq!(add(&mut head, "admin", most), Ok(true));
    assert_eq!(
        add(&mut head, "admin", &[last[0], "one-too-many"]),
        Err(Code::Invalid)
    );

    // Duplicates and those who are in do not count.
    assert_eq!(
        add(&mut head, "admin", &[last[0], last[0], "u-1"]),
        Ok(true)
    );
    assert_eq!(head.participants.len(), PARTICIPANTS_MAX);
    assert_eq!(
        add(&mut head, "admin", &["one-too-many"]),
        Err(Code::Invalid)
    );
    assert_eq!(
        head.view(&conversation("c"), &user("admin"), 0)
            .participants
            .map(|shown| shown.len()),
        Some(PARTICIPANTS_SHOWN_MAX)
    );
}

#[test]
fn only_the_newest_messages_are_kept_with_their_authors() {
    let mut head = begun(&["alice"]);
    for now_ms in 0..RECENT_MAX as u64 + 5 {
        send(&mut head, "alice", now_ms).expect("in");
    }
    assert_eq!(head.recent.len(), RECENT_MAX);
    assert_eq!(
        head.recent.back().map(|recent| recent.seq),
        Some(head.last_seq)
    );
}

#[test]
fn creating_a_name_again_is_the_same_request_or_a_refusal() {
    let head = begun(&["alice", "bob"]);
    let again = |by: &str, key: Option<&str>, fingerprint| {
        let create = Create {
            key: key.and_then(IdempotencyKey::from_client),
            fingerprint,
            ..Create::of("c", &[by])
        };
        decide_create_again(&head, &create).map_err(|problem| problem.code)
    };

    assert_eq!(again("alice", Some("key"), [1; 16]), Ok(()));
    assert_eq!(
        again("alice", Some("key"), [2; 16]),
        Err(Code::IdempotencyConflict)
    );
    assert_eq!(again("alice", Some("other"), [1; 16]), Err(Code::NameTaken));
    assert_eq!(again("alice", None, [1; 16]), Err(Code::NameTaken));
    assert_eq!(again("bob", Some("key"), [1; 16]), Err(Code::NameTaken));
}
