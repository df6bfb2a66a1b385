//! A board with one session of bob, and a conversation in which they come and go.

use super::*;

/// A board with one session of bob, whose index has one conversation; its owner is being asked.
pub(super) fn of_one_conversation() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    index_read(&mut board, vec![row(name("healthy"), 1)]);
    (board, bob)
}

/// A board whose user bob has one started session and is in no conversation; the user's shard is
/// lost meanwhile.
pub(super) fn without_conversations() -> (Board, Arc<Session>) {
    let mut board = Board::new(ShardMap::new(1).expect("a power of two"));
    let bob = session("bob");
    board.open(&bob, false);
    index_read(&mut board, Vec::new());
    board.push(Push::Resubscribe { shard: ShardId(0) });
    (board, bob)
}

/// The index comes at last, and has only the latest change of the conversation.
pub(super) fn index_comes(board: &mut Board, seq: u64, joined: bool) {
    let load = board.take_work().loads.remove(0);
    index_loaded(board, &load, seq, joined);
}

pub(super) fn index_loaded(board: &mut Board, load: &Load, seq: u64, joined: bool) {
    let item = IndexItem {
        conversation: name("healthy"),
        seq: Seq(seq),
        joined,
        version: Offset(9),
    };
    board.loaded(load, &whole(vec![item]));
}

/// What the conversation `healthy` has from `after` on: bob joined at 3, left at 5, and joined at
/// 8.
pub(super) fn stays(after: Seq) -> Vec<Arc<Event>> {
    let change = |seq: u64, kind| Event {
        conversation: name("healthy"),
        seq: Seq(seq),
        created: seq,
        key: None,
        kind,
    };
    let joined = |seq| change(seq, EventKind::joined(user("alice"), vec![user("bob")]));
    let left = |seq| change(seq, EventKind::left(user("alice"), user("bob"), None));
    let all = (1..=9).map(|seq| match seq {
        3 | 8 => Arc::new(joined(seq)),
        5 => Arc::new(left(seq)),
        _ => event(seq),
    });
    all.filter(|of| of.seq > after).collect()
}

pub(super) fn seqs(session: &Session) -> Vec<(String, u64)> {
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

/// Bob resumes at seq 2 of a conversation that bob's index, which is being read, does not have.
pub(super) fn resumed(board: &mut Board, bob: &Session) -> (Load, Fetch) {
    board.resume(bob.id, [(name("healthy"), Seq(2))].into(), false);
    let mut work = board.take_work();
    (work.loads.remove(0), work.fetches.remove(0))
}
