//! Sessions and links without room: they fall behind, and what they missed is fetched.

use super::*;

#[test]
fn a_session_that_reads_too_slowly_gets_a_gap_for_what_is_too_far_back_and_then_the_rest() {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let session = session_on(&testing::router(), user(0), 4_000);
    board.open(&session, false);
    index_read(&mut board, vec![row(conversation(0), 1)]);

    let mut owners = Owners::default();
    owners.commit(
        &conversation(0),
        EventKind::created(user(0), None, vec![user(0)]),
    );

    let ask = board.take_work().asks.remove(0);
    board.subscribed(&ask, owners.subscribe(&ask));
    for _ in 0..3_000 {
        owners.say(&conversation(0), &user(0));
    }

    while let Some(push) = owners.pushes.pop_front() {
        board.push(push);
    }

    let mut told = Vec::new();
    for _ in 0..2_000 {
        told.extend(frames_of(&session, 8_000));
        board.has_room(session.id);
        for fetch in board.take_work().fetches {
            let answers = fetch.asks.iter().map(|of| owners.subscribe(of)).collect();
            board.fetched(&fetch, answers);
        }
    }

    assert!(!session.has_ended());
    let mut last = 1;
    let mut gaps = 0;

    for frame in told
        .iter()
        .filter(|frame| frame["t"] == "message" || frame["t"] == "gap")
    {
        let seq = frame
            .get("from")
            .or_else(|| frame.get("seq"))
            .and_then(Value::as_u64)
            .expect("a seq");
        assert_eq!(seq, last + 1, "{frame}");
        last = frame.get("to").and_then(Value::as_u64).unwrap_or(seq);
        gaps += usize::from(frame["t"] == "gap");
    }

    assert_eq!((last, gaps), (3_001, 1));
}

/// ADR 7, interleaving 12.
#[test]
fn sessions_of_a_full_link_fall_behind_and_fetch_when_there_is_room() {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let [full, free] = [0, 1].map(|index| session_on(&testing::router(), user(index), 1 << 20));
    for session in [&full, &free] {
        live(&mut board, session);
        frames(session);
    }
    let mut owners = Owners::default();
    let participants = vec![user(0), user(1)];
    owners.commit(
        &conversation(0),
        EventKind::created(user(0), None, participants),
    );
    owners.say(&conversation(0), &user(1));
    let event = Arc::clone(&owners.histories[&conversation(0)][1]);
    testing::router_of(&full).fill();
    board.push(Push::Event {
        epoch: Epoch(1),
        event,
    });
    assert_eq!((frames(&full).len(), frames(&free).len()), (0, 1));
    assert!(
        board.take_work().fetches.is_empty(),
        "what is fetched would find no room either"
    );

    testing::router_of(&full).empty();
    assert!(
        full.router.has_room_again() && !full.router.has_room_again(),
        "told once"
    );
    board.has_room(full.id);
    let fetch = board.take_work().fetches.remove(0);
    let answers = fetch.asks.iter().map(|of| owners.subscribe(of)).collect();
    board.fetched(&fetch, answers);
    let seqs: Vec<_> = frames(&full)
        .into_iter()
        .map(|frame| frame["seq"].clone())
        .collect();
    assert_eq!(seqs, [2]);
}
