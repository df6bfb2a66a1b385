//! Many conversations of one session, and many sessions of one conversation.

use super::*;

#[test]
fn five_thousand_conversations_of_one_user_are_asked_for_once_and_told_live_in_frames_of_two_hundred()
 {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let open = |at: &mut Board| {
        let session = session_on(&testing::router(), user(0), 1 << 20);
        at.open(&session, true);
        session
    };
    let session = open(&mut board);
    let name = |index: u64| ConversationName::parse(&format!("many{index}")).expect("a name");
    let item = |index| row(name(index), index + 1);
    index_read(&mut board, (0..5_000).map(item).collect());

    let asks = board.take_work().asks;
    assert_eq!(asks.len(), 5_000);

    for ask in &asks {
        board.subscribed(ask, caught_up(Seq(3)));
    }

    for part in 0..10 {
        let positions = (part * 500..part * 500 + 500)
            .map(|index| (name(index), Seq(3)))
            .collect();
        assert_ne!(
            board.resume(session.id, positions, part < 9),
            Resumed::TooMany
        );
    }

    let work = board.take_work();
    assert!(
        work.asks.is_empty() && work.fetches.is_empty(),
        "all of it is known"
    );

    let frames = frames(&session);
    assert_eq!(frames.len(), 26, "25 live and one ready");
    assert!(
        frames[..25]
            .iter()
            .all(|frame| frame["positions"].as_object().expect("positions").len() == 200)
    );
    assert_eq!(frames[25]["t"], "ready");

    let second = open(&mut board);
    board.stop_waiting(second.id);
    assert!(
        board.take_work().asks.is_empty(),
        "a further device uses the same subscriptions"
    );

    board.close(session.id);
    assert!(board.take_work().ended.is_empty(), "one device is left");

    board.close(second.id);
    let last = board.take_work();
    assert_eq!((last.ended.len(), last.ended_indexes.len()), (5_000, 1));
    assert!(board.feeds.is_empty() && board.users.is_empty());
}

#[test]
fn a_resume_of_twenty_thousand_conversations_is_told_at_the_pace_of_the_socket() {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let name = |index: u64| {
        ConversationName::parse(&format!("a-conversation-with-a-long-name-{index}"))
            .expect("a name")
    };
    let bytes_max = 64 * 1024;
    let session = session_on(&testing::router(), user(0), bytes_max);
    board.open(&session, true);

    let item = |index| row(name(index), index + 1);
    index_read(&mut board, (0..20_000).map(item).collect());
    for ask in board.take_work().asks {
        board.subscribed(&ask, caught_up(Seq(3)));
    }

    for part in 0..40 {
        let positions = (part * 500..part * 500 + 500)
            .map(|index| (name(index), Seq(3)))
            .collect();
        assert_ne!(
            board.resume(session.id, positions, part < 39),
            Resumed::TooMany
        );
    }

    let mut told = 0;
    loop {
        let taken = frames_of(&session, bytes_max);
        assert!(!session.has_ended(), "after {told} conversations");
        told += taken
            .iter()
            .filter_map(|frame| frame["positions"].as_object())
            .map(serde_json::Map::len)
            .sum::<usize>();
        if taken.iter().any(|frame| frame["t"] == "ready") {
            break;
        }
        assert!(!taken.is_empty(), "it stops after {told}");
        board.has_room(session.id);
    }

    assert_eq!(told, 20_000, "all of them, before `ready`");
}

#[test]
fn ten_thousand_members_share_one_encoded_frame() {
    let mut board = Board::new(ShardMap::new(16).expect("a power of two"));
    let routers = [testing::router(), testing::router()];
    let sessions: Vec<_> = (0..10_000_usize)
        .map(|index| {
            let user = UserId::parse(&format!("member{index}")).expect("a name");
            let session = session_on(&routers[index % 2], user, 1 << 20);
            live(&mut board, &session);
            session
        })
        .collect();
    let mut owners = Owners::default();

    owners.commit(
        &conversation(0),
        EventKind::created(user(0), None, vec![user(0)]),
    );

    owners.say(&conversation(0), &user(0));
    let event = Arc::clone(&owners.histories[&conversation(0)][1]);
    let before = sessions[..2]
        .iter()
        .map(|session| testing::router_of(session).delivers())
        .collect::<Vec<_>>();
    board.push(Push::Event {
        epoch: Epoch(1),
        event,
    });

    for (session, delivered) in sessions.iter().zip(before) {
        assert_eq!(
            testing::router_of(session).delivers() - delivered,
            1,
            "it goes over each link once"
        );
    }

    for session in sessions {
        let seqs: Vec<_> = frames(&session)
            .into_iter()
            .filter(|frame| frame["t"] == "message")
            .collect();
        assert_eq!(seqs.len(), 1);
        assert_eq!(seqs[0]["seq"], 2);
    }
}
