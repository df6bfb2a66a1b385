//! What a refusal, or an answer, that comes late may not keep from a session: stays after it.

use super::*;

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
            pruned: Seq(0),
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
            pruned: Seq(0),
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
