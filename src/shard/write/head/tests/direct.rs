use super::{Code, Head, NOW, Offset, Remove};
use crate::log::record::EventKind;
use crate::protocol::direct::name_of;
use crate::shard::command::Create;
use crate::shard::file::store::tests::user;
use crate::shard::write::head::decide_create;

/// What `by` asks for to write with the other.
fn opening(by: &str, other: &str) -> Create {
    let name = name_of(&user(by), &user(other)).expect("a name");
    Create::of(name.as_str(), &[by, other])
}

fn opened(create: &Create) -> Head {
    Head::begun(&decide_create(create, NOW), Offset(7)).expect("a creation")
}

fn leave(head: &mut Head, create: &Create, who: &str) {
    let remove = Remove {
        conversation: create.name.clone(),
        by: user(who),
        user: user(who),
    };
    let left = head.decide_remove(&remove, NOW).expect("allowed");
    head.advance(&left.expect("they took part"));
}

#[test]
fn an_opened_conversation_of_two_lets_in_who_left() {
    let create = opening("alice", "bob");
    let mut head = opened(&create);
    let again = opening("bob", "alice");
    assert!(head.decide_open(&again, NOW).expect("theirs").is_none());

    for gone in [&["bob"][..], &["alice", "bob"], &["bob", "alice"]] {
        gone.iter().for_each(|who| leave(&mut head, &create, who));
        let event = head.decide_open(&again, NOW).expect("theirs");
        let event = event.expect("somebody is missing");
        let EventKind::Joined { by, users, .. } = &event.kind else {
            panic!("{event:?}");
        };
        assert_eq!((by, users.len()), (&user("bob"), gone.len()));
        head.advance(&event);
        assert!(head.has(&user("alice")) && head.has(&user("bob")));
    }
}

#[test]
fn what_is_not_theirs_is_not_opened() {
    let create = opening("alice", "bob");
    let name = create.name.as_str();
    for users in [
        &["mallory", "alice", "bob"][..],
        &["mallory"],
        &["alice", "bob", "carol"],
    ] {
        let head = opened(&Create::of(name, users));
        let refused = head.decide_open(&create, NOW).expect_err("it is not");
        assert_eq!(refused.code, Code::NameTaken, "{users:?}");
    }
}
