//! What late owners may not keep from a session: whole stays, and what an owner of a lower epoch
//! tells.

use super::*;

/// A board with one session of bob, whose index has one conversation; its owner is being asked.
fn of_one_conversation() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    let load = board.take_work().loads.remove(0);
    let item = IndexItem {
        conversation: name("healthy"),
        seq: Seq(1),
        joined: true,
        version: Offset(1),
    };
    board.loaded(
        &load,
        &IndexPage {
            items: vec![item],
            more: false,
        },
    );
    (board, bob)
}

/// A board with one session of bob, who has heard seq 2 under epoch 8.
fn under_epoch_eight() -> (Board, Arc<Session>) {
    let (mut board, bob) = of_one_conversation();
    answer(&mut board, 1);
    board.push(Push::Event {
        epoch: Epoch(8),
        event: event(2),
    });
    (board, bob)
}

fn answer(board: &mut Board, tail: u64) {
    let ask = board.take_work().asks.remove(0);
    board.subscribed(
        &ask,
        Subscribed::Live {
            tail: Seq(tail),
            joined: Seq(1),
            events: Vec::new(),
            departed: None,
        },
    );
}

/// A board whose user bob has one started session and is in no conversation; the user's shard is
/// lost meanwhile.
fn without_conversations() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    let load = board.take_work().loads.remove(0);
    board.loaded(
        &load,
        &IndexPage {
            items: Vec::new(),
            more: false,
        },
    );
    board.push(Push::Resubscribe { shard: ShardId(0) });
    (board, bob)
}

/// The index comes at last, and has only the latest change of the conversation.
fn index_comes(board: &mut Board, seq: u64, joined: bool) {
    let load = board.take_work().loads.remove(0);
    index_loaded(board, &load, seq, joined);
}

fn index_loaded(board: &mut Board, load: &Load, seq: u64, joined: bool) {
    let item = IndexItem {
        conversation: name("healthy"),
        seq: Seq(seq),
        joined,
        version: Offset(9),
    };
    board.loaded(
        load,
        &IndexPage {
            items: vec![item],
            more: false,
        },
    );
}

/// What the conversation `healthy` has from `after` on: bob joined at 3, left at 5, and joined at
/// 8.
fn stays(after: Seq) -> Vec<Arc<Event>> {
    let change = |seq: u64, kind| Event {
        conversation: name("healthy"),
        seq: Seq(seq),
        created: seq,
        key: None,
        kind,
    };
    let joined = |seq| {
        change(
            seq,
            EventKind::Joined {
                by: user("alice"),
                users: vec![user("bob")],
            },
        )
    };
    let left = |seq| {
        change(
            seq,
            EventKind::Left {
                by: user("alice"),
                user: user("bob"),
                admin: None,
            },
        )
    };
    let all = (1..=9).map(|seq| match seq {
        3 | 8 => Arc::new(joined(seq)),
        5 => Arc::new(left(seq)),
        _ => event(seq),
    });
    all.filter(|of| of.seq > after).collect()
}

fn seqs(session: &Session) -> Vec<(String, u64)> {
    let told = frames(session)
        .into_iter()
        .filter(|frame| frame["t"] != "ready");
    told.map(|frame| {
        let seq = frame
            .get("seq")
            .or_else(|| frame.get("from"))
            .and_then(Value::as_u64)
            .unwrap_or_default();
        (frame["t"].as_str().unwrap_or_default().to_owned(), seq)
    })
    .collect()
}

#[test]
fn a_whole_membership_that_the_index_did_not_tell_in_time_is_shown() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 8, true);
    let ask = board.take_work().asks.remove(0);
    assert_eq!(
        (ask.after, ask.since),
        (None, Some(Seq(0))),
        "nothing is known of them there"
    );
    let answer = Subscribed::Live {
        tail: Seq(9),
        joined: Seq(8),
        events: Vec::new(),
        departed: Some(Seq(5)),
    };
    board.subscribed(&ask, answer);
    let fetch = board.take_work().fetches.remove(0);
    let after = fetch.asks[0].after.expect("a cursor");
    let span = Subscribed::Live {
        tail: Seq(9),
        joined: Seq(8),
        events: stays(after),
        departed: None,
    };
    board.fetched(&fetch, vec![span]);
    let shown = [
        ("event", 3),
        ("message", 4),
        ("event", 5),
        ("event", 8),
        ("message", 9),
    ];
    assert_eq!(seqs(&bob), shown.map(|(t, seq)| (t.to_owned(), seq)));
}

#[test]
fn of_a_first_membership_nothing_before_the_joined_is_fetched() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 8, true);
    let ask = board.take_work().asks.remove(0);
    board.subscribed(
        &ask,
        Subscribed::Live {
            tail: Seq(9),
            joined: Seq(8),
            events: Vec::new(),
            departed: None,
        },
    );
    let fetch = board.take_work().fetches.remove(0);
    assert_eq!(fetch.asks[0].after, Some(Seq(7)));
    let answer = Subscribed::Live {
        tail: Seq(9),
        joined: Seq(8),
        events: stays(Seq(7)),
        departed: None,
    };
    board.fetched(&fetch, vec![answer]);
    assert_eq!(
        seqs(&bob),
        [("event".to_owned(), 8), ("message".to_owned(), 9)]
    );
}

#[test]
fn memberships_too_far_back_are_a_gap_up_to_the_joined() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 5_000, true);
    let ask = board.take_work().asks.remove(0);
    let (tail, joined, departed) = (Seq(4_999), Seq(5_000), Some(Seq(5)));
    board.subscribed(
        &ask,
        Subscribed::Live {
            tail,
            joined,
            events: Vec::new(),
            departed,
        },
    );
    let again = board.take_work().asks.remove(0);
    board.subscribed(
        &again,
        Subscribed::Live {
            tail: Seq(5_000),
            joined,
            events: Vec::new(),
            departed,
        },
    );
    assert_eq!(seqs(&bob), [("gap".to_owned(), 1)]);
    assert_eq!(board.take_work().fetches[0].asks[0].after, Some(Seq(4_999)));
}

#[test]
fn a_whole_membership_that_ended_unseen_is_a_gap_when_the_owner_gives_nothing_of_it() {
    let (mut board, bob) = without_conversations();
    index_comes(&mut board, 5, false);
    let fetch = board.take_work().fetches.remove(0);
    board.fetched(&fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [("gap".to_owned(), 1)]);
    assert!(board.feeds.is_empty());
}

/// Bob resumes at seq 2 of a conversation that his index, which is being read, does not have.
fn resumed(board: &mut Board, bob: &Session) -> (Load, Fetch) {
    board.resume(bob.id, [(name("healthy"), Seq(2))].into(), false);
    let mut work = board.take_work();
    (work.loads.remove(0), work.fetches.remove(0))
}

fn subscribed_at(tail: u64, joined: u64, departed: Option<u64>) -> Subscribed {
    let departed = departed.map(Seq);
    Subscribed::Live {
        tail: Seq(tail),
        joined: Seq(joined),
        events: Vec::new(),
        departed,
    }
}

#[test]
fn a_membership_that_another_session_of_the_user_heard_of_first_is_not_passed_over() {
    let (mut board, bob) = without_conversations();
    let second = session("bob");
    board.open(&second, false);
    // The first one resumes there, and its owner tells of the second membership before any index
    // does.
    let (load, fetch) = resumed(&mut board, &bob);
    let span = Subscribed::Live {
        tail: Seq(9),
        joined: Seq(8),
        events: stays(Seq(2)),
        departed: None,
    };
    board.fetched(&fetch, vec![span]);

    index_loaded(&mut board, &load, 8, true);
    let asks = board.take_work().asks;
    assert!(
        asks.iter().any(|ask| ask.since == Some(Seq(0))),
        "nothing is known of the first one: {asks:?}"
    );
    board.subscribed(&asks[0], subscribed_at(9, 8, Some(5)));
    let fetches = board.take_work().fetches;
    assert_eq!(
        (fetches[0].session, fetches[0].asks[0].after),
        (second.id, Some(Seq(0)))
    );
}

#[test]
fn a_refusal_that_is_older_than_a_whole_membership_is_asked_again() {
    let (mut board, bob) = without_conversations();
    let (load, fetch) = resumed(&mut board, &bob);
    // They are added and leave again before the refusal arrives.
    index_loaded(&mut board, &load, 5, false);
    board.fetched(&fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [], "it may have been shown");
    let again = board.take_work().fetches.remove(0);
    let events = stays(Seq(2))
        .into_iter()
        .filter(|event| event.seq <= Seq(5))
        .collect();
    board.fetched(
        &again,
        vec![Subscribed::Ended {
            left: Seq(5),
            events,
            departed: None,
        }],
    );
    assert_eq!(
        seqs(&bob),
        [("event", 3), ("message", 4), ("event", 5)].map(|(t, seq)| (t.to_owned(), seq))
    );
}

#[test]
fn a_membership_that_began_after_the_end_that_a_span_tells_is_looked_at_too() {
    let (mut board, bob) = without_conversations();
    let (load, fetch) = resumed(&mut board, &bob);
    // The answer has their first membership; the next one is over before it arrives.
    index_loaded(&mut board, &load, 12, false);
    let events = stays(Seq(2))
        .into_iter()
        .filter(|event| event.seq <= Seq(5))
        .collect();
    board.fetched(
        &fetch,
        vec![Subscribed::Ended {
            left: Seq(5),
            events,
            departed: None,
        }],
    );
    let next = board.take_work().fetches.remove(0);
    assert_eq!(next.asks[0].after, Some(Seq(5)));
    board.fetched(&next, vec![Subscribed::NotParticipant]);
    let shown = [("event", 3), ("message", 4), ("event", 5), ("gap", 6)];
    assert_eq!(seqs(&bob), shown.map(|(t, seq)| (t.to_owned(), seq)));
    assert!(board.take_work().fetches.is_empty() && board.feeds.is_empty());
}

#[test]
fn a_membership_that_is_known_when_a_subscription_is_refused_is_not_passed_over() {
    let (mut board, bob) = of_one_conversation();
    let ask = board.take_work().asks.remove(0);
    // They had left at 2; another membership is over before that is heard.
    let over = IndexItem {
        conversation: name("healthy"),
        seq: Seq(5),
        joined: false,
        version: Offset(9),
    };
    board.push(Push::Index {
        user: user("bob"),
        item: over,
    });
    board.subscribed(&ask, Subscribed::NotParticipant);
    let fetches = board.take_work().fetches;
    let fetch = fetches.first().expect("what they may still get is fetched");
    assert_eq!(fetch.asks[0].after, Some(Seq(1)));
    board.fetched(fetch, vec![Subscribed::NotParticipant]);
    assert_eq!(seqs(&bob), [("gap".to_owned(), 2)]);
}

/// ADR 14, interleaving 4: the log forgot epoch 8, and its owner of epoch 7 goes on.
#[test]
fn a_session_that_subscribed_anew_hears_an_owner_of_a_lower_epoch() {
    let (mut board, bob) = under_epoch_eight();
    board.push(Push::Resubscribe { shard: ShardId(0) });
    answer(&mut board, 2);
    for seq in 3..6 {
        board.push(Push::Event {
            epoch: Epoch(7),
            event: event(seq),
        });
    }
    let written = texts(&bob);
    for seq in 2..6 {
        assert!(
            written.contains(&format!("text-{seq}")),
            "{seq} in {written}"
        );
    }
}

#[test]
fn what_a_lower_epoch_tells_beyond_the_cursor_is_asked_for_and_what_lies_before_is_not() {
    let (mut board, bob) = under_epoch_eight();
    board.push(Push::Event {
        epoch: Epoch(7),
        event: event(2),
    });
    assert!(board.take_work().fetches.is_empty(), "known already");
    board.push(Push::Event {
        epoch: Epoch(7),
        event: event(3),
    });
    assert!(
        !texts(&bob).contains("text-3"),
        "whether it holds, its owner has to say"
    );
    let fetches = board.take_work().fetches;
    assert_eq!(
        fetches
            .iter()
            .flat_map(|fetch| &fetch.asks)
            .map(|ask| ask.after)
            .collect::<Vec<_>>(),
        [Some(Seq(2))]
    );
}
