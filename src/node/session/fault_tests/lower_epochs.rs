//! What an owner of a lower epoch tells.

use super::*;

/// A board with one session of bob, who has heard seq 2 under epoch 8.
fn under_epoch_eight() -> (Board, Arc<Session>) {
    let (mut board, bob) = of_one_conversation();
    owner_answers(&mut board, Seq(1));
    board.push(Push::Event {
        epoch: Epoch(8),
        event: event(2),
    });
    (board, bob)
}

/// ADR 14, interleaving 4: the log forgot epoch 8, and its owner of epoch 7 goes on.
#[test]
fn a_session_that_subscribed_anew_hears_an_owner_of_a_lower_epoch() {
    let (mut board, bob) = under_epoch_eight();
    board.push(Push::Resubscribe { shard: ShardId(0) });
    owner_answers(&mut board, Seq(2));

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
