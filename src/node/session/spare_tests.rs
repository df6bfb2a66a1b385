//! What may be missing on a board: typing and presence take only what a session has to spare, and
//! messages go on.

use std::sync::Arc;

use serde_json::Value;

use super::board::Board;
use super::testing::{self, frames, router_of, session, session_on};
use super::testing_talk::{self, index_read, name, owner_answers, row, user};
use super::window::Session;
use crate::cluster::map::ShardMap;
use crate::ids::{Epoch, Seq, UserId};
use crate::log::record::{Event, EventKind};
use crate::protocol::Presence;
use crate::shard::command::Push;

/// A board with a session of this user, who is in the conversation; `held`: it waits for its
/// resume.
fn board_with(session: &Arc<Session>, held: bool) -> Board {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    board.open(session, held);
    index_read(&mut board, vec![row(name(), 1)]);
    owner_answers(&mut board, Seq(1));
    board
}

fn message(seq: u64) -> Push {
    testing_talk::message(seq, &"x".repeat(200))
}

fn typing(by: &str) -> Push {
    Push::Typing {
        conversation: name(),
        user: user(by),
        until: 5,
    }
}

fn presence(board: &mut Board, online: bool) {
    let last_seen = (!online).then_some(60_000);
    let changes = vec![Presence {
        user: user("alice"),
        online,
        last_seen,
    }];
    board.push(Push::Presence {
        shard: board.map.shard_of(user("alice").slot()),
        epoch: Epoch(1),
        changes,
    });
    while board.watching.has_changed() {
        board.give_presence();
    }
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .filter_map(|frame| frame["t"].as_str())
        .collect()
}

#[test]
fn an_outbox_more_than_half_full_takes_no_typing_and_no_presence_and_every_message() {
    let bob = session("bob", 4_000);
    let mut board = board_with(&bob, false);
    board
        .watching
        .watch(bob.id, vec![(name(), vec![user("alice")])])
        .expect("room");
    board.push(typing("alice"));
    presence(&mut board, true);
    let first = frames(&bob);
    assert_eq!(kinds(&first), ["ready", "typing", "presence"]);
    assert_eq!(
        first[1],
        serde_json::json!({"t": "typing", "conversation": "c", "user": "alice", "until": 5})
    );

    let half = bob.window().bytes + 2_000;
    let mut seq = 1;
    while bob.window().bytes <= half {
        seq += 1;
        board.push(message(seq));
    }
    for _ in 0..100 {
        board.push(typing("alice"));
    }
    presence(&mut board, false);
    assert!(!board.give_owed(bob.id), "there is no room");
    board.push(message(seq + 1));
    let later = frames(&bob);
    assert_eq!(
        kinds(&later),
        vec!["message"; later.len()],
        "only messages, and all of them"
    );
    let seqs: Vec<_> = later
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (2..=seq + 1).collect::<Vec<_>>());

    // There is room again: the newest state is told, and typing that was missed is not.
    assert!(!board.give_owed(bob.id), "there is no more than this");
    let owed = frames(&bob);
    assert_eq!(kinds(&owed), ["presence"]);
    assert_eq!(
        (&owed[0]["online"], &owed[0]["last_seen"]),
        (&Value::from(false), &Value::from(60_000))
    );
}

#[test]
fn a_link_without_room_takes_no_typing_and_presence_is_told_later() {
    let bob = session("bob", 100_000);
    let mut board = board_with(&bob, false);
    board
        .watching
        .watch(bob.id, vec![(name(), vec![user("alice")])])
        .expect("room");
    frames(&bob);
    router_of(&bob).fill();
    board.push(typing("alice"));
    presence(&mut board, true);
    assert_eq!(bob.window().bytes, 0, "what was not sent takes no room");
    router_of(&bob).empty();
    board.give_owed(bob.id);
    assert_eq!(kinds(&frames(&bob)), ["presence"]);
}

#[test]
fn nobody_is_told_that_they_type_themselves_nor_before_the_ready_they_wait_for() {
    let alice = session("alice", 100_000);
    let mut board = board_with(&alice, false);
    frames(&alice);
    board.push(typing("alice"));
    assert!(frames(&alice).is_empty());
    board.push(typing("bob"));
    assert_eq!(kinds(&frames(&alice)), ["typing"]);

    let (waits, held) = (session("carol", 100_000), true);
    let mut other = Board::new(ShardMap::new(16).expect("a power of two"));
    other.open(&waits, held);
    index_read(&mut other, vec![row(name(), 1)]);
    other.resume(waits.id, [(name(), Seq(1))].into(), false);
    other.push(typing("bob"));
    assert!(frames(&waits).is_empty(), "its resume is not done");
    owner_answers(&mut other, Seq(1));
    other.push(typing("bob"));
    assert_eq!(kinds(&frames(&waits)), ["live", "ready", "typing"]);
}

#[test]
fn who_has_left_is_told_of_nobody_and_nobody_is_told_of_them() {
    let bob = session("bob", 100_000);
    let mut board = board_with(&bob, false);
    board
        .watching
        .watch(bob.id, vec![(name(), vec![user("alice"), user("carol")])])
        .expect("room");
    frames(&bob);

    let left = |who: &str, seq| Push::Event {
        epoch: Epoch(1),
        event: Arc::new(Event {
            conversation: name(),
            seq: Seq(seq),
            created: 1,
            key: None,
            kind: EventKind::left(user(who), user(who), None),
        }),
    };

    board.push(left("alice", 2));
    presence(&mut board, true);
    assert_eq!(
        kinds(&frames(&bob)),
        ["event"],
        "alice is not seen here any more"
    );
    assert!(
        board.watching.known(&user("carol")).is_some(),
        "carol still is"
    );

    board.push(left("bob", 3));
    assert_eq!(board.watching.known(&user("carol")), None);

    board.push(typing("carol"));
    assert_eq!(kinds(&frames(&bob)), ["event"]);
}

#[test]
fn a_storm_is_told_in_turns_and_a_turn_is_one_frame_on_the_link() {
    let router = testing::router();
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let watched: Vec<UserId> = (0..250).map(|number| user(&format!("u{number}"))).collect();
    let watchers: Vec<_> = (0..1_000)
        .map(|number| session_on(&router, user(&format!("w{number}")), 64 << 20))
        .collect();
    for watcher in &watchers {
        board.open(watcher, false);
        board
            .watching
            .watch(watcher.id, vec![(name(), watched.clone())])
            .expect("room");
    }
    let online = |user: &UserId| Presence {
        user: user.clone(),
        online: true,
        last_seen: None,
    };
    let shard = board.map.shard_of(name().slot());
    board.push(Push::Presence {
        shard,
        epoch: Epoch(1),
        changes: watched.iter().map(online).collect(),
    });

    let mut turns = 0;
    while board.watching.has_changed() {
        board.give_presence();
        turns += 1;
    }
    assert_eq!(
        (turns, router_of(&watchers[0]).delivers()),
        (1_000, 1_000),
        "four turns for each of 250 users"
    );
    assert_eq!(frames(&watchers[0]).len(), 250);
    assert!(
        watchers
            .iter()
            .all(|watcher| watcher.window().bytes > 0 || watcher.id == watchers[0].id)
    );
    assert!(!board.watching.owes(), "what was told is not owed");
}
