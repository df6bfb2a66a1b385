//! What an index that comes late may not keep from a session: whole stays.

use super::*;

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
        pruned: Seq(0),
        tail: Seq(9),
        joined: Seq(8),
        events: Vec::new(),
        departed: Some(Seq(5)),
    };
    board.subscribed(&ask, answer);

    let fetch = board.take_work().fetches.remove(0);
    let after = fetch.asks[0].after.expect("a cursor");
    let span = Subscribed::Live {
        pruned: Seq(0),
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
            pruned: Seq(0),
            tail: Seq(9),
            joined: Seq(8),
            events: Vec::new(),
            departed: None,
        },
    );

    let fetch = board.take_work().fetches.remove(0);
    assert_eq!(fetch.asks[0].after, Some(Seq(7)));

    let answer = Subscribed::Live {
        pruned: Seq(0),
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
            pruned: Seq(0),
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
            pruned: Seq(0),
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

fn subscribed_at(tail: u64, joined: u64, departed: Option<u64>) -> Subscribed {
    let departed = departed.map(Seq);
    Subscribed::Live {
        pruned: Seq(0),
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
        pruned: Seq(0),
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
